"""What became of videos, said: on stderr, as JSON, and in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import typer

from poseglass.cli import FAILED, complain, explain, naming
from poseglass.commands.console import print_table, stdout
from poseglass.commands.documents import JsonList, error_json
from poseglass.video.finish import loss_lines
from poseglass.video.job import Outcome


def tell(outcome: Outcome, document: JsonList, strict: bool, as_json: bool) -> None:
    """Say what became of one video, as soon as it is known: what is wrong on stderr, and all in the JSON list."""
    for line in complaints(outcome):
        complain(line)
    if as_json:
        document.add(to_json(outcome, strict))


def tell_all(outcomes: Sequence[Outcome], strict: bool, as_json: bool) -> None:
    """Say what became of videos that are all known at once.

    Raises:
        typer.Exit: one of them failed.
    """
    with JsonList(as_json) as document:
        for outcome in outcomes:
            tell(outcome, document, strict, as_json)
    conclude(outcomes, strict, as_json)


def conclude(outcomes: Sequence[Outcome], strict: bool, as_json: bool) -> None:
    """The table of all videos, and the exit code.

    Raises:
        typer.Exit: one of them failed.
    """
    if not as_json:
        known = Counter(outcome.source.name for outcome in outcomes)
        names = (str(out.source) if known[out.source.name] > 1 else out.source.name for out in outcomes)
        rows = [_row(name, outcome, strict) for name, outcome in zip(names, outcomes, strict=True)]
        print_table(stdout(), ("video", "frames", "with people", "people", "time", "result"), rows)
    for line in loss_lines(outcome.losses for outcome in outcomes):
        complain(line)
    if bad := sum(failed(outcome, strict) for outcome in outcomes):
        if len(outcomes) > 1:
            complain(f"{bad} of {len(outcomes)} videos failed")
        raise typer.Exit(FAILED)


def failed(outcome: Outcome, strict: bool) -> bool:
    """Whether a video counts as failed."""
    return outcome.error is not None or (strict and bool(_disagreements(outcome)))


def _disagreements(outcome: Outcome) -> Sequence[str]:
    return [] if outcome.counts is None else outcome.counts.disagreements()


def complaints(outcome: Outcome) -> list[str]:
    """What to say of a video on stderr."""
    lines = [] if outcome.error is None else [explain(outcome.error)]
    lines += _disagreements(outcome)
    if outcome.counts is not None and outcome.counts.dropped:
        lines.append(
            f"{outcome.counts.dropped} of {outcome.counts.selected} frames were dropped, as looking was slower than "
            "the source; --every, a smaller --model or a --server makes room"
        )
    return [naming(outcome.source, line) for line in lines]


def to_json(outcome: Outcome, strict: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "file": str(outcome.source),
        "folder": str(outcome.folder),
        "result": _result(outcome, strict),
        "seconds": round(outcome.seconds, 2),
    }
    if outcome.counts is not None:
        value |= {
            "counts": outcome.counts.to_json(),
            "people": outcome.people,
            "files": {kind: str(path) for kind, path in outcome.files.items()},
            "losses": dict(outcome.losses),
        }
    if outcome.error is not None:
        value["error"] = error_json(outcome.error)
    return value


def _result(outcome: Outcome, strict: bool) -> str:
    if outcome.error is not None:
        return "failed"
    if _disagreements(outcome):
        return "counts disagree" if strict else "done, counts disagree"
    return "was done" if outcome.skipped else "done"


def _row(name: str, outcome: Outcome, strict: bool) -> tuple[str, ...]:
    counts = outcome.counts
    numbers = ("", "", "") if counts is None else (counts.written, counts.with_people, outcome.people)
    return name, *map(str, numbers), f"{outcome.seconds:.1f} s", _result(outcome, strict)
