"""What the trainer's commands share: options, exit codes, refusals, and who is learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from poseglass_training.annotations import FIXES, KeypointData, audit, require_fixed

Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND", help=f"Mend such annotations instead of refusing them: {', '.join(FIXES)}."),
]

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes: tried and failed; asked for wrongly; Ctrl-C."""


def people(
    data: Path, images: Path | None, dev: Path | None, fix: Sequence[str]
) -> tuple[KeypointData, KeypointData, dict[str, int]]:
    """People to learn from, people held out, and how many annotations of each kind of problem were mended.

    Raises:
        AnnotationError: a file cannot be used, or holds problems that are not to be mended.
    """
    labelled, problems = audit(data, images)
    require_fixed(data, problems, fix)
    if not dev:
        learn, select = labelled.hold_out()
        return learn, select, dict(Counter(problem.kind for problem in problems))
    select, more = audit(dev, images)
    require_fixed(dev, more, fix)
    return labelled, select, dict(Counter(problem.kind for problem in [*problems, *more]))


def make_folder(command: str, option: str, folder: Path) -> None:
    """Make an output folder before the work; a refusal that names the option where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"cannot be written to ({error.strerror}); choose another folder"
        raise refusal(command, f"{option} {folder}: {why}") from None


def check_target(command: str, option: str, file: Path) -> None:
    """Make sure before the work that a file can be written; a refusal that names the option where it cannot."""
    if file.is_dir():
        raise refusal(command, f"{option} {file} is a folder; name a file")
    if not file.parent.is_dir():
        raise refusal(command, f"{option} {file}: {file.parent} is no folder to write into; make it first")


def refusal(command: str, message: str, code: int = USAGE) -> typer.Exit:
    """What to raise, once the message has been said."""
    typer.echo(f"poseglass {command}: {message.strip()}", err=True)
    return typer.Exit(code)
