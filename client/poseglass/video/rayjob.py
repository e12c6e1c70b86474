"""A job on Ray Data: videos are rows, actors do them, and the files are those of a run on one machine.

A row is a video, or a part of one that is longer than an actor's share. Actors write into the shared folder, as a run
on one machine does, so all that is finished outlives whoever did it. An actor does a whole video to its last file; of a
video in parts, the second pass is a row of a second round, when all its segments are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from poseglass.errors import Unavailable
from poseglass.video.asking import Asker, Facts
from poseglass.video.folder import VideoFolder, fingerprint, room
from poseglass.video.job import JobSettings, Outcome, Progress, attempted, depends_on, finished
from poseglass.video.parts import WHOLE, Part, PartDone, segment_numbers, split
from poseglass.video.raycluster import Crew, cause, crew, joined
from poseglass.video.rayfolder import holder
from poseglass.video.rayprogress import Board, Watch, watching
from poseglass.video.rayworker import Done, Order, Task, Worker, unpacked

READERS = 8
"""Headers that are read at once."""

BLOCK = 1 << 20
"""Bytes that Ray Data sets aside for the answer to a task, which is much smaller."""


@dataclass
class Video:
    """One of the job's videos, on its way.

    Attributes:
        source: as the caller names it.
        folder: its own.
        missing: numbers of segments that are to be done, as far as its header tells.
        parts: that it is done in.
        done: those that are.
    """

    source: Path
    folder: Path
    missing: Sequence[int] = ()
    parts: Sequence[Part] = (WHOLE,)
    done: dict[Part, PartDone] = field(default_factory=dict)

    def outcome(self, told: Outcome) -> Outcome:
        """An actor's, with the caller's names and the time that its parts took."""
        files = {kind: self.folder / path.name for kind, path in told.files.items()}
        seconds = told.seconds + max((part.seconds for part in self.done.values()), default=0.0)
        return replace(told, source=self.source, folder=self.folder, files=files, seconds=seconds)


def run_ray_job(
    videos: Mapping[Path, str],
    out: Path,
    ask: Callable[[], AbstractContextManager[Asker]],
    facts: Facts,
    settings: JobSettings,
    progress: Progress,
    address: str,
    workers: int | None = None,
    device: str = "cpu",
) -> Iterator[Outcome]:
    """Do all videos, as `run_job` does.

    Args:
        videos: file -> name of its folder. Every machine sees the files under the same paths.
        out: the folder around those, seen likewise; the caller holds its lock.
        ask: makes what answers, in every actor; is pickled.
        facts: of what is to answer.
        settings: what is done.
        progress: is told.
        address: of the cluster, as `check_address` gives it.
        workers: actors; None: as many as there is room for. The results do not depend on it.
        device: "cuda": every actor gets a GPU.

    Yields:
        An outcome a video, as they end.

    Raises:
        MissingExtra: Ray is not installed.
        Unavailable: there is no cluster, or it was lost.
        PoseglassError: one of `NOT_THE_VIDEO`, or a machine that cannot take part.
    """
    watch = Watch(progress)
    with joined(address, workers) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        round_ = Round(
            ray, Order(out.absolute(), holder(out), ask, facts, settings), crew(nodes, workers, device), watch
        )
        for video, outcome in _outcomes([Video(source, out / name) for source, name in videos.items()], round_):
            watch.end(video.source)
            yield video.outcome(outcome)


@dataclass(frozen=True)
class Round:
    """Gives out tasks.

    Attributes:
        ray: the package.
        order: what actors are told.
        crew: who they are.
        watch: is told how it goes.
    """

    ray: Any
    order: Order
    crew: Crew
    watch: Watch

    def results(self, rows: Sequence[tuple[Video, Part]], start: int) -> Iterator[tuple[Video, Part, Any]]:
        """What becomes of each, as they end.

        Args:
            rows: videos and parts.
            start: number of the first; no two rounds share one.

        Raises:
            Unavailable: Ray gives up. And whatever an actor says would meet every video.
        """
        if not rows:
            return
        numbered = dict(enumerate(rows, start))
        tasks = [
            Task(number, video.source.absolute(), video.folder.absolute(), part)
            for number, (video, part) in numbered.items()
        ]
        board = self._board()
        with watching(self.watch, board, {number: video.source for number, (video, _) in numbered.items()}):
            for done in self._spread(tasks, board):
                if done.fatal:
                    assert isinstance(done.result, Outcome)
                    raise done.result.error or Unavailable("an actor failed")
                yield *numbered.pop(done.number), done.result
        if numbered:
            raise Unavailable(f"Ray has lost {len(numbered)} tasks; run the same command again: it goes on")

    def _board(self) -> Any:
        """On this machine, which lives as long as the job does."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=True)
        return self.ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()

    def _spread(self, tasks: Sequence[Task], board: Any) -> Iterator[Done]:
        """Ray Data at work: a block a task, so that each actor takes the next when it has done one."""
        data, size = self.ray.data, min(self.crew.actors, len(tasks))
        reserved = {"num_gpus": self.crew.gpus} if self.crew.gpus else {"num_cpus": self.crew.cpus}
        rows = data.from_items([task.to_row() for task in tasks], override_num_blocks=len(tasks)).map(
            Worker,
            fn_constructor_args=(self.order, board),
            compute=data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            **reserved,
        )
        rows.context.enable_progress_bars = False
        rows.context.print_on_execution_start = False
        rows.context.target_max_block_size = BLOCK
        rows.context.execution_no_progress_timeout_s = -1  # a video may take hours
        try:
            for row in rows.iter_rows():
                yield unpacked(row["done"])
        except Exception as error:  # of many kinds, few of them public
            raise Unavailable(
                f"Ray gives up ({cause(error)}); run the same command again: it goes on where it stopped"
            ) from None


