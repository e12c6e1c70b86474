"""How far probabilities can be believed: calibration error, ranking, Brier score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Scores against what came true.

    Attributes:
        expected_calibration_error: mean distance between score and share of right ones over ten bins of equal width,
            weighted by how many fall in (Naeini et al., AAAI 2015).
        roc_auc: probability that a right one scores above a wrong one; NaN where there is only one kind.
        brier: mean squared distance between score and outcome.
        brier_of_rates: the same of a forecaster who knows each group's rate and nothing else.
        bins: (mean score, share right, count) of each bin that is not empty.
    """

    expected_calibration_error: float
    roc_auc: float
    brier: float
    brier_of_rates: float
    bins: tuple[tuple[float, float, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {
            "expected_calibration_error": round(self.expected_calibration_error, 4),
            "roc_auc": None if math.isnan(self.roc_auc) else round(self.roc_auc, 4),
            "brier": round(self.brier, 4),
            "brier_of_rates": round(self.brier_of_rates, 4),
            "bins": [[round(score, 4), round(share, 4), count] for score, share, count in self.bins],
        }


def reliability(
    scores: NDArray[np.floating], right: NDArray[np.bool_], groups: NDArray[np.integer] | None = None
) -> Reliability:
    """Judge scores by outcomes.

    Args:
        scores: [K] in 0 ... 1.
        right: [K].
        groups: [K], e.g. joint numbers, whose rates make the forecaster to beat; None: one group.

    Raises:
        ValueError: nothing to judge.
    """
    if not len(scores):
        raise ValueError("there are no scores to judge")
    values, outcome = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    groups = np.zeros(len(scores), int) if groups is None else groups
    counts, wins = np.bincount(groups), np.bincount(groups, outcome)
    rates = wins / np.maximum(counts, 1)
    where = np.minimum((values * BINS).astype(int), BINS - 1)
    bins = tuple(
        (float(values[where == b].mean()), float(outcome[where == b].mean()), int((where == b).sum()))
        for b in range(BINS)
        if (where == b).any()
    )
    return Reliability(
        expected_calibration_error=sum(count * abs(score - share) for score, share, count in bins) / len(values),
        roc_auc=_roc_auc(values, right),
        brier=float(np.mean((values - outcome) ** 2)),
        brier_of_rates=float(np.mean((rates[groups] - outcome) ** 2)),
        bins=bins,
    )


def _roc_auc(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mann and Whitney's statistic, ties counting half."""
    positives = int(right.sum())
    negatives = len(right) - positives
    if not positives or not negatives:
        return float("nan")
    _values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank of equal scores, from 1
    return float((ranks[right].sum() - positives * (positives + 1) / 2) / (positives * negatives))
