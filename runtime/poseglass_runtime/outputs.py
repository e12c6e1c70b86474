"""What networks give: joints for a batch of crops, people for a picture."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.geometry import Box
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


class Detections(NamedTuple):
    """The people found in a picture, the most certain first.

    Attributes:
        boxes: edges in pixels of the upright picture, inside it.
        scores: [P] float32, 0 ... 1.
    """

    boxes: list[Box]
    scores: NDArray[np.float32]


class Detector(Protocol):
    """Whatever can find people: an ONNX Runtime session, a checkpoint in PyTorch, a fake in a test."""

    @property
    def manifest(self) -> DetectorManifest: ...

    @property
    def ref(self) -> ModelRef: ...

    @property
    def provider(self) -> str: ...

    def detect(self, image: NDArray[np.uint8], threshold: float | None = None, closer: bool = False) -> Detections:
        """Find the people in an upright RGB picture [height, width, 3].

        Args:
            image: the picture.
            threshold: least score of a box, 0 ... 1; None: the manifest's.
            closer: look for people who are small in it; asked for only where the manifest has a `closer`.
        """
        ...
