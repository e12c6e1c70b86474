"""The decoder that goes into the graph; its NumPy twin, and what it does, are in `poseglass_core.decode`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from poseglass_core.calibration import EPSILON as MASS_EPSILON
from poseglass_core.calibration import Calibration
from poseglass_core.decode import FLATTEST
from poseglass_training.targets import LossName

EPSILON: dict[LossName, float] = {"softmax": 1e-8, "sigmoid": 1e-6, "mse": 1e-3}
"""Clipped MSE maps are exactly 0 in places and noisy near it; a softmax or sigmoid never is."""


def calibrated_scores(heatmaps: Tensor, calibration: Calibration) -> Tensor:
    """The twin of `Calibration.scores`: [N, J, rows, columns] -> [N, J]."""
    window = calibration.window
    # A mean over a window that hangs over the edge, zeros counted, times the cells is the sum of what lies inside.
    mass = F.avg_pool2d(heatmaps, window, stride=1, padding=window // 2) * window**2
    peak = heatmaps.flatten(2).argmax(dim=2, keepdim=True)
    features = (mass.flatten(2).gather(2, peak).squeeze(2) + MASS_EPSILON).log()

    def numbers(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=features.dtype, device=features.device)

    mean = features.mean(dim=1, keepdim=True)
    return torch.sigmoid(
        numbers(calibration.bias) + numbers(calibration.own) * features + numbers(calibration.common) * mean
    )


def decode(heatmaps: Tensor, epsilon: float, stride: int = 4) -> tuple[Tensor, Tensor]:
    """Joints and their peak values.

    Args:
        heatmaps: [N, J, rows, columns], non-negative.
        epsilon: added before the logarithm.
        stride: crop pixels a cell.

    Returns:
        joints [N, J, 2] in crop pixels and scores [N, J].
    """
    rows, columns = heatmaps.shape[2], heatmaps.shape[3]
    flat = heatmaps.flatten(2)  # [N, J, rows * columns]
    peak = flat.argmax(dim=2)  # [N, J]
    y = torch.div(peak, columns, rounding_mode="floor")
    x = peak - y * columns

    def log_at(at_y: Tensor, at_x: Tensor) -> Tensor:
        at = at_y.clamp(0, rows - 1) * columns + at_x.clamp(0, columns - 1)
        return (flat.gather(2, at.unsqueeze(2)).squeeze(2) + epsilon).log()

    centre = log_at(y, x)

    def refine(before: Tensor, after: Tensor, inside: Tensor) -> Tensor:
        offset = 0.5 * (after - before) / (2 * centre - before - after).clamp(min=FLATTEST)
        return torch.where(inside, offset.clamp(-0.5, 0.5), torch.zeros_like(offset))

    dx = refine(log_at(y, x - 1), log_at(y, x + 1), (x > 0) & (x < columns - 1))
    dy = refine(log_at(y - 1, x), log_at(y + 1, x), (y > 0) & (y < rows - 1))
    cells = torch.stack([x + dx, y + dy], dim=2)
    scores = flat.gather(2, peak.unsqueeze(2)).squeeze(2)
    return cells * stride + (stride - 1) / 2, scores
