"""Pictures of the people whose joints are mostly wrong, with predicted and labelled joints on them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.drawing import Image, draw_poses
from poseglass_core.geometry import Box, box_around, crop_affine, transform, warp
from poseglass_core.poses import Pose
from poseglass_core.skeleton import Skeleton
from poseglass_training.evaluation import THRESHOLD, Evaluation, picture_of
from poseglass_training.pasting import Pasting
from poseglass_training.report.analysis import WorstPerson

SIDE = 480
"""Pixels of a tile; they are shown at about half, for fine screens."""

LABEL, MISS = (255, 255, 255), (255, 40, 70)
"""Labelled joints and their limbs; the way from a wrong joint to its label."""


def worst_tiles(evaluation: Evaluation, worst: Sequence[WorstPerson], pasting: Pasting | None) -> list[bytes]:
    """A JPEG file for each of them.

    Raises:
        AnnotationError: a picture is gone since.
    """
    tiles = []
    for person in worst:
        done, data = cv2.imencode(".jpg", draw_row(evaluation, person.row, pasting)[..., ::-1])
        if not done:
            raise RuntimeError("OpenCV could not encode a JPEG")
        tiles.append(data.tobytes())
    return tiles


def draw_row(evaluation: Evaluation, row: int, pasting: Pasting | None = None) -> Image:
    """A square cut out around a person's predicted and labelled joints, with both drawn.

    Args:
        evaluation: holds them.
        row: of the person.
        pasting: as `evaluate` was given it.
    """
    compared, people = evaluation.comparison, evaluation.people
    first = row
    while first and people[first - 1].image == people[row].image:
        first -= 1  # a picture is pasted by the first of its people
    image, _ = picture_of(people[row].image, [people[first]], pasting)
    columns = compared.columns
    labelled = compared.visible[row, columns]
    found = np.isfinite(compared.predicted[row, columns, 0])
    truth, predicted = compared.truth[row, columns], compared.predicted[row, columns]
    affine = crop_affine(box_around(np.concatenate([truth[labelled], predicted[found]])), (SIDE, SIDE), 1.0)
    canvas = warp(image, affine, (SIDE, SIDE))
    truth, predicted = transform(affine, truth), transform(affine, predicted)
    for i in np.flatnonzero(found & (compared.errors[row] > THRESHOLD)):
        _line(canvas, truth[i], predicted[i], MISS, 1)
    _draw_labels(canvas, compared.skeleton, compared.joints, truth, labelled)
    if not found.any():
        return canvas
    pose = Pose(
        compared.skeleton,
        tuple(name for name, here in zip(compared.joints, found, strict=True) if here),
        predicted[found].astype(np.float32),
        compared.scores[row, columns][found].astype(np.float32),
        Box(0, 0, SIDE, SIDE),
        1.0,
    )
    return draw_poses(canvas, [pose], boxes=False)


def _draw_labels(
    canvas: Image,
    skeleton: Skeleton,
    joints: tuple[str, ...],
    points: NDArray[np.float64],
    labelled: NDArray[np.bool_],
) -> None:
    """White limbs, thinner than predicted ones, and hollow joints, larger than predicted ones; edged in black."""
    at = {name: point for name, point, seen in zip(joints, points, labelled, strict=True) if seen}
    for colour, width in (((0, 0, 0), 4), (LABEL, 2)):
        for a, b in skeleton.limbs:
            if a in at and b in at:
                _line(canvas, at[a], at[b], colour, width)
    for point in at.values():
        for colour, width in (((0, 0, 0), 4), (LABEL, 2)):
            cv2.circle(canvas, _whole(point), 8, colour, width, cv2.LINE_AA)


def _line(
    canvas: Image, start: NDArray[np.float64], end: NDArray[np.float64], colour: tuple[int, int, int], width: int
) -> None:
    cv2.line(canvas, _whole(start), _whole(end), colour, width, cv2.LINE_AA)


def _whole(point: NDArray[np.float64]) -> list[int]:
    whole: list[int] = np.round(point).astype(int).tolist()
    return whole
