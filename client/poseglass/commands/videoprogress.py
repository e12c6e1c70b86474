"""Progress over videos: one bar a video under way, and one for all of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from poseglass.commands.console import PATIENCE


class Rate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        """Of a bar."""
        speed = task.finished_speed or task.speed
        frames = task.fields.get("frames", True)
        return Text(f"{speed:.1f} fps" if speed and frames else "")


class VideoProgress:
    """Shows how a job goes: on stderr, only on a terminal, and only if it takes longer than two seconds.

    Args:
        videos: how many there are.
    """

    def __init__(self, videos: int) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._all = self._bars.add_task("videos", total=videos, frames=False)
        self._of: dict[Path, TaskID] = {}
        self._shown, self._closed = False, False
        self._lock = threading.Lock()
        self._began, self._frames = time.monotonic(), 0

    def __enter__(self) -> VideoProgress:
        if sys.stderr.isatty():
            timer = threading.Timer(PATIENCE, self._show)
            timer.daemon = True
            timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            if self._shown:
                self._bars.stop()

    def _show(self) -> None:
        with self._lock:
            if not self._closed:
                self._shown = True
                self._bars.start()

    def begin(self, source: Path, promised: int | None) -> None:
        """A video is begun that says to have so many frames."""
        with self._lock:
            self._of[source] = self._bars.add_task(f"  {escape(source.name)}", total=promised)

    def advance(self, source: Path) -> None:
        """One more of its frames is done."""
        self._bars.advance(self._of[source])
        with self._lock:
            self._frames += 1
            rate = self._frames / max(time.monotonic() - self._began, 1e-9)
        self._bars.update(self._all, description=f"videos, {rate:.1f} fps")

    def end(self, source: Path) -> None:
        """It is done, or failed."""
        with self._lock:
            bar = self._of.pop(source, None)
        if bar is not None:
            self._bars.remove_task(bar)
        self._bars.advance(self._all)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Print something else meanwhile: the bars make way."""
        with self._lock:
            if self._shown:
                self._bars.stop()
            yield
            if self._shown:
                self._bars.start()
