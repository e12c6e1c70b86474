"""Object keypoint similarity: average precision, for one prediction a labelled person, and poses found twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box
from poseglass_core.metrics import Comparison

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
"""COCO's: of similarity, and where precision is read off."""

SEGMENT_SHARE = 0.53
"""Area of a person's outline over that of their box, where only the box is known."""

COMMON_SIGMA = 0.08
"""Fall-off of the joints of a skeleton that gives none: about the mean of COCO's for the limbs."""


@dataclass(frozen=True)
class OksResult:
    """Average precision, in percent.

    Attributes:
        ap: mean over the similarity thresholds 0.50, 0.55, ... 0.95.
        ap50, ap75: at one threshold.
        people: labelled people counted.
    """

    ap: float
    ap50: float
    ap75: float
    people: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        figures = {name: round(getattr(self, name), 2) for name in ("ap", "ap50", "ap75")}
        return {**figures, "people": self.people, "area": f"{SEGMENT_SHARE:g} x the box's"}


def oks_ap(comparison: Comparison) -> OksResult:
    """COCO's keypoint AP where each labelled person has at most one prediction, ranked by mean joint score.

    A person's area is taken to be `SEGMENT_SHARE` x that of the box, as data sets of single people give no outline.

    Args:
        comparison: of a skeleton with sigmas; only people that are counted are looked at.

    Raises:
        ValueError: the skeleton has no sigmas, or nobody counted has a labelled joint.
    """
    if not comparison.skeleton.sigmas:
        raise ValueError("the skeleton has no sigmas, so OKS is not defined for it")
    columns = comparison.columns
    labelled = comparison.visible[:, columns]
    people = comparison.counted & labelled.any(axis=1)  # nobody else can be found or missed
    if not people.any():
        raise ValueError("no person counted has a labelled joint: OKS-AP is undefined")
    similarity = object_keypoint_similarity(
        comparison.predicted[people][:, columns],
        comparison.truth[people][:, columns],
        labelled[people],
        SEGMENT_SHARE * comparison.boxes[people, 2] * comparison.boxes[people, 3],
        np.array(comparison.skeleton.sigmas)[columns],
    )
    scores = comparison.scores[people][:, columns]
    given = np.isfinite(scores)
    means = np.where(given, scores, 0).sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    means[~given.any(axis=1)] = np.nan
    aps = average_precision(similarity, means)
    return OksResult(100 * float(aps.mean()), 100 * float(aps[0]), 100 * float(aps[5]), int(people.sum()))


def object_keypoint_similarity(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    visible: NDArray[np.bool_] | NDArray[np.floating],
    areas: NDArray[np.floating],
    sigmas: NDArray[np.floating],
) -> NDArray[np.float64]:
    """How alike predicted and labelled joints are, 0 to 1, as COCO's keypoint evaluation defines it.

    https://cocodataset.org/#keypoints-eval: the mean over labelled joints of exp(-d^2 / (2 area (2 sigma)^2)).

    Args:
        predicted: [P, J, 2] pixels; NaN is as wrong as can be.
        truth: [P, J, 2] pixels.
        visible: [P, J] which are labelled, or how much each counts; somebody without any has 0.
        areas: [P] of the people, in square pixels.
        sigmas: [J] fall-off of each joint.
    """
    squared = ((predicted.astype(np.float64) - truth) ** 2).sum(axis=2)
    alike = np.exp(-squared / (2 * areas[:, None] * (2 * sigmas) ** 2))
    counts = visible.sum(axis=1)
    similarity: NDArray[np.float64] = np.nansum(visible * alike, axis=1) / np.where(counts > 0, counts, 1)
    return similarity


def without_duplicates(
    joints: NDArray[np.floating],
    scores: NDArray[np.floating],
    boxes: Sequence[Box],
    sigmas: Sequence[float],
    overlap: float,
    certainty: NDArray[np.floating] | None = None,
) -> list[int]:
    """Positions of the poses that are not more alike than `overlap` to a more certain one, the most certain first.

    Two poses' area is the mean of theirs, so that either is as like the other.

    Args:
        joints: [P, J, 2] pixels.
        scores: [P] that say which of two is kept.
        boxes: P, of the same people.
        sigmas: J fall-offs; empty: `COMMON_SIGMA` for every joint.
        overlap: similarity, 0 to 1; at 1 everybody is kept.
        certainty: [P, J] of the joints: each counts as much as the less certain of the two, so that legs which one crop
            did not show, and are guessed, do not make two people of one; None: all alike.
    """
    falloff = np.array(sigmas or [COMMON_SIGMA] * joints.shape[1])
    areas = SEGMENT_SHARE * np.array([box.width * box.height for box in boxes])
    weights = np.ones(joints.shape[:2]) if certainty is None else certainty
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        alike = object_keypoint_similarity(
            joints[kept], joints[i], np.minimum(weights[kept], weights[i]), (areas[kept] + areas[i]) / 2, falloff
        )
        if not (alike > overlap).any():
            kept.append(int(i))
    return kept


def average_precision(similarity: NDArray[np.floating], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average precision at each of `THRESHOLDS`, as COCO's `COCOeval` interpolates it.

    Args:
        similarity: [P] of each labelled person's prediction.
        scores: [P] that rank the predictions; NaN: the person has none and is missed.

    Returns:
        [10], 0 to 1.
    """
    ranked = np.argsort(-scores, kind="stable")[: int(np.isfinite(scores).sum())]  # NaN sorts last
    result = np.zeros(len(THRESHOLDS))
    for i, threshold in enumerate(THRESHOLDS):
        hits = np.cumsum(similarity[ranked] >= min(threshold, 1 - 1e-10))
        recall = hits / len(similarity)
        precision = hits / np.arange(1, len(ranked) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, RECALLS, side="left")
        result[i] = np.append(envelope, 0.0)[at].mean()  # a recall that is never reached counts as no precision
    return result
