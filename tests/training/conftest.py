"""Small data and small networks for the training tests."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from poseglass_core.skeleton import LSP


@pytest.fixture
def micro_preset():
    """A recipe that trains in seconds: two epochs at 64 pixels, then one more."""
    from poseglass_training.crops import Augmentation
    from poseglass_training.networks import HourglassConfig
    from poseglass_training.presets import Phase, Preset

    return Preset(
        HourglassConfig(joints=1, stacks=1, features=8, depth=2, input_size=(64, 64)),
        phases=(Phase(64, 2), Phase(64, 1)),
        batch_size=8,
        ema=0.9,
        augmentation=Augmentation(flip=0.5, rotation=20, rotated=0.5, scale=0.1, shift=0.05, colour=0.1),
    )


@pytest.fixture
def one_thread():
    """PyTorch with one thread: sums are taken in one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def figures_file(tmp_path_factory):
    """Eight rendered figures as pictures with COCO annotations, ids 17 ... 24 (17 is dev)."""
    from poseglass_training.figures import render_figure
    from poseglass_training.pasting import encode_png

    folder = tmp_path_factory.mktemp("figures")
    (folder / "images").mkdir()
    images, annotations = [], []
    for i in range(17, 25):
        figure = render_figure(np.random.default_rng(i), (160, 120), fill=(0.9, 0.98))
        (folder / "images" / f"{i}.png").write_bytes(encode_png(figure.image))
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 160})
        flat = np.column_stack([figure.joints, np.full(14, 2)]).round(2).ravel().tolist()
        box = figure.box.to_list()[:4]
        annotations.append({"id": i, "image_id": i, "category_id": 1, "bbox": box, "keypoints": flat, "iscrowd": 0})
    limbs = [[a + 1, b + 1] for a, b in LSP.limb_index]
    content = {
        "info": {"description": "figures", "licence": "Apache-2.0"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(LSP.joints), "skeleton": limbs}],
    }
    (folder / "figures.json").write_text(json.dumps(content))
    return folder / "figures.json"


@pytest.fixture
def scenes_file(tmp_path):
    """Ten noisy pictures; the people of the even ones are bright rectangles, with a crowd beside them."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(1, 11):
        picture = np.random.default_rng(i).integers(0, 90, (200, 240, 3), dtype=np.uint8)
        if i % 2 == 0:
            picture[40:140, 20:80] = (60, 200, 250)
            annotations.append({"id": i, "image_id": i, "bbox": [20, 40, 60, 100], "iscrowd": 0})
            annotations.append({"id": 100 + i, "image_id": i, "bbox": [200, 0, 40, 40], "iscrowd": 1})
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), picture)
        images.append({"id": i, "file_name": f"{i}.png"})
    (tmp_path / "scenes.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path / "scenes.json"
