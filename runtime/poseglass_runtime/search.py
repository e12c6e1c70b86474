"""One person somewhere in a picture, found with the pose network: a coarse scale pyramid, then refinement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box, box_around, box_iou
from poseglass_core.manifest import Manifest
from poseglass_runtime.estimator import Estimates, Infer, estimate
from poseglass_runtime.people import perfect_score, person_scores

LEVELS = ((1.0, 0.7, 0.5, 0.35), (0.25, 0.18), (0.125,))
"""Window sides, as fractions of the picture's longer side. Finer levels cost more and are looked at only where the
coarser ones convince nobody."""

SMALLEST = 48
"""Pixels; smaller windows hold too little of a person."""

OVERLAP = 0.4
"""Share of a window that its neighbour covers too."""

CANDIDATES = 8
"""Windows a level that are worth a refined look."""

REFINEMENTS = 2
"""Times the box is drawn anew around the joints found in it."""

CONVINCING = 0.5
"""Mean joint score, as a share of a perfect joint's, at which the search ends."""

CERTAIN = 0.7
"""Likewise of what a detector's best box holds, at which there is no search at all: it was looked at only there."""

FITS = 0.85
"""Intersection over union of a detector's box and that around the joints found in it, from which it will do."""


def find_person(infer: Infer, manifest: Manifest, image: NDArray[np.uint8], guess: Box | None = None) -> Box:
    """The box of the most convincing person in a picture.

    Args:
        infer: runs the network.
        manifest: of that network.
        image: [height, width, 3] RGB, upright.
        guess: where a detector would look. Where that, refined or as it is, is convincing, the picture is not searched.
    """
    height, width = image.shape[:2]
    found, conviction = Box(0, 0, width, height), -1.0
    enough = CONVINCING * perfect_score(manifest)
    if guess is not None:
        estimates = estimate(infer, manifest, image, [guess])
        found, conviction = guess, float(person_scores(estimates)[0])
        box, score = _best_refined(infer, manifest, image, [box_of_joints(estimates, 0)])
        if score > conviction:
            found, conviction = box, score
        if conviction >= CERTAIN * perfect_score(manifest):
            return found
    for scales in LEVELS:
        windows = coarse_windows(height, width, scales)
        if not windows:
            break
        box, score = _refine(infer, manifest, image, windows)
        if score > conviction:
            found, conviction = box, score
        if conviction >= enough:
            break
    return found


def coarse_windows(height: int, width: int, scales: tuple[float, ...]) -> list[Box]:
    """Square windows of several scales over a picture; those of full scale always, smaller ones where large enough.

    Args:
        height, width: of the picture in pixels.
        scales: window sides as fractions of the longer side.
    """
    windows = []
    for scale in scales:
        side = scale * max(height, width)
        if scale == 1 or side >= SMALLEST:
            windows += [Box(x, y, side, side) for y in _starts(height, side) for x in _starts(width, side)]
    return windows


def _starts(length: float, side: float) -> list[float]:
    """Where windows of a side begin along an axis, evenly spread; one, centred, where the side is longer."""
    if side >= length:
        return [(length - side) / 2]
    count = math.ceil((length - side) / (side * (1 - OVERLAP))) + 1
    return [float(start) for start in np.linspace(0, length - side, count)]


def _refine(infer: Infer, manifest: Manifest, image: NDArray[np.uint8], windows: list[Box]) -> tuple[Box, float]:
    """The best person in some windows, its box drawn around its joints, and how convincing it is."""
    estimates = estimate(infer, manifest, image, windows)
    boxes: list[Box] = []
    for i in np.argsort(-person_scores(estimates), kind="stable"):
        box = box_of_joints(estimates, int(i))
        if all(box_iou(box, other) < 0.5 for other in boxes):
            boxes.append(box)
        if len(boxes) == CANDIDATES:
            break
    return _best_refined(infer, manifest, image, boxes)


def _best_refined(
    infer: Infer, manifest: Manifest, image: NDArray[np.uint8], boxes: Sequence[Box]
) -> tuple[Box, float]:
    """The most convincing of some boxes, drawn anew around the joints in them a few times."""
    for _ in range(REFINEMENTS):
        estimates = estimate(infer, manifest, image, boxes)
        boxes = [box_of_joints(estimates, i) for i in range(len(boxes))]
    conviction = person_scores(estimates)
    best = int(np.argmax(conviction))
    return boxes[best], float(conviction[best])


def look_again(
    infer: Infer,
    manifest: Manifest,
    image: NDArray[np.uint8],
    boxes: Sequence[Box],
    estimates: Estimates,
    flip_test: bool = False,
) -> tuple[list[Box], Estimates]:
    """People once more, where their joints say that their box was off; the more convincing look of the two stays.

    Args:
        infer: runs the network.
        manifest: of that network.
        image: [height, width, 3] RGB, upright.
        boxes: where the people were found.
        estimates: of those boxes.
        flip_test: as they were estimated.

    Returns:
        Boxes and estimates, in the same order.
    """
    drawn = [box_of_joints(estimates, i) for i in range(len(boxes))]
    off = [i for i, box in enumerate(boxes) if box_iou(box, drawn[i]) < FITS]
    if not off:
        return list(boxes), estimates
    again = estimate(infer, manifest, image, [drawn[i] for i in off], flip_test)
    before, after = person_scores(estimates)[off], person_scores(again)
    chosen = {i: len(boxes) + k for k, i in enumerate(off) if after[k] > before[k]}
    both = estimates.and_those(again).of([chosen.get(i, i) for i in range(len(boxes))])
    return [drawn[i] if i in chosen else box for i, box in enumerate(boxes)], both


def box_of_joints(estimates: Estimates, index: int) -> Box:
    """The box around a person's joints, less those that are mere guesses."""
    scores = estimates.scores[index]
    keep = scores >= 0.5 * np.median(scores)
    return box_around(estimates.joints[index][keep])
