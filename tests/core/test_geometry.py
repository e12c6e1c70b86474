"""Crops, their inverses and mirrors, on random boxes; and the coordinate conventions, on pictures."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseglass_core.geometry import (
    Box,
    box_around,
    box_iou,
    compose,
    crop_affine,
    fitting_size,
    heatmap_affine,
    invert,
    mirror_affine,
    transform,
    warp,
    whole_image,
)

coordinates = st.floats(-3000, 3000)
boxes = st.builds(
    Box, coordinates, coordinates, st.floats(1, 5000), st.floats(1, 5000), angle=st.floats(-720, 720, allow_nan=False)
)
sizes = st.sampled_from([(256, 256), (192, 192), (256, 192), (64, 128)])


@given(boxes, sizes, st.floats(0.5, 3), st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=8))
def test_crop_then_inverse_is_the_identity(box, size, padding, points):
    affine = crop_affine(box, size, padding)
    points = np.array(points)  # anywhere, also far outside the picture
    assert np.abs(transform(invert(affine), transform(affine, points)) - points).max() <= 1e-3


@given(boxes, sizes, st.floats(0.5, 3))
def test_crop_centre_is_box_centre_and_crop_holds_the_padded_box(box, size, padding):
    affine = crop_affine(box, size, padding)
    height, width = size
    assert np.allclose(transform(affine, np.array(box.centre) - 0.5), ((width - 1) / 2, (height - 1) / 2), atol=1e-6)
    cos, sin = math.cos(math.radians(box.angle)), math.sin(math.radians(box.angle))
    half = np.array([[sx * box.width / 2, sy * box.height / 2] for sx in (-1, 1) for sy in (-1, 1)])
    corners = half @ np.array([[cos, sin], [-sin, cos]]) + np.array(box.centre) - 0.5
    extent = 2 * np.abs(transform(affine, corners) - ((width - 1) / 2, (height - 1) / 2))
    assert (extent <= np.array([width, height]) / padding * (1 + 1e-6) + 1e-6).all()


@given(st.integers(1, 4000), st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=8))
def test_mirror_of_a_mirror_is_the_identity(width, points):
    mirror = mirror_affine(width)
    assert np.array_equal(compose(mirror, mirror), [[1, 0, 0], [0, 1, 0]])
    points = np.array(points)
    assert np.allclose(transform(mirror, transform(mirror, points)), points, atol=1e-9)


@given(boxes, st.integers(1, 4000))
def test_mirrored_box_crops_the_mirrored_picture(box, width):
    twice = box.mirrored(width).mirrored(width)
    assert np.allclose(twice.to_list(), box.to_list(), atol=1e-6)
    size = (64, 64)
    direct = compose(mirror_affine(64), crop_affine(box, size, 1.25))
    through = compose(crop_affine(box.mirrored(width), size, 1.25), mirror_affine(width))
    corners = np.array([[0, 0], [width, 0], [0, width]])
    assert np.allclose(transform(direct, corners), transform(through, corners), atol=1e-4 * max(1, direct.max()))


def test_a_box_of_the_crop_size_is_copied_pixel_for_pixel():
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    crop = warp(image, crop_affine(Box(10, 5, 64, 64), (64, 64), 1.0), (64, 64))
    assert np.array_equal(crop, image[5:69, 10:74])


def test_outside_the_picture_is_black():
    image = np.full((20, 20, 3), 255, np.uint8)
    crop = warp(image, crop_affine(Box(-20, 0, 20, 20), (20, 20), 1.0), (20, 20))
    assert crop.max() == 0
    assert warp(image, crop_affine(Box(1e6, 1e6, 9, 9), (20, 20), 1.0), (20, 20)).max() == 0


@pytest.mark.parametrize("factor", [1, 2, 3, 5, 8, 13])
def test_shrinking_keeps_positions(factor):
    # A blob's centre of mass lands where the affine says, whatever the shrink factor and its offset.
    at, side = np.array([61.0 * factor, 35.0 * factor]), 128 * factor
    y, x = np.mgrid[:side, :side]
    blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (3.0 * factor) ** 2))
    image = np.repeat((blob * 255).astype(np.uint8)[..., None], 3, axis=2)
    affine = crop_affine(Box(3, 7, side, side), (128, 128), 1.1)
    crop = warp(image, affine, (128, 128))[..., 0].astype(float)
    y, x = np.mgrid[:128, :128]
    centre = (crop * x).sum() / crop.sum(), (crop * y).sum() / crop.sum()
    assert np.abs(np.array(centre) - transform(affine, at)).max() < 0.1


def test_shrinking_does_not_alias():
    # Stripes one pixel wide average to grey; sampled without area averaging they would come out black and white.
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[:, ::2] = 255
    crop = warp(image, crop_affine(Box(0, 0, 1024, 1024), (64, 64), 1.0), (64, 64))
    assert np.abs(crop.astype(int) - 127).max() <= 3


def test_a_quarter_turn_of_the_box_undoes_a_quarter_turn_of_the_picture():
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)  # the head now points right: 90 degrees clockwise from up
    upright = warp(image, crop_affine(Box(0, 0, 64, 64), (64, 64), 1.0), (64, 64))
    back = warp(turned, crop_affine(Box(0, 0, 64, 64, angle=90), (64, 64), 1.0), (64, 64))
    assert np.array_equal(upright, back)


def test_heatmap_cells_are_at_the_middle_of_their_pixels():
    assert np.array_equal(transform(heatmap_affine(4), np.array([[0, 0], [3, 10]])), [[1.5, 1.5], [13.5, 41.5]])


def test_boxes_are_edges_and_points_are_centres():
    assert whole_image(30, 20).to_list() == [0, 0, 30, 20, 0]
    box = box_around(np.array([[0.0, 0.0], [9.0, 19.0]]), grow=0)
    assert box.to_list() == [0.5, 0.5, 9, 19, 0]
    assert box_around(np.array([[5.0, 5.0]])).width == 1
    assert box_iou(Box(0, 0, 10, 10), Box(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert box_iou(Box(0, 0, 10, 10), Box(10, 0, 10, 10)) == 0


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ((math.nan, 0, 1, 1), "x"),
        ((0, math.inf, 1, 1), "y"),
        ((0, 0, 0, 1), "width"),
        ((0, 0, 1, -2), "height"),
        ((0, 0, 1, 1, math.nan), "angle"),
        ((0, 0, 1, 0.009), "height"),
        ((-1e9, 0, 1, 1), "x"),
        ((0, 0, 1e300, 1), "width"),
    ],
)
def test_a_bad_box_names_its_field(values, field):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Box(*values)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (480, 640, (256, 320)),
        (360, 640, (192, 320)),
        (640, 360, (320, 192)),
        (512, 640, (256, 320)),  # 256 and no more
        (513, 640, (320, 320)),
        (100, 100, (320, 320)),
        (1, 1, (320, 320)),
        (3, 2000, (64, 320)),
        (1080, 1920, (192, 320)),
    ],
)
def test_the_input_that_fits_is_no_larger_than_it_has_to_be(height, width, size):
    assert fitting_size(height, width, (320, 320), 64) == size
    # The picture lies in it at the scale at which it lies in the largest.
    affine, largest = (crop_affine(whole_image(width, height), to, 1.0) for to in (size, (320, 320)))
    assert np.allclose(affine[:, :2], largest[:, :2])
