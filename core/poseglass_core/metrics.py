"""Percentage of correct keypoints, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass_core.skeleton import Skeleton

MINIMUM_REFERENCE = 8.0
"""Pixels; people whose reference length is shorter are left out."""


@dataclass(frozen=True)
class PckResult:
    """PCK of a set of people.

    Attributes:
        pck: mean over joints of the per-joint rates, in percent.
        interval: bootstrap 95 % interval of `pck`, by person.
        per_joint: joint name -> percent; joints that no counted person has labelled are absent.
        people: how many people counted.
        left_out: how many did not, for want of a reference length.
    """

    pck: float
    interval: tuple[float, float]
    per_joint: dict[str, float]
    people: int
    left_out: int


def reference_lengths(
    skeleton: Skeleton, truth: NDArray[np.floating], visible: NDArray[np.bool_], boxes: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The length that normalises each person's errors, in pixels; NaN where it cannot be had.

    Args:
        skeleton: says which pair, or the box's longer side.
        truth: [P, J, 2] labelled joints.
        visible: [P, J] which of them are labelled.
        boxes: [P, >= 4] x, y, width, height.
    """
    if isinstance(skeleton.reference, str):
        length: NDArray[np.float64] = boxes[:, 2:4].max(axis=1).astype(np.float64)
    else:
        a, b = (skeleton.index(name) for name in skeleton.reference)
        length = np.linalg.norm(truth[:, a].astype(np.float64) - truth[:, b], axis=1)
        length[~(visible[:, a] & visible[:, b])] = np.nan
    length[length < MINIMUM_REFERENCE] = np.nan
    return length


def pck(
    skeleton: Skeleton,
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    visible: NDArray[np.bool_],
    lengths: NDArray[np.floating],
    threshold: float = 0.2,
    joints: tuple[str, ...] | None = None,
    resamples: int = 1000,
) -> PckResult:
    """PCK: a labelled joint is right when it lies within `threshold` x reference length of its label.

    Yang and Ramanan, "Articulated human detection with flexible mixtures of parts" (PAMI 2013).

    Args:
        skeleton: names the joints.
        predicted: [P, J, 2]; NaN where nobody was found, which counts as wrong.
        truth: [P, J, 2].
        visible: [P, J] which are labelled.
        lengths: [P] from `reference_lengths`.
        threshold: fraction of the reference length.
        joints: the names to average over; default all.
        resamples: of the bootstrap.

    Raises:
        ValueError: nobody has a reference length, so there is nothing to report.
    """
    counted = np.isfinite(lengths)
    if not counted.any():
        raise ValueError("no person has a reference length: PCK is undefined (check `reference` and the labels)")
    columns = [skeleton.index(name) for name in (joints or skeleton.joints)]
    distance = np.linalg.norm(predicted[counted] - truth[counted], axis=2)[:, columns]
    labelled = visible[counted][:, columns]
    right = (distance <= threshold * lengths[counted, None]) & labelled  # NaN compares false: wrong
    rng = np.random.default_rng(0)
    people = len(right)
    samples = np.empty(resamples)
    for i in range(resamples):
        # A resample is a weight a person: the same result as drawing rows, without copying them.
        weights = rng.multinomial(people, np.full(people, 1 / people))
        samples[i] = _mean_rate(weights @ right, weights @ labelled)
    rights, counts = right.sum(axis=0), labelled.sum(axis=0)
    low, high = np.percentile(samples, [2.5, 97.5]) if resamples else (float("nan"), float("nan"))
    return PckResult(
        pck=_mean_rate(rights, counts),
        interval=(float(low), float(high)),
        per_joint={
            skeleton.joints[c]: 100 * float(r) / int(n) for c, r, n in zip(columns, rights, counts, strict=True) if n
        },
        people=people,
        left_out=int((~counted).sum()),
    )


def _mean_rate(rights: NDArray[np.integer], counts: NDArray[np.integer]) -> float:
    seen = counts > 0
    return 100 * float(np.mean(rights[seen] / counts[seen])) if seen.any() else float("nan")
