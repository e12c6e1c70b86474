"""Heatmaps to joints in NumPy: the twin of the decoder inside an exported graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DECODER = "log_parabola"
"""Argmax, refined by the parabola through the logarithms of the peak and its two neighbours, along each axis.

Exact for a Gaussian, whose logarithm is a parabola: the idea of distribution-aware decoding (Zhang et al., CVPR 2020,
arXiv:1910.06278) without its second-order cross term."""

FLATTEST = 1e-2
"""Least curvature of the parabola, so that a plateau gives no offset instead of a random one."""


def decode(
    heatmaps: NDArray[np.floating], epsilon: float, stride: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Joints and their peak values.

    Args:
        heatmaps: [..., rows, columns], non-negative.
        epsilon: added before the logarithm; the manifest's `decoder.epsilon`.
        stride: crop pixels a cell.

    Returns:
        joints [..., 2] in crop pixels (x, y), each within half a cell of its heatmap's argmax along either axis; and
        scores [...], the heatmaps' peaks.
    """
    maps = np.asarray(heatmaps, dtype=np.float32)
    *leading, rows, columns = maps.shape
    flat = maps.reshape(-1, rows * columns)
    peak = flat.argmax(axis=1)
    y, x = np.divmod(peak, columns)
    take = np.arange(len(flat))

    def log_at(at_y: NDArray[np.intp], at_x: NDArray[np.intp]) -> NDArray[np.float32]:
        clipped = np.clip(at_y, 0, rows - 1) * columns + np.clip(at_x, 0, columns - 1)
        return np.log(flat[take, clipped] + np.float32(epsilon))  # type: ignore[no-any-return]

    centre = log_at(y, x)

    def refine(before: NDArray[np.float32], after: NDArray[np.float32], inside: NDArray[np.bool_]) -> Any:
        offset = 0.5 * (after - before) / np.maximum(2 * centre - before - after, np.float32(FLATTEST))
        return np.where(inside, np.clip(offset, -0.5, 0.5), np.float32(0))

    dx = refine(log_at(y, x - 1), log_at(y, x + 1), (x > 0) & (x < columns - 1))
    dy = refine(log_at(y - 1, x), log_at(y + 1, x), (y > 0) & (y < rows - 1))
    cells = np.stack([x + dx, y + dy], axis=1)
    joints = (cells * stride + (stride - 1) / 2).astype(np.float32)
    return joints.reshape(*leading, 2), flat[take, peak].reshape(leading)
