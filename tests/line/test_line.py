"""The whole line at once: rendered figures → training → export → server → client, against exact truth."""

from __future__ import annotations

import numpy as np
import pytest

from poseglass import PoseClient
from poseglass_export.exporting import export_model
from poseglass_training.crops import Augmentation
from poseglass_training.figures import Variety, render_figure
from poseglass_training.loop import train
from poseglass_training.networks import HourglassConfig
from poseglass_training.presets import Phase, Preset
from poseglass_training.synthetic import SyntheticCrops

PEOPLE = Variety(facing=40, turn=20, turned=0.2, movement=0.4)
"""Upright people who face the camera and move a little: what a tiny network can learn in two minutes."""


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory):
    """A tiny hourglass trained on rendered figures, exported; its training takes two minutes at most on two cores."""
    folder = tmp_path_factory.mktemp("line")
    preset = Preset(
        HourglassConfig(joints=1, stacks=1, features=48, depth=3, input_size=(128, 128)),
        phases=(Phase(64, 4), Phase(128, 3)),
        batch_size=16,
        learning_rate=4e-3,
        ema=0.99,
        augmentation=Augmentation(shift=0.03, scale=0.1),
    )
    data = SyntheticCrops(1600, preset.box_padding, 1, preset.augmentation, PEOPLE)
    dev = SyntheticCrops(64, preset.box_padding, 2, variety=PEOPLE)
    train(preset, data, dev, folder, {"data": [], "preset": "line"}, workers=1)
    export_model(folder / "best.pt", folder / "line.onnx")
    return folder / "line.onnx"


@pytest.mark.slow
def test_mean_joint_error_through_the_whole_line(trained_model, serving):
    errors = []
    with serving(trained_model) as address, PoseClient(address) as client:
        for seed in range(64):
            figure = render_figure(np.random.default_rng((99, seed)), (128, 128), PEOPLE)
            prediction = client.predict(figure.image, boxes=[figure.box])
            assert prediction.model.name == "line"
            errors.append(np.linalg.norm(prediction.poses[0].points - figure.joints, axis=1))
    assert np.mean(errors) <= 3  # pixels of a 128-px picture
