"""What a network gives for a batch of crops."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from poseglass_core.manifest import Manifest
from poseglass_core.poses import ModelRef


class RawOutputs(NamedTuple):
    """The outputs of the model's contract, in crop coordinates.

    Attributes:
        heatmaps: [N, J, H/stride, W/stride] float32, 0 ... 1.
        joints: [N, J, 2] float32, crop pixels.
        scores: [N, J] float32.
        presence: [N] float32, where the model has it.
    """

    heatmaps: NDArray[np.float32]
    joints: NDArray[np.float32]
    scores: NDArray[np.float32]
    presence: NDArray[np.float32] | None = None


class Network(Protocol):
    """Whatever can run a model: an ONNX Runtime session, a checkpoint in PyTorch, a fake in a test."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def ref(self) -> ModelRef: ...

    @property
    def provider(self) -> str: ...

    def run(self, crops: NDArray[np.uint8]) -> RawOutputs:
        """Infer uint8 RGB crops [N, H, W, 3]."""
        ...
