"""One person somewhere in a picture, found with the pose network alone: a coarse scale pyramid, then refinement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box, box_around, box_iou
from poseglass_core.manifest import Manifest
from poseglass_runtime.estimator import Estimates, Infer, estimate

SCALES = (1.0, 0.62, 0.4)
"""Window sides of the coarse pass, as fractions of the picture's longer side."""

OVERLAP = 0.5
"""Share of a window that its neighbour covers too."""

CANDIDATES = 3
"""Windows that are worth a refined look."""

REFINEMENTS = 2
"""Times the box is drawn anew around the joints found in it."""


def find_person(infer: Infer, manifest: Manifest, image: NDArray[np.uint8]) -> Box:
    """The box of the most convincing person in a picture.

    Args:
        infer: runs the network.
        manifest: of that network.
        image: [height, width, 3] RGB, upright.
    """
    height, width = image.shape[:2]
    windows = coarse_windows(height, width)
    coarse = estimate(infer, manifest, image, windows)
    best = np.argsort(-_conviction(coarse), kind="stable")
    boxes: list[Box] = []
    for i in best:
        box = _box_of(coarse, int(i))
        if all(box_iou(box, other) < 0.5 for other in boxes):
            boxes.append(box)
        if len(boxes) == CANDIDATES:
            break
    for _ in range(REFINEMENTS - 1):
        boxes = [_box_of(refined, 0) for refined in (estimate(infer, manifest, image, [box]) for box in boxes)]
    final = estimate(infer, manifest, image, boxes)
    winner = int(np.argmax(_conviction(final)))
    return _box_of(final, winner)


def coarse_windows(height: int, width: int) -> list[Box]:
    """Square windows of several scales over a picture, the whole picture first."""
    windows = [Box(0, 0, width, height)]
    for scale in SCALES:
        side = scale * max(height, width)
        windows += [Box(x, y, side, side) for y in _starts(height, side) for x in _starts(width, side)]
    return windows


def _starts(length: float, side: float) -> list[float]:
    """Where windows of a side begin along an axis, evenly spread; one, centred, where the side is longer."""
    if side >= length:
        return [(length - side) / 2]
    count = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return [float(start) for start in np.linspace(0, length - side, count)]


def _conviction(estimates: Estimates) -> NDArray[np.float32]:
    """How much a crop looks like one whole person: the mean joint score, times presence where the model says it."""
    mean: NDArray[np.float32] = estimates.scores.mean(axis=1)
    return mean if estimates.presence is None else mean * estimates.presence


def _box_of(estimates: Estimates, index: int) -> Box:
    """The box around the confident half and more of a person's joints."""
    scores = estimates.scores[index]
    keep = scores >= 0.5 * np.median(scores)
    return box_around(estimates.joints[index][keep])
