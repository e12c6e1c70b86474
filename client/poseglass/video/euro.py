"""The One Euro filter: causal, with true time steps, for all joints of one person at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass.video.gaps import LowScores, check_low_scores

Array = NDArray[np.float64]

SHORTEST = 1e-3
"""Seconds; time steps count as at least that, so that two frames of one time do no harm."""

FOURTH = math.sqrt(70) * math.sqrt(2 / math.pi)
"""Mean absolute fourth difference of noise with standard deviation 1."""

MEMORY = 1.0
"""Seconds over which noise is averaged."""

SIZE_MEMORY = 1.0
"""Seconds over which a person's size is averaged."""


@dataclass(frozen=True)
class OneEuro:
    """Settings of the One Euro filter (Casiez, Roussel and Vogel, CHI 2012): slow joints are smoothed, fast not.

    Cutoff = min_cutoff + beta x speed. Three things are not as published, because pose estimates jitter by more and
    people swing faster than the paper's mouse pointers. Speed is measured in sizes of the person (longer side of the
    box), so that settings hold for any resolution. The speed that noise alone would show does not count (`rest`); noise
    is read from fourth differences, in which motion hardly appears. And speed is held for a moment (`hold`), as the
    turning point of a swing is not rest. `rest=0` and `hold=0` give the published filter.

    Attributes:
        min_cutoff: Hz, of a joint at rest.
        beta: Hz for a speed of one size of the person a second.
        speed_cutoff: Hz, of the low-pass that speed itself goes through (the paper's dcutoff).
        rest: speed counts from so many standard deviations of what noise alone would show.
        hold: seconds in which a held speed falls to 37 %.
        max_gap: seconds without the joint after which the filter starts anew.
        low_scores: what becomes of joints under `min_score`: "weigh" (less, in proportion), "gap" or "keep".
        min_score: see `low_scores`.

    Raises:
        InvalidRequest: a value is out of range.
    """

    min_cutoff: float = 1.0
    beta: float = 400.0
    speed_cutoff: float = 1.3
    rest: float = 4.5
    hold: float = 0.3
    max_gap: float = 0.5
    low_scores: LowScores = "weigh"
    min_score: float = 0.1

    def __post_init__(self) -> None:
        for name in ("min_cutoff", "speed_cutoff"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InvalidRequest(f"smooth.{name}", f"must be a positive number of Hz, not {value:g}")
        for name in ("beta", "rest", "hold", "max_gap"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InvalidRequest(f"smooth.{name}", f"must be a number, 0 or more, not {value:g}")
        check_low_scores(self.low_scores, self.min_score)


def one_euro(points: Array, times: Array, weights: Array, sizes: Array, settings: OneEuro) -> Array:
    """One person's joints, filtered.

    Args:
        points: [N, J, 2] pixels; NaN where not known.
        times: [N] seconds.
        weights: [N, J], 0 (a gap) to 1.
        sizes: [N] of the person, in pixels; NaN where not known.
        settings: of the filter.

    Returns:
        [N, J, 2]; NaN where a joint is not known or a gap: a causal filter cannot bridge it.
    """
    result = np.full(points.shape, np.nan)
    state = _State(points.shape[1])
    size, last = math.nan, -math.inf
    for i, (x, time) in enumerate(zip(points, times.tolist(), strict=True)):
        size = _running(size, float(sizes[i]), time - last)
        last = max(last, time)
        seen = (weights[i] > 0) & np.isfinite(x).all(axis=1)
        if seen.any():
            result[i, seen] = state.step(x, time, weights[i], seen, size, settings)[seen]
    return result


def _running(old: float, new: float, step: float) -> float:
    if math.isnan(new):
        return old
    return new if math.isnan(old) else old + step / (SIZE_MEMORY + step) * (new - old)


class _State:
    """Where every joint was and how it moved.

    Args:
        joints: how many.
    """

    def __init__(self, joints: int) -> None:
        self.filtered = np.zeros((joints, 2))
        self.velocity = np.zeros((joints, 2))
        self.past = np.zeros((4, joints, 2))  # the last four raw positions, latest first
        self.count = np.zeros(joints)  # positions since the start
        self.noise = np.zeros(joints)  # pixels, one axis
        self.held = np.zeros(joints)  # sizes a second
        self.time = np.full(joints, -np.inf)

    def step(
        self, x: Array, time: float, weights: Array, seen: NDArray[np.bool_], size: float, settings: OneEuro
    ) -> Array:
        """One more frame.

        Args:
            x: [J, 2] raw pixels.
            time: seconds.
            weights: [J].
            seen: [J] which joints are there; the others' state stays.
            size: of the person in pixels.
            settings: of the filter.

        Returns:
            [J, 2] filtered; of joints that are not there, where they were.
        """
        elapsed = time - self.time
        start = seen & (elapsed > settings.max_gap)  # also the first time
        self.filtered[start] = x[start]
        self.velocity[start] = 0
        self.count[start] = self.held[start] = self.noise[start] = 0
        on = seen & ~start
        step = np.maximum(np.where(on, elapsed, 1.0), SHORTEST)

        share = np.where(on, _share(settings.speed_cutoff, step), 0)
        self.velocity[on] += ((share * weights)[:, None] * ((x - self.past[0]) / step[:, None] - self.velocity))[on]
        measurable = on & (self.count >= 4)  # fourth differences need as many positions before
        fourth = x - 4 * self.past[0] + 6 * self.past[1] - 4 * self.past[2] + self.past[3]
        jitter = np.abs(fourth).mean(axis=1) / FOURTH
        memory = np.maximum(step / (MEMORY + step), 1 / np.maximum(self.count - 3, 1))
        self.noise[measurable] += (memory * (jitter - self.noise))[measurable]

        # Standard deviation of the velocity that white noise alone gives after its low-pass.
        idle = share * np.sqrt(2 / (2 - share)) * self.noise / step
        speed = np.hypot(self.velocity[:, 0], self.velocity[:, 1])
        moving = np.maximum(speed - settings.rest * idle, 0) / (size if size > 0 else 1.0)
        kept = self.held * np.exp(-step / settings.hold) if settings.hold > 0 else 0.0
        known = measurable if settings.rest > 0 else on  # until noise is known, everything may be noise
        self.held = np.where(known, np.maximum(moving, kept), np.where(on, 0.0, self.held))

        follow = _share(settings.min_cutoff + settings.beta * self.held, step) * weights
        self.filtered[on] += (follow[:, None] * (x - self.filtered))[on]
        self.past[1:, seen] = self.past[:-1, seen]
        self.past[0, seen] = x[seen]
        self.count[seen] += 1
        self.time[seen] = time
        return self.filtered


def _share(cutoff: Array | float, step: Array) -> Array:
    """What a first-order low-pass takes over of a new value: 1 / (1 + 1 / (2 pi cutoff step))."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))
