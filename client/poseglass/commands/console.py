"""What the commands print: tables for people, and progress."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:  # the doctor prints too, and must live where NumPy or OpenCV is broken
    from poseglass_core.poses import Prediction

PATIENCE = 2.0
"""Seconds before progress is shown."""


class Meter:
    """Progress over a number of things, on stderr, only on a terminal, and only if it takes longer than two seconds.

    Args:
        total: how many.
        what: is being done.
    """

    def __init__(self, total: int, what: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(what, total=total)
        self._shown = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Meter:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            if self._shown:
                self._bar.stop()

    def _show(self) -> None:
        with self._lock:
            if not self._timer.finished.is_set():
                self._shown = True
                self._bar.start()

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Print something else meanwhile: the bar makes way."""
        with self._lock:
            if self._shown:
                self._bar.stop()
            yield
            if self._shown:
                self._bar.start()


def stdout() -> Console:
    """A console for results; long lines are left to the terminal or the pipe."""
    return Console(highlight=False, soft_wrap=True)


def print_prediction(console: Console, title: str, prediction: Prediction) -> None:
    """Named joints with positions and scores, one table a person."""
    height, width = prediction.image_size
    model = prediction.model
    console.print(
        f"[bold]{escape(title)}[/bold]  {width} x {height} · {escape(model.name)} version {model.version} · "
        f"{escape(prediction.provider)} · {prediction.timings.total:.0f} ms"
    )
    if not prediction.poses:
        console.print("  nobody found")
    for number, pose in enumerate(prediction.poses, 1):
        box = ", ".join(f"{side:.0f}" for side in pose.box.to_list()[:4])
        table = Table(
            title=f"person {number} · score {pose.score:.3f} · box {box}",
            title_justify="left",
            title_style="",
            header_style="bold",
        )
        table.add_column("joint")
        for name in ("x", "y", "score"):
            table.add_column(name, justify="right")
        for joint in pose:
            table.add_row(escape(joint.name), f"{joint.x:.1f}", f"{joint.y:.1f}", f"{joint.score:.3f}")
        console.print(table)
