"""The whole line at once: synthetic figures → training → export → server → client, against exact truth."""

from __future__ import annotations

import threading

import numpy as np
import pytest


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory):
    """A tiny hourglass trained on rendered figures for under two minutes, exported."""
    from poseglass_export.exporting import export_model
    from poseglass_training.crops import Augmentation
    from poseglass_training.loop import train
    from poseglass_training.networks import HourglassConfig
    from poseglass_training.presets import Phase, Preset
    from poseglass_training.synthetic import SyntheticCrops

    folder = tmp_path_factory.mktemp("line")
    preset = Preset(
        HourglassConfig(joints=1, stacks=1, features=48, depth=3, input_size=(128, 128)),
        phases=(Phase(64, 3), Phase(128, 3)),
        batch_size=16,
        learning_rate=4e-3,
        ema=0.99,
        augmentation=Augmentation(flip=0.5, shift=0.03, scale=0.1),
    )
    data = SyntheticCrops(1600, preset.box_padding, seed=1, augmentation=preset.augmentation)
    dev = SyntheticCrops(64, preset.box_padding, seed=2)
    train(preset, data, dev, folder, {"data": [], "preset": "line"}, workers=1)
    model = folder / "line.onnx"
    export_model(folder / "best.pt", model)
    return model


@pytest.mark.slow
def test_mean_joint_error_through_the_whole_line(trained_model):
    import asyncio

    from poseglass import Box, PoseClient
    from poseglass_server.commands import load_models
    from poseglass_server.server import create_server
    from poseglass_training.synthetic import render_figure

    errors = []
    with running_server(trained_model) as address, PoseClient(address) as client:
        for seed in range(64):
            figure = render_figure(np.random.default_rng((99, seed)), (128, 128))
            pose = client.predict(figure.image, boxes=[figure.box], model="line").poses[0]
            distance = np.linalg.norm(pose.points - figure.joints, axis=1)
            errors.append(distance[figure.visible])
    assert np.concatenate(errors).mean() <= 3  # pixels of a 128-px picture
