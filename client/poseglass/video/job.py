"""A job: many videos into one folder, each to its end, over interruptions of any kind."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from poseglass.errors import (
    Cancelled,
    ClientClosed,
    InvalidRequest,
    MissingExtra,
    ModelNotFound,
    PermissionDenied,
    PoseglassError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from poseglass.video.asking import Asker, Facts
from poseglass.video.counts import Counts
from poseglass.video.finish import Finishing, losses, result_files, second_pass, write_results
from poseglass.video.folder import SURPRISE, DiskFull, VideoFolder, extent, fingerprint, room
from poseglass.video.following import LAG, Ask, FollowSettings
from poseglass.video.livesource import LiveSource
from poseglass.video.pipeline import Machine, run_segments
from poseglass.video.reading import Selection, VideoReader
from poseglass.video.segments import SegmentClock, read_segments
from poseglass.video.table import PoseTable

ROWS = 1
"""Rises when rows of the same video, model and options become other rows."""

NOT_THE_VIDEO = (
    ClientClosed,
    DiskFull,
    MissingExtra,
    ModelNotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
"""Errors that every further video would meet too: they end the job."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class JobSettings:
    """What is done about every video.

    Attributes:
        selection: frames that are wanted.
        clock: cuts segments.
        following: when to look anew, whom to believe.
        finishing: what is made of the rows.
        options: what else rows depend on, plain values: flip test, JPEG quality, thresholds.
    """

    selection: Selection
    clock: SegmentClock
    following: FollowSettings
    finishing: Finishing
    options: Mapping[str, Any] = field(default_factory=dict)

    def rows_depend_on(self) -> dict[str, Any]:
        """Plain values: with any other of them the rows would be others."""
        selection = {"every": self.selection.every, "start": self.selection.start, "end": self.selection.end}
        return {
            **self.options,
            "rows": ROWS,
            "selection": selection,
            "segment_seconds": self.clock.seconds,
            "following": self.following.to_json(),
        }


class Progress(Protocol):
    """Is told how a job goes; from several threads."""

    def begin(self, source: Path, promised: int | None) -> None:
        """A video is begun that says to have so many frames."""
        ...

    def advance(self, source: Path) -> None:
        """One more of its frames is done."""
        ...

    def end(self, source: Path) -> None:
        """It is done, or failed."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one video.

    Attributes:
        source: the video, or the live source.
        folder: with the results.
        error: why it failed; None: it did not.
        skipped: everything was there already.
        counts: reconciled; None where it failed before its end.
        people: how many different ones.
        files: kind -> result file.
        losses: format -> what it does not hold, in words; only formats that drop something.
        seconds: that it took.
    """

    source: Path | LiveSource
    folder: Path
    error: PoseglassError | OSError | None = None
    skipped: bool = False
    counts: Counts | None = None
    people: int = 0
    files: Mapping[str, Path] = field(default_factory=dict)
    losses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.0


def run_job(
    videos: Mapping[Path, str],
    out: Path,
    asker: Asker,
    settings: JobSettings,
    progress: Progress,
    workers: int = 1,
) -> Iterator[Outcome]:
    """Do all videos; what one of them does wrong does not keep the others.

    Args:
        videos: file -> name of its folder.
        out: the folder around those; the caller holds its lock.
        asker: finds poses.
        settings: what is done.
        progress: is told.
        workers: videos at once; the results do not depend on it.

    Yields:
        An outcome a video, as they end.

    Raises:
        PoseglassError: one of `NOT_THE_VIDEO`, or `Cancelled`.
    """
    stop = threading.Event()
    with (
        ThreadPoolExecutor(LAG * workers, "poseglass-look") as looking,
        ThreadPoolExecutor(workers, "poseglass-video") as pool,
    ):
        machine = Machine(asker, asker.facts.skeleton, settings.following, looking, stop)

        def one(source: Path, name: str) -> Outcome:
            try:
                return attempted(
                    source,
                    out / name,
                    lambda: run_video(VideoFolder(out / name, source), machine, asker, settings, progress),
                )
            finally:
                progress.end(source)

        waiting: set[Future[Outcome]] = {pool.submit(one, source, name) for source, name in videos.items()}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            stop.set()
            for future in waiting:
                future.cancel()


def attempted(source: Path, folder: Path, work: Callable[[], Result]) -> Result | Outcome:
    """Do something about one video; what it does wrong does not keep the others.

    Args:
        source: the video.
        folder: its own.
        work: does it.

    Returns:
        What the work returns, or an outcome with its error.

    Raises:
        PoseglassError: one of `NOT_THE_VIDEO`, or `Cancelled`.
    """
    began = time.monotonic()
    try:
        return work()
    except (*NOT_THE_VIDEO, Cancelled):
        raise
    except Exception as error:  # whatever a strange file brings about, the others are done
        known = error if isinstance(error, PoseglassError | OSError) else unexpected(error, folder)
        return Outcome(source, folder, error=known, seconds=time.monotonic() - began)


def depends_on(facts: Facts, settings: JobSettings) -> dict[str, Any]:
    """What rows depend on beside the video, plain values."""
    return {**facts.to_json(), "options": settings.rows_depend_on()}


