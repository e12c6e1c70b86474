"""What a checkpoint's model will say of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poseglass_core.decode import DECODER
from poseglass_core.manifest import Manifest
from poseglass_training.checkpoint import Checkpoint
from poseglass_training.decoder import EPSILON
from poseglass_training.networks import architecture

STRIDE = 4
"""Crop pixels a heatmap cell, of every network here."""

OUTPUTS = ("heatmaps", "joints", "scores")
"""Of every pose model; `presence` is a fourth where it was trained."""

ACTIVATIONS = {"softmax": "softmax", "sigmoid": "sigmoid", "mse": "clip"}
"""Loss -> the manifest's `heatmap_activation`; `targets.activate` does it."""


def manifest_of(
    checkpoint: Checkpoint, name: str, version: int = 1, parity: Mapping[str, Any] | None = None
) -> Manifest:
    """The manifest of a checkpoint.

    Args:
        checkpoint: the weights and their origin.
        name: what requests call the model.
        version: positive integer.
        parity: figures of the export gate; none where it has not run.
    """
    data = checkpoint.training.get("data", [])
    licences = "; ".join(f"{part['name']}: {part['licence']}" for part in data)
    return Manifest(
        name=name,
        version=version,
        architecture=architecture(checkpoint.config),
        skeleton=checkpoint.skeleton,
        input_size=checkpoint.config.input_size,
        box_padding=checkpoint.box_padding,
        stride=STRIDE,
        outputs=OUTPUTS + (("presence",) if checkpoint.presence else ()),
        heatmap_activation=ACTIVATIONS[checkpoint.loss],
        decoder={"name": DECODER, "epsilon": EPSILON[checkpoint.loss], "smoothing": checkpoint.smoothing},
        score=(
            {"meaning": "calibrated", "calibration": checkpoint.calibration.to_json()}
            if checkpoint.calibration
            else {"meaning": "peak"}
        ),
        training={**checkpoint.training, "epoch": checkpoint.epoch},
        evaluation=tuple(checkpoint.evaluation),
        parity=dict(parity or {}),
        weights_licence=f"as the data they were trained on ({licences})" if licences else "unknown",
    )
