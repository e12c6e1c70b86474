"""What answers: a shipped model, an ONNX file, a checkpoint, a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import poseglass_models
from poseglass_core.poses import PoseRequest, Prediction
from poseglass_runtime.outputs import Detector, Network
from poseglass_runtime.predictor import Predictor
from poseglass_training.evaluation import Predict

if TYPE_CHECKING:
    from poseglass.commands.connection import Connection


class ModelUnusable(RuntimeError):
    """A model that cannot be evaluated, and why."""


NO_DETECTOR = "none"
"""What `--detector` is given for none."""


@contextmanager
def predictor(
    model: str, connection: Connection | None, device: str, detector: str = ""
) -> Iterator[tuple[Predict, bool]]:
    """What answers, and whether it takes the bytes of files.

    Args:
        model: shipped name, ONNX file or checkpoint; the server's name of it.
        connection: to a server; None: this process.
        device: where to compute in this process.
        detector: finds people where no box is given: shipped name or ONNX file, or the server's name of it; empty: the
            shipped one, where there is one, or the server's own; `NO_DETECTOR`: none.

    Raises:
        ModelUnusable: one of them cannot be used.
    """
    if connection is None:
        pose, finder = local_predictor(model, device), local_detector(detector, device)
        yield lambda image, request: pose.predict(image, request, finder), False
        return
    if detector == NO_DETECTOR:
        raise ModelUnusable("a server's detector cannot be left out from here; start it with --no-detector")
    with connection.client() as client:

        def ask(content: Any, request: PoseRequest) -> Prediction:
            return client.predict(
                content,
                model=model,
                boxes=request.boxes,
                locate=request.locate,
                flip_test=request.flip_test,
                detector=detector,
            )

        yield ask, True


def local_predictor(model: str, device: str) -> Predictor:
    """A shipped name, an ONNX file or a checkpoint, run in this process; ModelUnusable where it cannot be."""
    try:
        path = poseglass_models.resolve(model)
        return Predictor(_checkpoint(path, device) if path.suffix == ".pt" else _onnx(path, device))
    except FileNotFoundError as error:
        raise ModelUnusable(str(error)) from None


def local_detector(detector: str, device: str) -> Detector | None:
    """What finds people in this process, named as for `predictor`; ModelUnusable where it cannot be used."""
    from poseglass_runtime.detector import load_detector
    from poseglass_runtime.engine import ModelError

    name = detector or poseglass_models.detector() or NO_DETECTOR
    try:
        return None if name == NO_DETECTOR else load_detector(poseglass_models.resolve(name), device)
    except (FileNotFoundError, ModelError) as error:
        raise ModelUnusable(str(error)) from None


def _onnx(path: Path, device: str) -> Network:
    from poseglass_runtime.engine import ModelError, load_engine

    try:
        return load_engine(path, device)
    except ModelError as error:
        raise ModelUnusable(str(error)) from None


def _checkpoint(path: Path, device: str) -> Network:
    from poseglass_training.checkpoint import CheckpointError
    from poseglass_training.devices import DeviceError
    from poseglass_training.torch_engine import TorchEngine

    try:
        return TorchEngine(path, device)
    except (CheckpointError, DeviceError) as error:
        raise ModelUnusable(str(error)) from None
