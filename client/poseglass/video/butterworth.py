"""The zero-phase Butterworth low-pass, for joints at any times: second-order sections, run forwards and backwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass.video.gaps import LowScores, check_low_scores, runs

Array = NDArray[np.float64]

UNIFORM = 0.002
"""Time steps that differ by no more than this part of their median are one step."""

FINER = 4
"""How much finer than the median step the uniform time is that others are resampled to: straight lines between samples
then cost nothing below the cutoff."""


@dataclass(frozen=True)
class Butterworth:
    """Settings of the zero-phase Butterworth low-pass, as biomechanics uses it; not causal.

    Attributes:
        cutoff: Hz at which half the power is left after both passes.
        order: of the filter that is run in each direction; 2 is the "fourth-order zero-lag" filter of the literature.
        max_gap: seconds without the joint that are bridged, by a straight line before filtering.
        low_scores: what becomes of joints under `min_score`: "weigh" (they move towards the line between their
            neighbours, in proportion), "gap" or "keep".
        min_score: see `low_scores`.

    Raises:
        InvalidRequest: a value is out of range.
    """

    cutoff: float = 5.0
    order: int = 2
    max_gap: float = 0.5
    low_scores: LowScores = "weigh"
    min_score: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.cutoff < math.inf:
            raise InvalidRequest("smooth.cutoff", f"must be a positive number of Hz, not {self.cutoff:g}")
        if not 1 <= self.order <= 8:
            raise InvalidRequest("smooth.order", f"must be a whole number from 1 to 8, not {self.order}")
        if not 0 <= self.max_gap < math.inf:
            raise InvalidRequest("smooth.max_gap", f"must be a number of seconds, 0 or more, not {self.max_gap:g}")
        check_low_scores(self.low_scores, self.min_score)

    @property
    def design_cutoff(self) -> float:
        """Hz, of one pass: two passes take away twice as much, so each must begin later (Winter 2009)."""
        return float(self.cutoff / (math.sqrt(2) - 1) ** (1 / (2 * self.order)))


def butterworth(points: Array, times: Array, weights: Array, settings: Butterworth) -> Array:
    """One person's joints, filtered.

    Args:
        points: [N, J, 2] pixels.
        times: [N] seconds.
        weights: [N, J], 0 (a gap) to 1.
        settings: of the filter.

    Returns:
        [N, J, 2]; values inside bridged gaps too, NaN in longer ones. Where frames are too far apart for the cutoff,
        points are as they were.
    """
    result = np.full(points.shape, np.nan)
    points = _between_neighbours(points, times, weights)
    known = weights > 0
    # Joints that are missing in the same frames, most often none, are filtered together.
    patterns: dict[bytes, list[int]] = {}
    for joint in range(points.shape[1]):
        patterns.setdefault(known[:, joint].tobytes(), []).append(joint)
    for joints in patterns.values():
        rows = np.flatnonzero(known[:, joints[0]])
        for run in runs(times[rows], settings.max_gap):
            here = rows[run]
            inside = slice(here[0], here[-1] + 1)
            columns = points[here][:, joints].reshape(len(here), -1)
            smooth = _smooth_run(columns, times[here], times[inside], settings)
            result[inside, joints] = smooth.reshape(-1, len(joints), 2)
    return result


def _between_neighbours(points: Array, times: Array, weights: Array) -> Array:
    """Points that count less, moved towards the line between the nearest ones that count fully."""
    points = points.copy()
    for joint in np.flatnonzero(((weights > 0) & (weights < 1)).any(axis=0)):
        full = weights[:, joint] == 1
        if not full.any():
            continue
        part = weights[:, joint, None]
        low = (part[:, 0] > 0) & ~full
        line = resample(points[full, joint], times[full], times)
        points[low, joint] = (part * points[:, joint] + (1 - part) * line)[low]
    return points


def _smooth_run(values: Array, times: Array, wanted: Array, settings: Butterworth) -> Array:
    """Values [N, C] of one run, filtered, at the wanted times."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return resample(values, times, wanted)
    step = float(np.median(steps))
    if settings.design_cutoff >= 0.5 / step:
        return resample(values, times, wanted)
    if len(steps) == len(times) - 1 and np.abs(steps - step).max() <= UNIFORM * step:
        grid, rate = times, 1 / step
    else:
        count = max(math.ceil((times[-1] - times[0]) / step * FINER), 1)
        grid, rate = np.linspace(times[0], times[-1], count + 1), count / (times[-1] - times[0])
    uniform = values if grid is times else resample(values, times, grid)
    filtered = both_ways(sections(settings.order, settings.design_cutoff, rate), uniform)
    return resample(filtered, grid, wanted)


