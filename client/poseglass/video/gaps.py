"""Where a joint is missing, and how much it counts where its score is low."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest

LowScores = Literal["weigh", "gap", "keep"]
"""What a filter makes of joints with low scores: they count less, are gaps, or count as all others."""


def check_low_scores(low_scores: str, min_score: float) -> None:
    """Settings that every filter has.

    Raises:
        InvalidRequest: naming the one that is wrong.
    """
    if low_scores not in get_args(LowScores):
        raise InvalidRequest("smooth.low_scores", f"must be weigh, gap or keep, not {low_scores!r}")
    if not 0 <= min_score <= 1:
        raise InvalidRequest("smooth.min_score", f"must be a number from 0 to 1, not {min_score:g}")


def joint_weights(
    points: NDArray[np.floating], scores: NDArray[np.floating], low_scores: LowScores, min_score: float
) -> NDArray[np.float64]:
    """How much each joint counts, 0 (it is missing) to 1.

    Args:
        points: [N, J, 2]; NaN is missing.
        scores: [N, J]; one that is not known counts as high.
        low_scores: what becomes of scores under `min_score`.
        min_score: from 0 to 1.

    Returns:
        [N, J].
    """
    weights: NDArray[np.float64] = np.where(np.isfinite(points).all(axis=2), 1.0, 0.0)
    low = scores < min_score
    if low_scores == "gap":
        weights[low] = 0
    elif low_scores == "weigh" and min_score > 0:
        # Never quite nothing: a joint that is there is no gap.
        weights[low] *= np.maximum(scores[low] / min_score, 0.01)
    return weights


def runs(times: NDArray[np.float64], max_gap: float) -> list[slice]:
    """Stretches of times that lie no more than `max_gap` seconds apart.

    Args:
        times: [N] seconds, not falling.
        max_gap: seconds.
    """
    if not len(times):
        return []
    breaks = (np.flatnonzero(np.diff(times) > max_gap) + 1).tolist()
    return [slice(start, end) for start, end in zip([0, *breaks], [*breaks, len(times)], strict=True)]
