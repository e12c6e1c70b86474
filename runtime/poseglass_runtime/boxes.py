"""A detector's boxes: each person once, in pixels of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Affine, Box, transform
from poseglass_runtime.outputs import Detections

LEAST_SIDE = 1.0
"""Pixels of the picture; smaller boxes hold nobody."""


def suppressed(boxes: NDArray[np.float32], overlap: float) -> list[int]:
    """Positions of the boxes that no better one overlaps by more than an IoU of `overlap`.

    Args:
        boxes: [K, 4] x1, y1, x2, y2, the best first.
        overlap: 0 to 1.
    """
    wide = boxes.astype(np.float64)
    areas = (wide[:, 2:] - wide[:, :2]).clip(0).prod(axis=1)
    kept: list[int] = []
    for i, box in enumerate(wide):
        shared = np.minimum(box[2:], wide[kept, 2:]) - np.maximum(box[:2], wide[kept, :2])
        both = shared.clip(0).prod(axis=1)
        if not (both > overlap * (areas[i] + areas[kept] - both)).any():
            kept.append(i)
    return kept


def together(usual: Detections, closer: Detections, belief: float, overlap: float) -> Detections:
    """What two looks at one picture have found, each person once.

    Args:
        usual: of the first look.
        closer: of the second.
        belief: what its scores count, in shares of the first one's.
        overlap: of `suppressed`.
    """
    boxes = [*usual.boxes, *closer.boxes]
    scores = np.concatenate([usual.scores, np.float32(belief) * closer.scores])
    best = np.argsort(-scores, kind="stable")
    edges = np.array([[b.x, b.y, b.x + b.width, b.y + b.height] for b in boxes], np.float32).reshape(-1, 4)
    kept = best[suppressed(edges[best], overlap)]
    return Detections([boxes[i] for i in kept], scores[kept])


def in_picture(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], to_image: Affine, size: tuple[int, int]
) -> Detections:
    """Boxes in input pixels as boxes in the picture, without those that lie outside it.

    Args:
        boxes: [K, 4] x1, y1, x2, y2.
        scores: [K].
        to_image: input pixels -> picture pixels.
        size: (height, width) of the picture.
    """
    edges = transform(to_image, boxes.reshape(-1, 2, 2) - 0.5) + 0.5  # affines are of pixel centres
    inside = np.clip(edges, 0, np.array([size[1], size[0]], np.float64))
    sides = inside[:, 1] - inside[:, 0]
    kept = (sides >= LEAST_SIDE).all(axis=1)
    found = [Box(*map(float, (*low, *side))) for low, side in zip(inside[kept, 0], sides[kept], strict=True)]
    return Detections(found, scores[kept].astype(np.float32))
