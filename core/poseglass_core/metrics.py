"""Percentage of correct keypoints, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from poseglass_core.skeleton import LSP, Skeleton

MINIMUM_REFERENCE = 8.0
"""Pixels; people whose reference length is shorter are left out."""

LIMB_JOINTS = tuple(name for name in LSP.joints if name not in ("neck", "head_top"))
"""The twelve joints of arms and legs that the common data sets share; figures over them compare across data sets."""


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
    samples = [np.empty(0)]
    for start in range(0, resamples, 100):  # so many at a time that their weights fit into memory
        # A resample is a weight a person: the same result as drawing rows, without copying them.
        weights = rng.multinomial(people, np.full(people, 1 / people), size=min(100, resamples - start))
        samples.append(_mean_rates(weights @ right, weights @ labelled))
    rights, counts = right.sum(axis=0), labelled.sum(axis=0)
    low, high = np.percentile(np.concatenate(samples), [2.5, 97.5]) if resamples else (float("nan"), float("nan"))
    return PckResult(
        pck=float(_mean_rates(rights, counts)),
        interval=(float(low), float(high)),
        per_joint={
            skeleton.joints[c]: 100 * float(r) / int(n) for c, r, n in zip(columns, rights, counts, strict=True) if n
        },
        people=people,
        left_out=int((~counted).sum()),
    )


def _mean_rates(rights: NDArray[np.integer], counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """[..., J] -> [...]: percent, the mean over joints that have a count; NaN where none has."""
    rates = (rights / np.maximum(counts, 1)).sum(axis=-1)
    seen = (counts > 0).sum(axis=-1)
    return np.where(seen > 0, 100 * rates / np.maximum(seen, 1), np.nan)


@dataclass(frozen=True)
class Comparison:
    """Predicted joints beside labelled ones, a row a person.

    Attributes:
        skeleton: names the columns.
        joints: the names that are compared; the other columns are left aside.
        predicted: [P, J, 2] pixels; NaN where nobody was found.
        scores: [P, J]; NaN where nobody was found.
        truth: [P, J, 2] pixels.
        visible: [P, J] which are labelled.
        boxes: [P, >= 4] x, y, width, height of the people.
        lengths: [P] from `reference_lengths`; NaN: not counted.
    """

    skeleton: Skeleton
    joints: tuple[str, ...]
    predicted: NDArray[np.float64]
    scores: NDArray[np.float64]
    truth: NDArray[np.float64]
    visible: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    lengths: NDArray[np.float64]

    @property
    def columns(self) -> list[int]:
        """Where the compared joints are."""
        return [self.skeleton.index(name) for name in self.joints]

    @property
    def counted(self) -> NDArray[np.bool_]:
        """[P] who has a reference length."""
        return np.isfinite(self.lengths)

    @property
    def errors(self) -> NDArray[np.float64]:
        """[P, len(joints)] distances over reference lengths; NaN: not labelled or not counted; infinite: not found."""
        distance = np.linalg.norm(self.predicted - self.truth, axis=2)[:, self.columns]
        judged = self.visible[:, self.columns] & self.counted[:, None]
        return np.where(judged, np.where(np.isnan(distance), np.inf, distance / self.lengths[:, None]), np.nan)

    def pck(self, threshold: float = 0.2, joints: tuple[str, ...] | None = None, resamples: int = 1000) -> PckResult:
        """`pck` of these people, over the compared joints or some of them."""
        names = self.joints if joints is None else joints
        return pck(self.skeleton, self.predicted, self.truth, self.visible, self.lengths, threshold, names, resamples)

    def rows(self, chosen: NDArray[np.bool_]) -> Comparison:
        """Some of the people; `chosen` [P]."""
        arrays = ("predicted", "scores", "truth", "visible", "boxes", "lengths")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def measured_by(self, pair: tuple[str, str]) -> Comparison:
        """The same, normalised by another pair's distance; people who were not counted still are not."""
        lengths = reference_lengths(replace(self.skeleton, reference=pair), self.truth, self.visible, self.boxes)
        return replace(self, lengths=np.where(self.counted, lengths, np.nan))
