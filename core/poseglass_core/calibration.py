"""From heatmaps to the probability that a joint is right: the NumPy twin of what an exported graph computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6
"""Added to the mass of a heatmap around its peak before the logarithm."""


@dataclass(frozen=True)
class Calibration:
    """Logistic regression, one a joint, on how much of a heatmap lies around its peak.

    With m_j the sum of the cells of heatmap j in a square window around its highest cell, and f_j = log(m_j + 1e-6),
    the score of joint j is 1 / (1 + exp(-(bias_j + own_j f_j + common_j mean(f)))): a person whose other joints are
    found well is likelier to have this one right. The idea is Platt's (1999).

    Attributes:
        window: cells a side, odd.
        bias, own, common: one number a joint.
        fitted_on: the data, in words.
    """

    window: int
    bias: tuple[float, ...]
    own: tuple[float, ...]
    common: tuple[float, ...]
    fitted_on: str = ""

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"calibration.window must be odd and at least 1, not {self.window}")
        if not len(self.bias) == len(self.own) == len(self.common) >= 1:
            raise ValueError("calibration.bias, own and common must have one number a joint")

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a manifest's `score.calibration` has them."""
        return {
            "window": self.window,
            "bias": list(self.bias),
            "own": list(self.own),
            "common": list(self.common),
            "fitted_on": self.fitted_on,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Calibration:
        """Read back.

        Raises:
            ValueError: numbers that do not fit together.
        """
        return Calibration(
            window=int(value["window"]),
            bias=tuple(map(float, value["bias"])),
            own=tuple(map(float, value["own"])),
            common=tuple(map(float, value["common"])),
            fitted_on=str(value.get("fitted_on", "")),
        )

    def scores(self, heatmaps: NDArray[np.floating]) -> NDArray[np.float32]:
        """The calibrated scores [N, J] of heatmaps [N, J, rows, columns]."""
        return self.scores_of_mass(log_mass(heatmaps, self.window))

    def scores_of_mass(self, log_masses: NDArray[np.floating]) -> NDArray[np.float32]:
        """The same from what `log_mass` gives, [N, J]."""
        features = np.asarray(log_masses, np.float64)
        mean = features.mean(axis=1, keepdims=True)
        logits = np.array(self.bias) + np.array(self.own) * features + np.array(self.common) * mean
        scores: NDArray[np.float32] = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return scores


def log_mass(heatmaps: NDArray[np.floating], window: int) -> NDArray[np.float32]:
    """Logarithm of the sum of the cells around each heatmap's highest one.

    Args:
        heatmaps: [N, J, rows, columns], non-negative.
        window: cells a side, odd; what hangs over the edge counts as 0.

    Returns:
        [N, J]
    """
    maps = np.asarray(heatmaps, dtype=np.float32)
    columns = maps.shape[3]
    reach = window // 2
    y, x = np.divmod(maps.reshape(*maps.shape[:2], -1).argmax(axis=2), columns)
    padded = np.pad(maps, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    n, j = np.indices(y.shape)
    mass = np.zeros(y.shape, np.float32)
    for dy in range(window):
        for dx in range(window):
            mass += padded[n, j, y + dy, x + dx]
    logarithm: NDArray[np.float32] = np.log(mass + np.float32(EPSILON))
    return logarithm
