"""Another animal, with joints of its own, through the whole line; nothing but the annotations knows about it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from poseglass import Box, PoseClient
from poseglass_export.exporting import export_model
from poseglass_training.annotations import load_coco
from poseglass_training.crops import Augmentation, PhotoCrops
from poseglass_training.loop import train
from poseglass_training.networks import HourglassConfig
from poseglass_training.presets import Phase, Preset

JOINTS = ("head", "left_fore_paw", "right_fore_paw", "left_hind_paw", "right_hind_paw")
LIMBS = [("head", "left_fore_paw"), ("head", "right_fore_paw"), ("head", "left_hind_paw"), ("head", "right_hind_paw")]
SIZE = 96


def quadruped(rng):
    """A picture [SIZE, SIZE, 3] of an animal that looks to the left, and its joints [5, 2].

    Its left side is the near one and lighter, as a body shades its far legs.
    """
    image = np.full((SIZE, SIZE, 3), rng.integers(120, 200, 3), np.uint8)
    image = cv2.add(image, rng.integers(0, 20, image.shape, np.uint8))
    x, y, length = rng.uniform(26, 34), rng.uniform(36, 46), rng.uniform(34, 42)
    coat = rng.integers(60, 110, 3)
    joints = np.array(
        [
            (x - 12, y - rng.uniform(4, 16)),
            (x + rng.uniform(-8, 0), y + 28),
            (x + rng.uniform(4, 12), y + 26),
            (x + length + rng.uniform(-8, 0), y + 28),
            (x + length + rng.uniform(4, 12), y + 26),
        ],
        np.float32,
    )

    def line(a, b, colour, thickness):
        ends = [tuple(round(v * 16) for v in end) for end in (a, b)]
        cv2.line(image, *ends, [int(c) for c in colour], thickness, cv2.LINE_AA, 4)

    for paw, hip, shade in ((2, 4, -35), (4, length - 2, -35), (1, 0, 15), (3, length - 6, 15)):
        line((x + hip, y), joints[paw], coat + shade, 5)
    line((x, y), (x + length, y), coat, 14)
    line((x, y), joints[0], coat, 8)
    cv2.circle(image, tuple(round(v * 16) for v in joints[0]), 7 * 16, (40, 30, 20), -1, cv2.LINE_AA, 4)
    return image, joints


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """COCO keypoints of 340 animals, a seventeenth of which are dev."""
    folder = tmp_path_factory.mktemp("quadrupeds")
    (folder / "images").mkdir()
    images, animals = [], []
    for i in range(340):
        image, joints = quadruped(np.random.default_rng((5, i)))
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image[..., ::-1])
        images.append({"id": i, "file_name": f"{i}.png"})
        keypoints = np.column_stack([joints, np.full(5, 2)]).ravel().tolist()
        animals.append({"id": i, "image_id": i, "bbox": box_of(joints).to_list()[:4], "keypoints": keypoints})
    limbs = [[JOINTS.index(a) + 1, JOINTS.index(b) + 1] for a, b in LIMBS]
    category = {"id": 1, "name": "quadruped", "keypoints": list(JOINTS), "skeleton": limbs}
    (folder / "animals.json").write_text(
        json.dumps({"images": images, "annotations": animals, "categories": [category]})
    )
    return folder / "animals.json"


def box_of(joints):
    low, high = joints.min(axis=0) - 6, joints.max(axis=0) + 6
    return Box(*(float(v) for v in (*low, *(high - low))))


@pytest.mark.slow
def test_a_quadruped_is_trained_exported_and_served(annotations, serving, tmp_path):
    preset = Preset(
        HourglassConfig(joints=1, stacks=1, features=24, depth=3, input_size=(64, 64)),
        phases=(Phase(64, 14),),
        batch_size=16,
        learning_rate=5e-3,
        ema=0.98,
        augmentation=Augmentation(flip=0.5, shift=0.03, scale=0.1),
    )
    learn, dev = load_coco(annotations).hold_out()
    train(
        preset,
        PhotoCrops(learn.people, learn.skeleton, preset.box_padding, preset.augmentation),
        PhotoCrops(dev.people, dev.skeleton, preset.box_padding),
        tmp_path,
        {"data": []},
        workers=0,
    )
    manifest = export_model(tmp_path / "best.pt", tmp_path / "quadruped.onnx")
    assert manifest.skeleton.flip_pairs == ((JOINTS[1], JOINTS[2]), (JOINTS[3], JOINTS[4]))
    errors = []
    with serving(tmp_path / "quadruped.onnx") as address, PoseClient(address) as client:
        for i in range(32):
            image, joints = quadruped(np.random.default_rng((6, i)))
            # Mirrored, it looks to the right, and its near side is its right one.
            for picture, truth in (
                (image, joints),
                (np.ascontiguousarray(image[:, ::-1]), (SIZE - 1, 0) + joints[[0, 2, 1, 4, 3]] * (-1, 1)),
            ):
                pose = client.predict(picture, boxes=[box_of(truth)]).poses[0]
                assert pose.names == JOINTS
                errors.append(np.linalg.norm(pose.points - truth, axis=1))
    assert np.mean(errors) <= 4  # pixels of a 96-px picture
