"""From runs to figures: medians over the rounds, costs beside the bare work, and ours beside the best of the others."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

OURS = "poseglass"

Steps = Sequence[Mapping[str, Any]]
"""Of a document of `poseglass bench`, or of `peer_load.py`."""


@dataclass(frozen=True)
class Run:
    """One server under so many callers, once.

    Attributes:
        throughput: answers a second.
        p50, p99: milliseconds of a request.
        cpu: milliseconds that the server's processes computed for a request.
        generator_cpu: the same of the process that made the load.
        overhead: `cpu` less that of the bare work in the same round.
    """

    throughput: float
    p50: float
    p99: float
    cpu: float
    generator_cpu: float
    overhead: float


def run_of(step: Mapping[str, Any], bare: float) -> Run:
    """A step of `poseglass bench`, or of `peer_load.py`.

    Args:
        step: as it stands in the document.
        bare: milliseconds of processor time that decoding, cropping and inference take.

    Raises:
        RuntimeError: not every request was answered OK, or the server's processor time is not known.
    """
    callers = step["load"]["callers"]
    if set(step["codes"]) != {"OK"}:
        told = {code: (about["count"], about["message"]) for code, about in step["codes"].items() if code != "OK"}
        raise RuntimeError(f"{callers:g} callers: not every answer was OK: {told or 'there was none'}")
    process = step["server_process"]
    if process is None or not process["pictures_per_cpu_s"]:
        raise RuntimeError(f"{callers:g} callers: the server's processor time is not known")
    cpu, latency = 1e3 / process["pictures_per_cpu_s"], step["latency_ms"]
    return Run(
        throughput=step["throughput_per_s"],
        p50=latency["p50"],
        p99=latency["p99"],
        cpu=cpu,
        generator_cpu=1e3 * step["generator"]["cpu_s"] / (step["throughput_per_s"] * step["window_s"]),
        overhead=cpu - bare,
    )


def median(runs: Sequence[Run]) -> Run:
    """The median of each figure by itself."""
    columns = zip(*(asdict(run).values() for run in runs), strict=True)
    return Run(*(statistics.median(column) for column in columns))


@dataclass
class Collected:
    """All that was measured.

    Attributes:
        runs: server -> callers -> its runs.
        bare: milliseconds of processor time of the bare work, one a round.
        failures: rounds that another server did not come through.
    """

    runs: dict[str, dict[int, list[Run]]] = field(default_factory=dict)
    bare: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, steps: Steps) -> None:
        """A server's steps of the round that is under way; all of them or, where one will not do, none."""
        runs = [(int(step["load"]["callers"]), run_of(step, self.bare[-1])) for step in steps]
        for callers, run in runs:
            self.runs.setdefault(name, {}).setdefault(callers, []).append(run)

    def medians(self, callers: int) -> dict[str, Run]:
        """By server."""
        return {name: median(levels[callers]) for name, levels in self.runs.items()}


@dataclass(frozen=True)
class Verdict:
    """Ours beside the best of the others, which may be another one for each figure.

    Attributes:
        throughput: ours over the highest.
        p99: ours over the lowest.
        overhead: ours less the lowest, in milliseconds.
        best: figure -> whose it is.
    """

    throughput: float
    p99: float
    overhead: float
    best: Mapping[str, str]


def verdict(medians: Mapping[str, Run]) -> Verdict:
    """Compare.

    Args:
        medians: server -> its figures at one number of callers; ours among them, and at least one other.
    """
    ours = medians[OURS]
    others = {name: run for name, run in medians.items() if name != OURS}
    fastest = max(others, key=lambda name: others[name].throughput)
    soonest = min(others, key=lambda name: others[name].p99)
    cheapest = min(others, key=lambda name: others[name].overhead)
    return Verdict(
        throughput=ours.throughput / others[fastest].throughput,
        p99=ours.p99 / others[soonest].p99,
        overhead=ours.overhead - others[cheapest].overhead,
        best={"throughput": fastest, "p99": soonest, "overhead": cheapest},
    )
