"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # tests are of the CPU path unless they say otherwise

if TYPE_CHECKING:
    from poseglass_runtime.engine import Engine
    from poseglass_training.checkpoint import Checkpoint


def tiny_checkpoint(seed: int = 0, size: tuple[int, int] = (64, 64)) -> Checkpoint:
    """An untrained hourglass of the LSP skeleton: its answers are arbitrary, but always the same."""
    import torch

    from poseglass_core.skeleton import LSP
    from poseglass_training.checkpoint import Checkpoint
    from poseglass_training.networks import HourglassConfig, build

    torch.manual_seed(seed)
    config = HourglassConfig(joints=14, stacks=1, features=16, depth=3, input_size=size)
    network = build(config)
    for head in network.heads:  # untrained heads are almost flat; peaks make decoding meaningful
        torch.nn.init.normal_(head.weight, std=0.5)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    training = {"data": [{"name": "none", "licence": "none"}], "preset": "test", "seed": seed, "epochs": 0}
    return Checkpoint(config, LSP, weights, "softmax", 1.25, training=training)


@pytest.fixture(scope="session")
def tiny_checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny random checkpoint."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    tiny_checkpoint().save(path)
    return path


@pytest.fixture(scope="session")
def tiny_model_path(tiny_checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random pose model (64 px, 14 joints), exported for real."""
    from poseglass_export.exporting import export_model

    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    export_model(tiny_checkpoint_path, path)
    return path


@pytest.fixture(scope="session")
def tiny_engine(tiny_model_path: Path) -> Engine:
    """The tiny model, loaded."""
    from poseglass_runtime.engine import load_engine

    return load_engine(tiny_model_path, device="cpu", threads=1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data sets beside the checkout; tests that need them are skipped where they are absent."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (path / "lspet" / "val.json").is_file():
        pytest.skip("the data sets (../shared/data) are not here")
    return path
