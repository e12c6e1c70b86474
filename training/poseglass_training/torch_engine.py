"""A checkpoint, run by PyTorch, in the place of an exported model."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from poseglass_core.poses import ModelRef
from poseglass_runtime.outputs import RawOutputs
from poseglass_training.checkpoint import load_checkpoint
from poseglass_training.devices import pick_device
from poseglass_training.manifests import manifest_of
from poseglass_training.served import served_model

BATCH = 8
"""Crops a pass; more are split."""


class TorchEngine:
    """What `poseglass_runtime.predictor.Predictor` needs of an engine, computed by PyTorch in float32.

    Args:
        path: the checkpoint.
        device: "cpu", "cuda", "cuda:N" or "auto".

    Attributes:
        manifest: as an export would write it, without a parity record.
        ref: name (the file's), version 1, and hash of the file.
        provider: "PyTorch".

    Raises:
        CheckpointError: the file is no checkpoint.
        DeviceError: the device is not here.
    """

    provider = "PyTorch"

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        path = Path(path)
        self._device = pick_device(device)
        checkpoint = load_checkpoint(path)
        name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)[:64]
        self.manifest = manifest_of(checkpoint, name)
        self.ref = ModelRef(name, 1, hashlib.sha256(path.read_bytes()).hexdigest())
        self._model = served_model(checkpoint).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, crops: NDArray[np.uint8]) -> RawOutputs:
        """Infer crops.

        Args:
            crops: [N, H, W, 3] RGB at the model's input size, N >= 1.
        """
        parts = [self._run(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
        return RawOutputs(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    @torch.inference_mode()
    def _run(self, crops: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [
            out.cpu().numpy() for out in self._model(torch.from_numpy(np.ascontiguousarray(crops)).to(self._device))
        ]
