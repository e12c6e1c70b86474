"""What the commands print: tables for people, and progress."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from poseglass.cli import printable

if TYPE_CHECKING:  # the doctor prints too, and must live where NumPy or OpenCV is broken
    from poseglass_core.geometry import Box
    from poseglass_core.poses import Prediction

PATIENCE = 2.0
"""Seconds before progress is shown."""

NARROW = 60
"""Columns below which a table would be cut to pieces."""

_NUMBERS = ("x", "y", "score")


class PatientProgress:
    """Bars on stderr, only on a terminal, and only if it takes longer than two seconds.

    Args:
        *columns: of a bar.
    """

    def __init__(self, *columns: ProgressColumn) -> None:
        self._bars = Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._shown = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._shown:
                self._bars.stop()

    def _show(self) -> None:
        with self._lock:
            if not self._timer.finished.is_set():
                self._shown = True
                self._bars.start()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Print something else meanwhile: the bars make way."""
        with self._lock:
            if self._shown:
                self._bars.stop()
            yield
            if self._shown:
                self._bars.start()


class Meter(PatientProgress):
    """Progress over a number of things.

    Args:
        total: how many.
        what: is being done.
    """

    def __init__(self, total: int, what: str) -> None:
        super().__init__(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._task = self._bars.add_task(what, total=total)

    def advance(self) -> None:
        """One more is done."""
        self._bars.advance(self._task)


def stdout() -> Console:
    """A console for results; long lines are left to the terminal or the pipe."""
    return Console(highlight=False, soft_wrap=True)


def print_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table; where the terminal is too narrow for one, a plain line a row.

    Args:
        columns: headings.
        rows: cells, as plain text.
        title: above it.
    """
    if console.width < NARROW:
        if title:
            console.print(title, markup=False)
        for row in rows:
            console.print("  " + "  ".join(printable(cell) for cell in row if cell), markup=False)
        return
    table = Table(title=escape(title) or None, title_justify="left", title_style="", header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console.print(table, soft_wrap=False)


def print_prediction(console: Console, title: str, prediction: Prediction) -> None:
    """Named joints with positions and scores, one table a person."""
    height, width = prediction.image_size
    model = prediction.model
    # Plain ASCII between the facts: not every terminal or pipe can say more.
    console.print(
        f"[bold]{escape(printable(title))}[/bold]  {width} x {height}, {escape(model.name)} version {model.version}, "
        f"{escape(prediction.provider)}, {prediction.timings.total:.0f} ms"
    )
    if not prediction.poses:
        console.print("  nobody found")
    for number, pose in enumerate(prediction.poses, 1):
        rows = [(joint.name, f"{joint.x:.1f}", f"{joint.y:.1f}", f"{joint.score:.3f}") for joint in pose]
        heading = f"person {number}, score {pose.score:.3f}, box {say_box(pose.box)}"
        print_table(console, ("joint", *_NUMBERS), rows, heading)


def say_box(box: Box) -> str:
    """A box for people: x,y,width,height and the angle where there is one, to a hundredth."""
    sides = box.to_list() if box.angle else box.to_list()[:4]
    return ",".join(f"{side:.2f}".rstrip("0").rstrip(".") for side in sides)
