"""Progress over videos: one bar a video under way, and one for all of them."""

from __future__ import annotations

import time
from pathlib import Path

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from poseglass.cli import printable
from poseglass.commands.console import PatientProgress


class Rate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        """Of a bar."""
        speed = task.finished_speed or task.speed
        frames = task.fields.get("frames", True)
        return Text(f"{speed:.1f} fps" if speed and frames else "")


class VideoProgress(PatientProgress):
    """Shows how a job goes.

    Args:
        videos: how many there are.
    """

    def __init__(self, videos: int) -> None:
        super().__init__(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
        )
        self._all = self._bars.add_task("videos", total=videos, frames=False)
        self._of: dict[Path, TaskID] = {}
        self._began, self._frames = time.monotonic(), 0

    def begin(self, source: Path, promised: int | None) -> None:
        """A video is begun that says to have so many frames."""
        with self._lock:
            self._of[source] = self._bars.add_task(f"  {escape(printable(source.name))}", total=promised)

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
