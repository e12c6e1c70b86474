"""Pictures of a run: there, the right size, and showing what they should."""

import json

import cv2
import numpy as np
import pytest

from poseglass_core.drawing import LEFT, RIGHT
from poseglass_core.skeleton import LSP
from poseglass_training.checkpoint import load_checkpoint
from poseglass_training.crops import Augmentation, Sample
from poseglass_training.pictures import batch_picture, curve_picture, draw_sample, layer_sheets
from poseglass_training.synthetic import SyntheticCrops


@pytest.mark.parametrize("count", [1, 5])
def test_curves_are_drawn_from_the_metrics(tmp_path, count):
    rows = [
        {"epoch": i + 1, "size": 64 if i < 3 else 128, "loss": 6 - i, "dev_pck": 10.0 * i, "learning_rate": 1e-3}
        for i in range(count)
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    curve_picture(tmp_path / "metrics.jsonl", tmp_path / "curve.png")
    picture = cv2.imread(str(tmp_path / "curve.png"))
    assert picture.shape == (700, 900, 3)
    assert picture.std() > 10


def coloured(picture, colour):
    return int((np.abs(picture.astype(int) - colour).sum(axis=2) < 30).sum())


def test_joints_are_drawn_in_the_colour_of_their_side():
    joints = np.tile(np.array([[20.0, 20.0]], np.float32), (14, 1))
    joints[LSP.index("left_wrist")] = 50, 40
    visible = np.zeros(14, bool)
    visible[LSP.index("left_wrist")] = True
    picture = draw_sample(Sample(np.zeros((64, 64, 3), np.uint8), joints, visible), LSP)
    assert coloured(picture, LEFT) > 5
    assert coloured(picture, RIGHT) == 0
    rows, columns = np.nonzero(picture.any(axis=2))
    factor = picture.shape[0] / 64
    assert np.allclose([(columns.mean() + 0.5) / factor, (rows.mean() + 0.5) / factor], [50.5, 40.5], atol=0.3)


def test_a_batch_is_shown_as_it_is_fed():
    source = SyntheticCrops(3, 1.25, augmentation=Augmentation(flip=1.0))
    sheet = batch_picture(source, (64, 64), count=10)
    assert sheet.shape == (240, 3 * 220, 3)
    assert not np.array_equal(sheet, batch_picture(source, (64, 64), count=10, epoch=None))
    assert coloured(sheet, LEFT) > 20
    assert coloured(sheet, RIGHT) > 20


def test_layers_are_shown_after_every_named_stage(tiny_checkpoint_path):
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sheets = layer_sheets(load_checkpoint(tiny_checkpoint_path), crop)
    assert next(iter(sheets)) == "first layer filters"
    assert {"stem.0 Conv2d", "stack 1 down 3", "stack 1 middle", "stack 1 up 1", "stack 1 neck"} <= set(sheets)
    assert list(sheets)[-1] == "stack 1 heatmaps"
    assert sheets["stack 1 heatmaps"].shape == (3 * 240, 5 * 220, 3)  # 14 joints
    for sheet in sheets.values():
        assert sheet.dtype == np.uint8
        assert sheet.std() > 1
    other = layer_sheets(load_checkpoint(tiny_checkpoint_path), 255 - crop)
    assert np.array_equal(other["first layer filters"], sheets["first layer filters"])
    assert not np.array_equal(other["stack 1 middle"], sheets["stack 1 middle"])
    with pytest.raises(ValueError, match="must be"):
        layer_sheets(load_checkpoint(tiny_checkpoint_path), crop[:32])
