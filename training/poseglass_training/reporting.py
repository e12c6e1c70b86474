"""What training and evaluation say while they run and when they are done. Needs no torch until a picture is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from poseglass_training.evaluation import Evaluation

if TYPE_CHECKING:
    from poseglass_training.loop import Progress


class TrainingReport:
    """A line that lives on a terminal; elsewhere one line an epoch. The curve picture is drawn anew after each epoch.

    Args:
        out: folder of the run.
        console: where to write.

    Attributes:
        epochs_done: how many have their checkpoint written, this run and those before it.
    """

    def __init__(self, out: Path, console: Console) -> None:
        self.out, self.console, self.epochs_done = out, console, 0
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingReport:
        if self.console.is_terminal:
            self._bar = Bar(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                TextColumn("loss {task.fields[loss]:.3f}  dev PCK@0.2 {task.fields[dev]}  {task.fields[left]} left"),
                console=self.console,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def taken(self, fresh: list[str], count: int) -> None:
        """Say which of a network's tensors given weights had nothing for, by the modules they belong to."""
        modules = sorted({name.rsplit(".", 1)[0] for name in fresh})
        rest = f"; fresh: {', '.join(modules[:6])}{', …' if len(modules) > 6 else ''}" if modules else ""
        self.console.print(f"{count - len(fresh)} of {count} tensors taken{rest}", markup=False)

    def __call__(self, progress: Progress) -> None:
        """Take notice of a step or an epoch."""
        fields: dict[str, Any] = {
            "epoch": f"{progress.epoch:.1f}/{progress.epochs}",
            "loss": progress.loss,
            "dev": "–" if progress.dev_pck is None else f"{progress.dev_pck:.1f}",
            "left": say_duration(progress.seconds_left),
        }
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=progress.epochs, **fields)
            self._bar.update(self._task, completed=progress.epoch, **fields)
        if not progress.epoch_done:
            return
        self.epochs_done = round(progress.epoch)
        if self._bar is None:
            self.console.print(
                f"epoch {self.epochs_done}/{progress.epochs}: loss {progress.loss:.3f}, "
                f"dev PCK@0.2 {fields['dev']}, {fields['left']} left",
                highlight=False,
                soft_wrap=True,
            )
        from poseglass_training.pictures import curve_picture

        curve_picture(self.out / "metrics.jsonl", self.out / "curve.png")


def say_duration(seconds: float) -> str:
    """Rounded as one would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextmanager
def evaluation_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar over people, on a terminal only; give it (done, all)."""
    columns = TextColumn("evaluating"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """The figures, for people."""
    result = evaluation.result
    table = Table()
    table.add_column("joint")
    table.add_column("PCK", justify="right")
    for name, rate in result.per_joint.items():
        table.add_row(name, f"{rate:.1f}")
    table.add_section()
    table.add_row("mean", f"{result.pck:.1f}", style="bold")
    console.print(f"{evaluation.data}\n{evaluation.protocol}", markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    low, high = result.interval
    console.print(
        f"PCK {result.pck:.1f} (95 % interval {low:.1f} – {high:.1f}) over {result.people} people; "
        f"{result.left_out} left out for want of a reference length; somebody found for {evaluation.found}",
        highlight=False,
        soft_wrap=True,
    )
    if evaluation.limbs is not None:
        limbs = evaluation.limbs
        low, high = limbs.interval
        console.print(
            f"over the {len(limbs.per_joint)} limb joints alone: {limbs.pck:.1f} ({low:.1f} – {high:.1f})",
            highlight=False,
        )
    if evaluation.scores is not None:
        scores = evaluation.scores
        console.print(
            f"scores: calibration error {scores.expected_calibration_error:.3f}, area under ROC {scores.roc_auc:.3f}, "
            f"Brier {scores.brier:.3f} (joint rates alone {scores.brier_of_rates:.3f})",
            highlight=False,
            soft_wrap=True,
        )
    for joints, owner in ((evaluation.only_in_data, "data"), (evaluation.only_in_model, "model")):
        if joints:
            console.print(f"not compared, only the {owner} has them: {', '.join(joints)}", highlight=False)
    if evaluation.model is not None:
        model = evaluation.model
        console.print(
            f"{model.name} version {model.version} ({model.sha256[:12]}), {evaluation.provider}, "
            f"{say_duration(evaluation.seconds)}",
            highlight=False,
        )
