"""A detector checkpoint run in PyTorch, as the served graph does it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from poseglass_core.detector_manifest import OVERLAP
from poseglass_core.geometry import Box, crop_affine, fitting_size, invert, warp, whole_image
from poseglass_runtime.boxes import in_picture, suppressed
from poseglass_training.detection.checkpoint import DetectorCheckpoint
from poseglass_training.detection.network import ServedDetector

LEAST_SCORE = 0.02
"""Boxes that score less are not given: they would only lengthen the tail of the precision-recall curve."""


def detector_of(
    checkpoint: DetectorCheckpoint,
) -> Callable[[NDArray[np.uint8]], tuple[list[Box], NDArray[np.float32]]]:
    """What finds people in a picture [height, width, 3]: boxes in its pixels and their scores, the highest first."""
    model = ServedDetector(checkpoint.network()).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = checkpoint.config

    def detect(image: NDArray[np.uint8]) -> tuple[list[Box], NDArray[np.float32]]:
        size = fitting_size(image.shape[0], image.shape[1], config.input_size, config.step)
        affine = crop_affine(whole_image(image.shape[1], image.shape[0]), size, 1.0)
        with torch.inference_mode():
            answer = model(torch.from_numpy(warp(image, affine, size)[None]))
        boxes, scores = (part[0].numpy() for part in answer)
        boxes, scores = boxes[scores >= LEAST_SCORE], scores[scores >= LEAST_SCORE]
        kept = suppressed(boxes, OVERLAP)
        found = in_picture(boxes[kept], scores[kept], invert(affine), (image.shape[0], image.shape[1]))
        return found.boxes, found.scores

    return detect
