"""What answers: a shipped model, an ONNX file, a checkpoint, a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import poseglass_models
from poseglass_core.poses import PoseRequest, Prediction
from poseglass_runtime.outputs import Network
from poseglass_runtime.predictor import Predictor
from poseglass_training.evaluation import Predict


class ModelUnusable(RuntimeError):
    """A model that cannot be evaluated, and why."""


@contextmanager
def predictor(model: str, server: str, device: str) -> Iterator[tuple[Predict, bool]]:
    """What answers, and whether it takes the bytes of files."""
    if not server:
        yield local_predictor(model, device).predict, False
        return
    from poseglass import PoseClient

    with PoseClient(server) as client:

        def ask(content: Any, request: PoseRequest) -> Prediction:
            return client.predict(
                content, model=model, boxes=request.boxes, locate=request.locate, flip_test=request.flip_test
            )

        yield ask, True


def local_predictor(model: str, device: str) -> Predictor:
    """A shipped name, an ONNX file or a checkpoint, run in this process; ModelUnusable where it cannot be."""
    try:
        path = poseglass_models.resolve(model)
        return Predictor(_checkpoint(path, device) if path.suffix == ".pt" else _onnx(path, device))
    except FileNotFoundError as error:
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
