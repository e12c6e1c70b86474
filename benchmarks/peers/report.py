"""What was measured, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from peers.summary import Collected, verdict
from poseglass.commands.console import print_table


def show(console: Console, levels: Sequence[int], collected: Collected) -> None:
    """For people."""
    rows, lines = [], []
    for callers in levels:
        medians = collected.medians(callers)
        for name, run in medians.items():
            values = (run.throughput, run.p50, run.p99, run.cpu, run.overhead, run.generator_cpu)
            rows.append((str(callers), name, *(f"{value:.1f}" for value in values[:3]), *map(_fine, values[3:])))
        ours = verdict(medians)
        lines.append(
            f"{callers} callers: {ours.throughput:.3f} times the throughput of {ours.best['throughput']}, "
            f"{ours.p99:.3f} times the p99 of {ours.best['p99']}, "
            f"{ours.overhead:+.2f} ms of CPU beside the bare work against {ours.best['overhead']}"
        )
    columns = ("callers", "server", "a second", "p50", "p99", "CPU", "overhead", "load")
    print_table(console, columns, rows, "milliseconds; CPU, and of it what the bare work does not take; the load's CPU")
    for line in lines:
        console.print(line, markup=False)
    for line in collected.failures:
        console.print(line, markup=False)
    console.print(f"bare: {', '.join(map(_fine, collected.bare))} ms of CPU a picture, a round each", markup=False)


def _fine(value: float) -> str:
    return f"{value:.2f}"


def levels_of(levels: Sequence[int], collected: Collected) -> dict[str, Any]:
    """Plain values, by callers."""
    return {
        str(callers): {
            "medians": {name: asdict(run) for name, run in collected.medians(callers).items()},
            "verdict": asdict(verdict(collected.medians(callers))),
            "runs": {name: [asdict(run) for run in of[callers]] for name, of in collected.runs.items()},
        }
        for callers in levels
    }
