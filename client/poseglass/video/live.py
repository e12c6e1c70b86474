"""A recording: one live source into a folder of its own, to its end, or until somebody has had enough.

What was captured cannot be captured again. So whatever ends a recording, its rows are finished into the same results as
a file's; where even that is cut off, the segments are there, and `finish_recording` makes the results of them.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from poseglass.errors import Cancelled, InvalidRequest, PoseglassError, Unavailable
from poseglass.video.asking import Asker, Facts
from poseglass.video.counts import Counts
from poseglass.video.finish import Finishing
from poseglass.video.folder import DiskFull, VideoFolder, locked, room
from poseglass.video.following import LAG, FollowSettings, Seen, visible
from poseglass.video.job import JobSettings, Outcome, complete, depends_on, unexpected
from poseglass.video.livecapture import NEVER, OLDEST, Capture, open_live
from poseglass.video.livemirror import MirrorAsk, mirrored
from poseglass.video.livereading import Open
from poseglass.video.livesource import LiveSource
from poseglass.video.pipeline import Machine, run_segments
from poseglass.video.segments import Passed, SegmentFrame
from poseglass.video.table import PoseTable
from poseglass_core.poses import Pose

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class LiveSettings:
    """What is done about a live source, beyond what is done about every video.

    Attributes:
        drop: what is dropped where looking is slower than the source: "oldest" or "never"; None: as suits the source.
        mirror: mirror the pictures before anything else.

    Raises:
        InvalidRequest: there is no such way to drop.
    """

    drop: str | None = None
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.drop not in (OLDEST, NEVER, None):
            raise InvalidRequest("--drop", f"must be {OLDEST} or {NEVER}, not {self.drop!r}")


class Watcher(Protocol):
    """Is told how a recording goes, in the thread that records, several times a second."""

    def begin(self, folder: Path) -> None:
        """The first frame has come, and the folder is made."""
        ...

    def seen(self, frame: SegmentFrame, poses: Sequence[Pose]) -> None:
        """A frame was looked at."""
        ...

    def tick(self, counts: Counts) -> None:
        """Time has passed."""
        ...


def record(
    source: LiveSource,
    out: Path,
    asker: Asker,
    settings: JobSettings,
    live: LiveSettings,
    watcher: Watcher,
    enough: threading.Event,
    opened: Open = open_live,
) -> Outcome:
    """Record a live source until it ends, `settings.selection.end` is reached, or somebody has had enough.

    Args:
        source: which.
        out: the folder around the recording's own, which is named by source and start.
        asker: finds poses.
        settings: what is done about every video.
        live: what else is done.
        watcher: is told.
        enough: set from anywhere: capture no more, and finish.
        opened: opens the source.

    Returns:
        What became of it; `error` where the source or the asker was lost on the way, with results all the same.

    Raises:
        Unavailable, InvalidRequest: the source gives nothing; nothing was written.
        Cancelled: `enough` was set before the first frame.
        DiskFull, OSError: results cannot be written; what was recorded is kept.
    """
    check_finishing(settings.finishing)
    began = time.monotonic()
    with Capture(source, opened, enough, settings.selection, live.drop) as capture:
        if not capture.first():
            raise _nothing(capture, enough, out)
        folder = new_folder(out, source, capture.started)
        with locked(folder.path), _kept(folder):
            settings = replace(
                settings,
                options={**settings.options, "mirror": live.mirror, "drop": capture.drop},
                following=_at_once(settings.following, asker.facts),
            )
            folder.begin({"input": _input(capture), **depends_on(asker.facts, settings)})
            _note(folder, capture)
            watcher.begin(folder.path)
            error: PoseglassError | OSError | None = None
            try:
                _look(capture, folder, MirrorAsk(asker) if live.mirror else asker, settings, live.mirror, watcher)
            except Exception as caught:  # whatever it is, what was recorded comes first
                error = _known(caught, out)
                if not folder.segments.numbers():
                    shutil.rmtree(folder.path, ignore_errors=True)
                    raise error from None
            _note(folder, capture)
            outcome = finish(folder, settings.finishing, began)
    return replace(outcome, source=source, error=error or _lost(capture, outcome, settings.selection.end))


def finish_recording(path: Path, finishing: Finishing) -> Outcome:
    """Make results of a recording that was cut off, or other results of a finished one.

    Args:
        path: its folder.
        finishing: which.

    Raises:
        InvalidRequest: it is no recording's folder.
        FailedPrecondition: it is still being recorded.
        DiskFull, OSError: results cannot be written.
    """
    check_finishing(finishing)
    if not is_recording(path):
        raise InvalidRequest("", f"{path}: is no recording of a live source")
    with locked(path):
        return finish(VideoFolder(path, path), finishing, time.monotonic())


def is_recording(path: Path) -> bool:
    """Whether a folder holds the recording of a live source."""
    return "live" in VideoFolder(path, path).manifest.get("of", {}).get("input", {})


def finish(folder: VideoFolder, finishing: Finishing, began: float) -> Outcome:
    """Results of the segments that are there.

    Raises:
        InvalidRequest: there is none.
    """
    tables = (folder.segments.load(number) for number in folder.segments.numbers())
    kept = [table for table in tables if table is not None]
    if not kept:
        raise InvalidRequest("", f"{folder.path}: not one segment was finished, so there is nothing to make results of")
    return complete(folder, PoseTable.concat(kept), finishing, began)


def new_folder(out: Path, source: LiveSource, started: datetime) -> VideoFolder:
    """Make a folder that no other recording has, named by source and start: `camera-0-20260131T095959Z`."""
    name = f"{source.name}-{started:%Y%m%dT%H%M%SZ}"
    for number in range(1, 1000):
        path = out / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return VideoFolder(path, path)
    raise InvalidRequest("--out", f"{out}: holds a thousand recordings of this very second; choose another")


def _look(
    capture: Capture, folder: VideoFolder, asker: Asker, settings: JobSettings, mirror: bool, watcher: Watcher
) -> None:
    """Look at everything that is captured; segments are kept as they are finished."""
    under_way: deque[SegmentFrame] = deque()

    def frames() -> Iterator[SegmentFrame | Passed]:
        for frame in capture.frames():
            if frame is None:  # passed on, so that whoever waits for frames gets to do something else
                yield Passed(-1)
                continue
            image = mirrored(frame.image()) if mirror else frame.image()
            under_way.append(SegmentFrame(settings.clock.number(frame.time), frame.index, frame.time, image))
            yield under_way[-1]

    def keep(number: int, table: PoseTable) -> None:
        _note(folder, capture)
        folder.segments.save(number, table)

    with ThreadPoolExecutor(LAG, "poseglass-look") as pool:
        looking = _Watched(pool, capture.looked)

        def progress() -> None:
            for seen in looking.answers():
                poses = [visible(pose, settings.following) for pose in seen.poses]
                watcher.seen(under_way.popleft(), poses)
            watcher.tick(capture.counts)

        machine = Machine(asker, asker.facts.skeleton, settings.following, looking, threading.Event())
        run_segments(frames(), machine, keep, progress)


def _at_once(following: FollowSettings, facts: Facts) -> FollowSettings:
    """No frame waits for a later one; where people are found in one look, every frame without anyone gets it."""
    return replace(following, look_back=False, search_every=1 if facts.everybody else following.search_every)


def _note(folder: VideoFolder, capture: Capture) -> None:
    """Counts and facts as they are now, for whoever finishes the recording, should this process not get to it."""
    folder.note(counts=capture.counts.to_json(), video=capture.facts)


class _Watched(Executor):
    """Runs looks, says when each is done, and gives their answers out in order.

    Args:
        looking: runs them.
        done: called once a look, from any thread.
    """

    def __init__(self, looking: Executor, done: Callable[[], None]) -> None:
        self._looking, self._done = looking, done
        self._answers: deque[Future[Any]] = deque()

    def submit(self, fn: Callable[Given, Answer], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Answer]:
        answer = self._looking.submit(fn, *args, **kwargs)
        answer.add_done_callback(lambda _: self._done())
        self._answers.append(answer)
        return answer

    def answers(self) -> Iterator[Seen]:
        """Those that are there by now and were not given out before."""
        while self._answers and self._answers[0].done():
            yield from self._answers.popleft().result()


def _input(capture: Capture) -> dict[str, Any]:
    return {
        "name": str(capture.source),
        "live": capture.source.kind.value,
        "started": capture.started.isoformat(timespec="milliseconds"),
        "times": capture.times,
    }


def check_finishing(finishing: Finishing) -> None:
    """Refuse what would need the pictures again.

    Raises:
        InvalidRequest: an overlay is asked for.
    """
    if finishing.overlay:
        raise InvalidRequest(
            "--overlay",
            "draws on pictures, and those of a live source are not kept; record it to a file "
            "(such as ffmpeg -i URL -c copy walk.mkv), and run that with --overlay",
        )


@contextmanager
def _kept(folder: VideoFolder) -> Iterator[None]:
    """Says what to do where the disk is full: nothing can be captured again.

    Raises:
        DiskFull: it is.
    """
    try:
        with room(folder.path):
            yield
    except DiskFull:
        raise DiskFull(
            f"{folder.path}: the disk is full; what was recorded before is kept: make room, and "
            f"`poseglass video {folder.path} --out {folder.path.parent}` makes the results of it"
        ) from None


def _known(error: Exception, out: Path) -> PoseglassError | OSError:
    return error if isinstance(error, PoseglassError | OSError) else unexpected(error, out)


def _nothing(capture: Capture, enough: threading.Event, out: Path) -> Exception:
    """Why there is no first frame."""
    if enough.is_set():
        return Cancelled(f"{capture.source}: stopped before its first picture came; nothing was written")
    if capture.error is not None:
        return _known(capture.error, out)
    return Unavailable(f"{capture.source}: not one picture came ({capture.counts.broken_off or 'it ended'})")


def _lost(capture: Capture, outcome: Outcome, end: float | None) -> PoseglassError | None:
    """The error to report where the source was lost; None: it ended as it should.

    Args:
        capture: that is over.
        outcome: with what came.
        end: seconds that were wanted.
    """
    counts = capture.counts
    why = str(capture.error) if capture.error is not None else counts.broken_off
    if why:
        why = f"was lost ({why})"
    elif end is not None and counts.ended and not capture.comes_to_an_end:
        why = f"ended after {counts.reached:.1f} s of the {end:g} s that were wanted"
    return Unavailable(f"{capture.source}: {why}; everything until then is in {outcome.folder}") if why else None
