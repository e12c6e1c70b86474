"""`poseglass video` of a live source: its options, signals that end it, and what is shown meanwhile."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from poseglass.commands.console import PATIENCE
from poseglass.errors import InvalidRequest, PoseglassError
from poseglass.video.annotate import draw_rows
from poseglass.video.asking import Asker
from poseglass.video.counts import Counts
from poseglass.video.job import JobSettings, Outcome
from poseglass.video.live import LiveSettings, check_finishing, is_recording, record
from poseglass.video.livesource import LiveSource
from poseglass.video.segments import SegmentFrame
from poseglass.video.show import Window, check_window
from poseglass.video.table import PoseTable
from poseglass_core.poses import Pose
from poseglass_core.skeleton import Skeleton

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a recording, and not the process: Ctrl-C, the service manager's, and a terminal that is closed."""

ONLY_LIVE = ("--drop", "--mirror", "--show")


def check_options(live: LiveSource | None, settings: JobSettings, given: Mapping[str, Any]) -> None:
    """Refuse options that say nothing about such a source.

    Args:
        live: the source; None: they are files.
        settings: what else was asked for.
        given: option -> value of those for one kind of source alone; None or False: not given.

    Raises:
        InvalidRequest: naming the option.
        FailedPrecondition: no window can be shown.
    """
    if live is None:
        for option in ONLY_LIVE:
            if given[option]:
                raise InvalidRequest(option, "is for live sources: a camera's number, a URL, or - for standard input")
        return
    LiveSettings(given["--drop"])
    check_finishing(settings.finishing)
    if settings.selection.start is not None:
        raise InvalidRequest("--start", "is for files; begin the recording when you want it to begin")
    if settings.selection.end is not None and settings.selection.end <= 0:
        raise InvalidRequest("--end", f"must be a positive number of seconds, not {settings.selection.end:g}")
    if given["--workers"] is not None:
        raise InvalidRequest("--workers", "is for several files; a live source stands alone")
    if given["--show"]:
        check_window()


def recordings(sources: Sequence[str], out: Path) -> list[Path]:
    """The folders of recordings that a command line names; none, where it names anything else.

    Raises:
        InvalidRequest: they are not in `out`.
    """
    folders = [Path(source) for source in sources]
    if not all(folder.is_dir() and is_recording(folder) for folder in folders):
        return []
    for folder in folders:
        if folder.resolve().parent != out.resolve():
            raise InvalidRequest(
                "--out", f"must be {folder.parent}, where the recording {folder.name} is, and not {out}"
            )
    return folders


def record_live(
    source: LiveSource, out: Path, asker: Asker, settings: JobSettings, live: LiveSettings, show: bool
) -> Outcome:
    """Record a live source until it ends, `--end` is reached, or a signal or the window ends it.

    Returns:
        What became of it, also where it could not be begun.
    """
    enough = threading.Event()
    with ExitStack() as stack:
        window = stack.enter_context(Window(f"{source}: q or Esc ends", enough.set)) if show else None
        watcher = stack.enter_context(_Watching(str(source), asker.facts.skeleton, window))
        stack.enter_context(_ended_by_signals(enough))
        try:
            return record(source, out, asker, settings, live, watcher, enough)
        except PoseglassError as error:
            return Outcome(source, out, error=error)


@contextmanager
def _ended_by_signals(enough: threading.Event) -> Iterator[None]:
    """The first signal ends the recording; a second one does what it always does."""
    # One that is ignored, as `nohup` and shells in the background have it, stays so.
    handlers = {number: signal.getsignal(number) for number in ENDING}
    before = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(_number: int, _frame: FrameType | None) -> None:
        enough.set()
        restore()

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()


class _Watching:
    """Shows how a recording goes: a line on stderr, on a terminal, and the poses in a window where there is one.

    Args:
        name: of the source.
        skeleton: of the poses.
        window: None: there is none.
    """

    def __init__(self, name: str, skeleton: Skeleton, window: Window | None) -> None:
        self._name, self._skeleton, self._window = name, skeleton, window
        self._line = Live(console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
        self._frames, self._began = 0, time.monotonic()

    def __enter__(self) -> _Watching:
        if sys.stderr.isatty():
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()

    def begin(self, folder: Path) -> None:
        """The first frame has come, and the folder is made."""
        self._began = time.monotonic()
        if self._line.is_started:
            self._line.console.print(Text(f"{self._name}: recording into {folder}; Ctrl-C ends it"))

    def seen(self, frame: SegmentFrame, poses: Sequence[Pose]) -> None:
        """A frame was looked at."""
        self._frames += 1
        if self._window is not None:
            table = PoseTable.from_frames(self._skeleton, [(frame.index, frame.time, poses)])
            self._window.show(draw_rows(frame.image, table, slice(0, len(table)), smoothed=False))

    def tick(self, counts: Counts) -> None:
        """Time has passed."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        if seconds > PATIENCE:
            rate = f"{self._frames / seconds:.1f} fps, {counts.dropped} dropped"
            self._line.update(Text(f"{self._name}: {counts.last_time or 0:.0f} s, {self._frames} frames, {rate}"))
        if self._window is not None:
            self._window.attend()
