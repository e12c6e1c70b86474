"""The large presets: too large to train here, but not to take a few steps, be exported and run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from poseglass_export.exporting import export_model
from poseglass_runtime.engine import load_engine
from poseglass_training.loop import train
from poseglass_training.presets import PRESETS, Phase
from poseglass_training.synthetic import SyntheticCrops


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stacks"), [("hourglass-m-wide", 2), ("hourglass-l", 8)])
def test_a_large_preset_trains_exports_and_runs(name, stacks, tmp_path):
    preset = PRESETS[name]
    network = replace(preset.network, input_size=(64, 64))  # all of its weights, a sixteenth of its work
    assert (network.stacks, network.features) == (stacks, 256)
    preset = replace(preset, network=network, phases=(Phase(64, 1),), batch_size=4)
    seen = []
    train(
        preset,
        SyntheticCrops(12, preset.box_padding, 1, preset.augmentation),
        SyntheticCrops(4, preset.box_padding, 2),
        tmp_path,
        {"data": []},
        workers=0,
        on_progress=seen.append,
    )
    assert len([progress for progress in seen if not progress.epoch_done]) == 3
    manifest = export_model(tmp_path / "best.pt", tmp_path / f"{name}.onnx")
    assert manifest.parity["joint_error"] <= 0.05
    outputs = load_engine(tmp_path / f"{name}.onnx").run(np.zeros((2, 64, 64, 3), np.uint8))
    assert outputs.heatmaps.shape == (2, 14, 16, 16)
