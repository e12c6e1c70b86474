"""A detector checkpoint run in PyTorch, as the served graph does it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from poseglass_core.geometry import Box, crop_affine, invert, warp, whole_image
from poseglass_training.detection.checkpoint import DetectorCheckpoint
from poseglass_training.detection.network import ServedDetector

LEAST_SCORE = 0.02
"""Boxes that score less are not given: they would only lengthen the tail of the precision-recall curve."""

OVERLAP = 0.6
"""Intersection over union from which two boxes are of one person."""


def detector_of(
    checkpoint: DetectorCheckpoint,
) -> Callable[[NDArray[np.uint8]], tuple[list[Box], NDArray[np.float32]]]:
    """What finds people in a picture [height, width, 3]: boxes in its pixels and their scores, the highest first."""
    model = ServedDetector(checkpoint.network()).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = checkpoint.config.input_size

    def detect(image: NDArray[np.uint8]) -> tuple[list[Box], NDArray[np.float32]]:
        affine = crop_affine(whole_image(image.shape[1], image.shape[0]), size, 1.0)
        with torch.inference_mode():
            boxes, scores = model(torch.from_numpy(warp(image, affine, size)[None]))
        return boxes_in_picture(boxes[0].numpy(), scores[0].numpy(), invert(affine), image.shape[:2])

    return detect


def boxes_in_picture(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], back: NDArray[np.float64], size: tuple[int, int]
) -> tuple[list[Box], NDArray[np.float32]]:
    """A graph's boxes as boxes of the picture: cut off at its edges, one a person.

    Args:
        boxes: [K, 4] edges in input pixels, the surest first.
        scores: [K].
        back: 2x3, input pixel centres -> picture pixel centres.
        size: (height, width) of the picture.
    """
    scale = float(back[0, 0])
    edges = (boxes - 0.5) * scale + np.array([back[0, 2], back[1, 2]] * 2) + 0.5
    edges = np.clip(edges, 0, np.array([size[1], size[0]] * 2))
    sides = edges[:, 2:] - edges[:, :2]
    kept: list[int] = []
    for i in np.flatnonzero((scores >= LEAST_SCORE) & (sides >= 1).all(axis=1)):
        if all(_iou(edges[i], edges[k]) < OVERLAP for k in kept):
            kept.append(int(i))
    found = [Box(*map(float, edges[i, :2]), *map(float, sides[i])) for i in kept]
    return found, scores[kept]


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    shared = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return float(shared / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared, 1e-9))
