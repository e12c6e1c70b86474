"""When requests arrive in an open loop: a schedule made before the run, which no answer can change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ARRIVALS = ("poisson", "uniform")
"""Independent callers, or one every 1/rate seconds."""

MOST = 10_000_000
"""Arrivals of one schedule; more is a slip of the pen."""


def arrivals(kind: str, rate: float, span: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A schedule.

    Args:
        kind: "poisson": the gaps are independent and exponential; "uniform": all are 1/rate.
        rate: arrivals a second, on average.
        span: seconds.
        rng: decides the schedule; not used where it is uniform.

    Returns:
        [N] seconds from 0 to below `span`, not falling.

    Raises:
        ValueError: no such kind, or more than `MOST` arrivals.
    """
    if rate * span > MOST:
        raise ValueError(f"{rate:g} arrivals a second for {span:g} s are more than {MOST:,}")
    if kind == "uniform":
        times = np.arange(int(np.ceil(rate * span)), dtype=np.float64) / rate
        return times[times < span]
    if kind != "poisson":
        raise ValueError(f"must be one of {', '.join(ARRIVALS)}, not {kind!r}")
    # Given how many there are, the arrivals of a Poisson process are independent and uniform.
    return np.sort(rng.uniform(0.0, span, rng.poisson(rate * span)))
