"""Crops: pictures and joints go through the same geometry, and a mirror swaps the sides."""

import cv2
import numpy as np
import pytest

from poseglass_core.geometry import Box, crop_affine, transform
from poseglass_core.skeleton import LSP, Skeleton
from poseglass_training.annotations import AnnotationError, Person, load_coco
from poseglass_training.crops import COARSE, Augmentation, PhotoCrops, coarsen, cut_sample

PAIR = Skeleton(("left_hand", "right_hand"), flip_pairs=(("left_hand", "right_hand"),))
RED, GREEN = 0, 1  # channel of the disc on the left hand, on the right hand


def discs():
    """A picture with a red disc on the left hand and a green one on the right, and where they are."""
    image = np.zeros((150, 200, 3), np.uint8)
    joints = np.array([[120.25, 60.5], [80.75, 90.0]], np.float32)
    for (x, y), colour in zip(joints, [(255, 0, 0), (0, 255, 0)], strict=True):
        cv2.circle(image, (round(x * 16), round(y * 16)), 5 * 16, colour, -1, cv2.LINE_AA, 4)
    return image, joints, Box(60, 40, 80, 70)


def centroid(channel):
    weight = channel.astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize("seed", range(12))
def test_joints_go_where_the_picture_goes(seed):
    image, joints, box = discs()
    augmentation = Augmentation(flip=0.5, rotation=180, rotated=1, scale=0.2, shift=0.03)
    crop, placed, visible, nobody = cut_sample(
        image, joints, np.ones(2, bool), box, (128, 128), 1.5, PAIR, augmentation, np.random.default_rng(seed)
    )
    assert visible.all()
    assert not nobody
    # After a mirror, the disc that was on the left hand is on the mirror person's right hand.
    mirrored = np.linalg.norm(centroid(crop[..., RED]) - placed[0]) > 5
    seen = [centroid(crop[..., channel]) for channel in ((GREEN, RED) if mirrored else (RED, GREEN))]
    assert np.allclose(seen, placed, atol=0.25)


def test_the_plain_crop_is_the_geometry_of_the_core():
    image, joints, box = discs()
    sample = cut_sample(image, joints, np.ones(2, bool), box, (64, 96), 1.25, PAIR, Augmentation(), None)
    assert sample.image.shape == (64, 96, 3)
    assert np.allclose(sample.joints, transform(crop_affine(box, (64, 96), 1.25), joints), atol=1e-4)


def test_a_flip_mirrors_the_picture_and_swaps_the_pairs():
    image, joints, box = discs()
    visible = np.array([True, False])
    plain, flipped = (
        cut_sample(image, joints, visible, box, (64, 64), 1.25, PAIR, Augmentation(flip=p), np.random.default_rng(1))
        for p in (0.0, 1.0)
    )
    assert np.abs(flipped.image.astype(int) - plain.image[:, ::-1]).max() <= 1
    swapped = plain.joints[[1, 0]]
    assert np.allclose(flipped.joints, np.column_stack([63 - swapped[:, 0], swapped[:, 1]]), atol=1e-3)
    assert flipped.visible.tolist() == [False, True]


def test_joints_outside_the_crop_are_not_learnt():
    image, joints, _ = discs()
    sample = cut_sample(image, joints, np.ones(2, bool), Box(110, 50, 20, 20), (64, 64), 1, PAIR, Augmentation(), None)
    assert sample.visible.tolist() == [True, False]


def test_photographs_are_cropped_with_their_labels(figures_file, micro_preset):
    data = load_coco(figures_file)
    source = PhotoCrops(data.people, data.skeleton, 1.25, micro_preset.augmentation, seed=1)
    assert len(source) == 8
    plain = source.sample(None, 0, (64, 64))
    expected = transform(crop_affine(data.people[0].box, (64, 64), 1.25), data.people[0].joints)
    assert np.allclose(plain.joints, expected, atol=1e-3)
    assert np.array_equal(source.sample(3, 0, (64, 64)).image, source.sample(3, 0, (64, 64)).image)
    assert not np.array_equal(source.sample(3, 0, (64, 64)).image, source.sample(4, 0, (64, 64)).image)


def person(path):
    return Person(5, path, Box(0, 0, 10, 10), np.zeros((14, 2), np.float32), np.ones(14, bool))


def test_a_missing_picture_is_named_at_once(tmp_path):
    with pytest.raises(AnnotationError, match=r"annotation 5: picture .*gone\.png cannot be read"):
        PhotoCrops([person(tmp_path / "gone.png")], LSP, 1.25)


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_broken_picture_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    source = PhotoCrops([person(path)], LSP, 1.25)
    with pytest.raises(AnnotationError, match=r"annotation 5: picture .*broken\.png is broken or not an image"):
        source.sample(None, 0, (64, 64))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_one_line_also_out_of_a_worker(tmp_path, workers):
    from poseglass_training.batches import CropDataset, crop_batches

    path = tmp_path / "broken.png"
    path.write_bytes(b"not a picture")
    source = PhotoCrops([person(path)], LSP, 1.25)
    with pytest.raises(AnnotationError) as caught:
        list(crop_batches(CropDataset(source, None, (64, 64)), 1, None, workers))
    assert str(caught.value) == f"annotation 5: picture {path} is broken or not an image"


def test_coarse_crops_lose_detail_but_nothing_moves():
    columns, rows = np.meshgrid(np.arange(160), np.arange(160))
    ramp = np.stack([columns, rows, columns // 2], 2).astype(np.uint8)
    checks = ((columns + rows) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    middle = slice(8, -8)  # at the edges, enlarging has nothing to look at beyond
    for seed in range(20):
        rng = np.random.default_rng(seed)
        moved = coarsen(rng, ramp)[middle, middle].astype(int) - ramp[middle, middle]
        assert abs(moved[..., 0].mean()) < 1
        assert abs(moved).max() <= 3
        assert coarsen(rng, checks)[middle, middle].std() < 0.6 * checks.std()


def test_a_crop_smaller_than_any_coarse_one_stays_as_it_is():
    crop = np.random.default_rng(0).integers(0, 256, (COARSE[0] // 2, COARSE[0] // 2, 3), np.uint8)
    assert (coarsen(np.random.default_rng(0), crop) == crop).all()


def test_only_the_share_asked_for_is_coarse():
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    joints, visible, box = np.full((2, 2), 100, np.float32), np.ones(2, bool), Box(20, 20, 160, 160)

    def contrast(share, seed):
        rng = np.random.default_rng(seed)
        return cut_sample(image, joints, visible, box, (192, 192), 1.0, PAIR, Augmentation(coarse=share), rng)[0].std()

    plain = contrast(0, 0)
    assert all(contrast(0, seed) == plain for seed in range(5))
    assert all(contrast(1, seed) < 0.9 * plain for seed in range(5))
    assert 2 <= sum(contrast(0.3, seed) < 0.9 * plain for seed in range(30)) <= 18
