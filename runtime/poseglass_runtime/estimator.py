"""A picture and boxes to poses: crops, network, and back to the picture's coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass_core.decode import decode
from poseglass_core.geometry import (
    Affine,
    Box,
    compose,
    crop_affine,
    heatmap_affine,
    invert,
    transform,
    warp,
)
from poseglass_core.manifest import Manifest
from poseglass_runtime.outputs import RawOutputs

Infer = Callable[[NDArray[np.uint8]], RawOutputs]
"""uint8 RGB crops [N, H, W, 3] -> raw outputs."""


@dataclass(frozen=True)
class Estimates:
    """All joints of P boxes.

    Attributes:
        joints: [P, J, 2] float64, pixels of the upright image.
        scores: [P, J] float32.
        presence: [P] float32, or None where the model does not say.
        heatmaps: [P, J, rows, columns] float32.
        to_image: P affines, heatmap cells -> image pixels.
    """

    joints: NDArray[np.float64]
    scores: NDArray[np.float32]
    presence: NDArray[np.float32] | None
    heatmaps: NDArray[np.float32]
    to_image: list[Affine]

    def of(self, indices: Sequence[int]) -> Estimates:
        """Those of some boxes, in that order."""
        at = list(indices)
        return Estimates(
            joints=self.joints[at],
            scores=self.scores[at],
            presence=None if self.presence is None else self.presence[at],
            heatmaps=self.heatmaps[at],
            to_image=[self.to_image[i] for i in at],
        )

    def and_those(self, others: Estimates) -> Estimates:
        """These, and others of the same model behind them."""
        return Estimates(
            joints=np.concatenate([self.joints, others.joints]),
            scores=np.concatenate([self.scores, others.scores]),
            presence=None
            if self.presence is None or others.presence is None
            else np.concatenate([self.presence, others.presence]),
            heatmaps=np.concatenate([self.heatmaps, others.heatmaps]),
            to_image=[*self.to_image, *others.to_image],
        )


def estimate(
    infer: Infer, manifest: Manifest, image: NDArray[np.uint8], boxes: Sequence[Box], flip_test: bool = False
) -> Estimates:
    """Find the joints of the people in some boxes.

    Args:
        infer: runs the network.
        manifest: of that network.
        image: [height, width, 3] RGB, upright.
        boxes: at least one.
        flip_test: run the mirrored crops too and average the heatmaps before decoding.
    """
    affines = [crop_affine(box, manifest.input_size, manifest.box_padding) for box in boxes]
    crops = np.stack([warp(image, affine, manifest.input_size) for affine in affines])
    raw = infer(crops)
    if flip_test:
        raw = _average(raw, infer(np.ascontiguousarray(crops[:, :, ::-1])), manifest)
    to_image = [invert(affine) for affine in affines]
    cells = heatmap_affine(manifest.stride)
    return Estimates(
        joints=np.stack([transform(back, joints) for back, joints in zip(to_image, raw.joints, strict=True)]),
        scores=raw.scores,
        presence=raw.presence,
        heatmaps=raw.heatmaps,
        to_image=[compose(back, cells) for back in to_image],
    )


def _average(plain: RawOutputs, mirrored: RawOutputs, manifest: Manifest) -> RawOutputs:
    """The flip test of Newell et al.: heatmaps of both passes averaged, then decoded by the graph's NumPy twin."""
    back = mirrored.heatmaps[:, manifest.skeleton.flip_index, :, ::-1]
    heatmaps: NDArray[np.float32] = (plain.heatmaps + back) * np.float32(0.5)
    joints, peaks = decode(heatmaps, manifest.decoder["epsilon"], manifest.stride)
    calibration = manifest.calibration
    scores = peaks if calibration is None else calibration.scores(heatmaps)
    presence: NDArray[np.float32] | None = None
    if plain.presence is not None and mirrored.presence is not None:
        presence = (plain.presence + mirrored.presence) * np.float32(0.5)
    return RawOutputs(heatmaps, joints, scores, presence)