def resample(values: Array, times: Array, wanted: Array) -> Array:
    """Values on the straight lines between samples; outside of them the nearest sample.

    Args:
        values: [N, C].
        times: [N], not falling.
        wanted: [M].

    Returns:
        [M, C].
    """
    if len(times) == 1:
        return np.repeat(values, len(wanted), axis=0)
    after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    step = np.maximum(times[after] - times[after - 1], 1e-12)
    share = np.clip((wanted - times[after - 1]) / step, 0, 1)[:, None]
    return (1 - share) * values[after - 1] + share * values[after]


def sections(order: int, cutoff: float, rate: float) -> Array:
    """Second-order sections of a digital Butterworth low-pass, by the bilinear transform with pre-warping.

    Args:
        order: of the filter.
        cutoff: Hz, under rate / 2.
        rate: samples a second.

    Returns:
        [S, 6]: b0, b1, b2, 1, a1, a2 of each.
    """
    warped = math.tan(math.pi * cutoff / rate)
    found = []
    if order % 2:
        scale = 1 / (1 + warped)
        found.append([warped * scale, warped * scale, 0.0, 1.0, (warped - 1) * scale, 0.0])
    for k in range(order // 2):
        # The poles of s^2 + 2 damping s + 1 lie on the unit circle, at equal angles.
        damping = math.sin(math.pi * (2 * k + 1) / (2 * order))
        scale = 1 / (1 + 2 * damping * warped + warped**2)
        gain = warped**2 * scale
        poles = [2 * (warped**2 - 1) * scale, (1 - 2 * damping * warped + warped**2) * scale]
        found.append([gain, 2 * gain, gain, 1.0, *poles])
    return np.array(found)


def both_ways(filters: Array, values: Array) -> Array:
    """Sections run forwards, then backwards: no lag, and the attenuation twice.

    Both ends are continued by their reflection through the end point (odd), and each pass starts as if its first value
    had always been there.

    Args:
        filters: [S, 6] of gain 1 at 0 Hz.
        values: [N, C] at uniform times.
    """
    first_order = min(int((filters[:, 2] == 0).sum()), int((filters[:, 5] == 0).sum()))
    pad = min(3 * (2 * len(filters) + 1 - first_order), len(values) - 1)
    head = 2 * values[:1] - values[pad:0:-1]
    tail = 2 * values[-1:] - values[-2 : -pad - 2 : -1] if pad else values[:0]
    forwards = _run(filters, np.concatenate([head, values, tail]))
    return _run(filters, forwards[::-1])[::-1][pad : pad + len(values)]


def _run(filters: Array, values: Array) -> Array:
    """Sections, one after another (direct form II, transposed)."""
    for b0, b1, b2, _, a1, a2 in filters.tolist():
        second = (b2 - a2) * values[0]
        first = (b1 - a1) * values[0] + second
        filtered = np.empty_like(values)
        for i, x in enumerate(values):
            y = b0 * x + first
            first = b1 * x - a1 * y + second
            second = b2 * x - a2 * y
            filtered[i] = y
        values = filtered
    return values
