"""Seed experiments: what each part of the networks and their training is worth under one small budget.

    python benchmarks/experiments.py --data ANN.json --out runs/experiments --write

Every run is one file in DIR, written when it is over. Killed at any time, the command goes on where it stopped when it
is started again, and the page shows what is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiment.page import write_page
from experiment.rows import GROUPS, Budget, Group, rows_of
from experiment.runs import Data, Result, choose, load_result, run_row
from poseglass_training.annotations import AnnotationError, load_coco
from poseglass_training.loop import Diverged

DOCS = Path(__file__).resolve().parents[1] / "docs"


def run(
    groups: tuple[Group, ...], budget: Budget, data: Data, out: Path, seeds: int, limit: int | None, workers: int
) -> int:
    """Do the runs that are not there yet, at most `limit`, every row once before any row twice.

    Returns:
        How many diverged, which leaves them undone.
    """
    wanted = [(row, seed) for seed in range(seeds) for row in rows_of(groups)]
    missing = [(row, seed) for row, seed in wanted if load_result(out, row, seed, budget, data) is None][:limit]
    diverged = 0
    for i, (row, seed) in enumerate(missing):
        name = f"run {i + 1}/{len(missing)}: {row.name}, seed {seed}"
        try:
            result = run_row(out, row, seed, budget, data, workers)
            typer.echo(f"{name}: PCK@0.2 on dev {result.dev_pck[-1]:.1f}, {result.seconds:.0f} s", err=True)
        except Diverged as error:
            diverged += 1
            typer.echo(f"{name}: {error}", err=True)
    return diverged


def results_of(
    groups: tuple[Group, ...], budget: Budget, data: Data, out: Path, seeds: int
) -> dict[str, dict[int, Result]]:
    """Row name -> seed -> result, of the runs that are there."""
    found = {row.name: {s: load_result(out, row, s, budget, data) for s in range(seeds)} for row in rows_of(groups)}
    return {name: {s: r for s, r in by_seed.items() if r is not None} for name, by_seed in found.items()}


def main(
    data: Annotated[Path, typer.Option(metavar="ANN.json", help="COCO keypoint file; id % 17 == 0 is dev.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")],
    write: Annotated[
        bool, typer.Option("--write", help="Write the page and its pictures into docs/; otherwise into DIR/page.")
    ] = False,
    only: Annotated[str, typer.Option(metavar="GROUP", help="Run this group's rows alone.")] = "",
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="At most N runs now; 0 only writes the page.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs a row.")] = 3,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare crops.")] = 1,
) -> None:
    """Train what is not trained yet, then write the page."""
    groups = tuple(group for group in GROUPS if only in ("", group.name))
    if not groups:
        raise typer.BadParameter(f"no group is called {only!r}; there are: {', '.join(g.name for g in GROUPS)}")
    budget = Budget()
    try:
        people = choose(load_coco(data), budget)
        diverged = run(groups, budget, people, out, seeds, limit, workers)
    except AnnotationError as error:
        typer.echo(f"experiments: {error}", err=True)
        raise typer.Exit(2) from None
    page = write_page(
        DOCS if write else out / "page", GROUPS, budget, people, results_of(GROUPS, budget, people, out, seeds)
    )
    typer.echo(str(page))
    if diverged:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