def run_video(
    folder: VideoFolder, machine: Machine, asker: Asker, settings: JobSettings, progress: Progress
) -> Outcome:
    """Do one video, or what of it is not done yet.

    Args:
        folder: its own.
        machine: looks at frames.
        asker: says with which models.
        settings: what is done.
        progress: is told.

    Raises:
        InvalidRequest: the video cannot be read, or none of its frames is wanted.
        FailedPrecondition: the folder holds another video's results.
        DiskFull, OSError: something cannot be written.
        Cancelled: `machine.stop` was set.
    """
    began = time.monotonic()
    of = {"input": fingerprint(folder.source), **depends_on(asker.facts, settings)}
    with room(folder.path):
        folder.begin(of)
        if (ended := finished(folder, settings.finishing)) is not None:
            return ended
        table = raw_rows(folder, machine, settings, progress)
        return complete(folder, table, settings.finishing, began, asker.heatmaps, machine.stop)


def complete(
    folder: VideoFolder,
    table: PoseTable,
    finishing: Finishing,
    began: float,
    heatmaps: Ask | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """The second pass over all rows of a video, its result files, and the last word about it in the manifest.

    Args:
        folder: its own; counts and facts are in the manifest.
        table: the raw rows.
        finishing: what is made of them.
        began: by the monotonic clock, when work on it was begun.
        heatmaps, stop: as for `write_results`.

    Raises:
        Cancelled: `stop` was set.
        PoseglassError, OSError: a file cannot be written.
    """
    with room(folder.path):
        counts = Counts.from_json(folder.manifest["counts"])
        counts.written = table.frame_count
        counts.with_people = int((table.person == 0).sum())
        table = second_pass(table.with_header(**_header(folder, counts)), finishing)
        lost = losses(table, finishing)
        files = result_files(folder.path, folder.name, finishing)
        folder.will_write(files.values())
        write_results(table, files, finishing, folder.source, heatmaps, stop)
        people = 0 if table.track is None else int(table.track.max(initial=-1)) + 1
        folder.note(
            counts=counts.to_json(),
            finished={
                "finishing": finishing.to_json(),
                "people": people,
                "files": {kind: [path.name, *extent(path)] for kind, path in files.items()},
                "losses": lost,
            },
        )
    return Outcome(
        folder.source,
        folder.path,
        counts=counts,
        people=people,
        files=files,
        losses=lost,
        seconds=time.monotonic() - began,
    )


def finished(folder: VideoFolder, finishing: Finishing) -> Outcome | None:
    """What became of a video that is done already; None: it is not, or its files are not as they were left."""
    done = folder.manifest.get("finished")
    if done is None or done["finishing"] != finishing.to_json():
        return None
    files = {}
    for kind, (name, *size) in done["files"].items():
        path = folder.path / name
        if extent(path) != size:
            return None
        files[kind] = path
    counts = Counts.from_json(folder.manifest["counts"])
    return Outcome(
        folder.source,
        folder.path,
        skipped=True,
        counts=counts,
        people=done["people"],
        files=files,
        losses=done["losses"],
    )


def raw_rows(folder: VideoFolder, machine: Machine, settings: JobSettings, progress: Progress) -> PoseTable:
    """All rows of a video, from its segments; those that are missing are done first."""
    counts = folder.manifest.get("counts")
    table = None if counts is None else _joined(folder, machine)
    if counts is None or table is None or table.frame_count != counts["selected"]:
        _first_pass(folder, machine, settings, progress)
        table = _joined(folder, machine)
    if table is None:
        raise InvalidRequest(
            "--start", f"{folder.source}: none of its frames is wanted; see --start, --end and --every"
        )
    return table


def _first_pass(folder: VideoFolder, machine: Machine, settings: JobSettings, progress: Progress) -> None:
    """Look at every frame whose segment is not finished, and count them all."""
    with VideoReader(folder.source) as reader:
        progress.begin(folder.source, reader.expected)
        look_through(reader, folder, machine, settings, progress)
        folder.note(counts=reader.counts.to_json(), video=reader.facts, finished=None)


def look_through(
    reader: VideoReader, folder: VideoFolder, machine: Machine, settings: JobSettings, progress: Progress
) -> None:
    """Look at every frame that a reader gives and whose segment is not finished, and keep the segments.

    Args:
        reader: at the beginning; its counts grow.
        folder: of the video.
        machine: looks at frames.
        settings: what is done.
        progress: is told of every frame.

    Raises:
        InvalidRequest: of the reader.
        DiskFull, OSError: a segment cannot be written.
        Cancelled: `machine.stop` was set.
    """
    done = folder.segments.finished(machine.skeleton)

    def finish(number: int, table: PoseTable) -> None:
        with room(folder.path):
            folder.segments.save(number, table)

    frames = read_segments(reader, settings.selection, settings.clock, done)
    run_segments(frames, machine, finish, lambda: progress.advance(folder.source))


def _joined(folder: VideoFolder, machine: Machine) -> PoseTable | None:
    """Finished segments, one after another; None where there is none."""
    tables = (folder.segments.load(number) for number in folder.segments.numbers())
    kept = [table for table in tables if table is not None and table.skeleton == machine.skeleton]
    return PoseTable.concat(kept) if kept else None


def unexpected(error: Exception, folder: Path) -> PoseglassError:
    """An error that nobody foresaw, with its place left where it can be reported from."""
    place = folder / SURPRISE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(traceback.format_exception(error)), "utf-8")
    except OSError:
        return PoseglassError(f"{type(error).__name__}: {error}; please report this")
    return PoseglassError(f"{type(error).__name__}: {error}; please report this, with {place}")


def _header(folder: VideoFolder, counts: Counts) -> dict[str, Any]:
    """What the result says of itself."""
    from poseglass import __version__

    of = folder.manifest["of"]
    return {
        "source": {"name": folder.source.name, **of["input"]},
        "video": folder.manifest["video"],
        "counts": counts.to_json(),
        "model": of["model"],
        "detector": of["detector"],
        "options": of["options"],
        "poseglass": __version__,
    }