def _outcomes(videos: Sequence[Video], round_: Round) -> Iterator[tuple[Video, Outcome]]:
    """Both rounds: whole videos and parts, then the second pass over what was done in parts."""
    order = round_.order
    first: list[tuple[Video, Part]] = []
    for video in _planned(videos, order, round_.crew.actors):
        ended = attempted(video.source, video.folder, partial(_begun, video, order)) if len(video.parts) > 1 else None
        if ended is not None:
            yield video, ended
        else:
            first += [(video, part) for part in video.parts]
    second: list[tuple[Video, Part]] = []
    failed: set[Path] = set()
    for video, part, result in round_.results(first, start=0):
        if isinstance(result, PartDone):
            video.done[part] = result
            if len(video.done) == len(video.parts):
                _count(video)
                second.append((video, WHOLE))
        elif video.source not in failed:
            failed.add(video.source)
            yield video, result
    for video, _, result in round_.results(second, start=len(first)):
        yield video, result


def _planned(videos: Sequence[Video], order: Order, actors: int) -> list[Video]:
    """The videos with the parts that each is done in; those with most to do first, so that none is left alone last."""
    with ThreadPoolExecutor(READERS, "poseglass-plan") as pool:
        for video, missing in zip(videos, pool.map(partial(_missing, order=order), videos), strict=True):
            video.missing = missing
    share = max(1.0, sum(len(video.missing) for video in videos) / actors)
    for video in videos:
        video.parts = split(video.missing, share)
    return sorted(videos, key=lambda video: -len(video.missing))


def _missing(video: Video, order: Order) -> list[int]:
    """Numbers of the segments that are to be done; a guess, for sharing out."""
    folder = VideoFolder(video.folder, video.source)
    kept = {name: value for name, value in folder.manifest.get("of", {}).items() if name != "input"}
    usable = kept == json.loads(json.dumps(depends_on(order.facts, order.settings)))
    there = set(folder.segments.numbers() if usable else ())
    return [number for number in segment_numbers(video.source, order.settings) if number not in there]


def _begun(video: Video, order: Order) -> Outcome | None:
    """Make a folder ready for actors that write segments into it; what became of the video, where it is done."""
    folder = VideoFolder(video.folder, video.source)
    with room(video.folder):
        folder.begin({"input": fingerprint(video.source), **depends_on(order.facts, order.settings)})
        return finished(folder, order.settings.finishing)


def _count(video: Video) -> None:
    """Note what the last part has counted: it has read the whole file."""
    last = video.done[video.parts[-1]]
    with room(video.folder):
        VideoFolder(video.folder, video.source).note(
            counts=last.counts.to_json(), video=dict(last.video), finished=None
        )
