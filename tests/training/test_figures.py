"""The renderer: the same picture for the same state, and joints that are where it says."""

import numpy as np
import pytest

from poseglass_core.skeleton import LSP
from poseglass_training.figures import Variety, render_figure
from poseglass_training.figures.anatomy import paint_body
from poseglass_training.figures.bodies import Camera, sample_body
from poseglass_training.figures.clothes import sample_look
from poseglass_training.figures.painting import OWN_PARTS, Painter
from poseglass_training.synthetic import SyntheticCrops


def render(seed, size=(96, 96), **settings):
    return render_figure(np.random.default_rng(seed), size, **settings)


def test_the_same_state_gives_the_same_picture():
    a, b, other = render(3), render(3), render(4)
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.joints, b.joints)
    assert not np.array_equal(a.image, other.image)


@pytest.mark.parametrize("size", [(96, 96), (64, 200), (150, 80)])
def test_the_whole_figure_is_inside_the_picture_at_the_size_asked_for(size):
    for seed in range(30):
        figure = render(seed, size, fill=(0.3, 0.6))
        assert figure.image.shape == (*size, 3)
        assert figure.image.dtype == np.uint8
        box = figure.box
        assert box.x >= -1e-3
        assert box.y >= -1e-3
        assert box.x + box.width <= size[1] + 1e-3
        assert box.y + box.height <= size[0] + 1e-3
        assert 0.3 <= max(box.width, box.height) / min(size) <= 0.6 + 1e-6
        assert figure.visible.any()


def test_figures_are_found_all_over_a_larger_picture():
    centres = np.array([render(seed, (120, 120), fill=(0.2, 0.25)).box.centre for seed in range(40)])
    assert (centres.min(axis=0) < 35).all()
    assert (centres.max(axis=0) > 85).all()


def test_joints_scale_with_the_picture():
    small, large = render(8, (100, 100)), render(8, (400, 400))
    assert np.allclose((small.joints + 0.5) * 4, large.joints + 0.5, atol=1e-3)


def test_a_limb_is_painted_where_its_ends_are_to_the_sub_pixel():
    ends = np.array([[20.3, 14.8], [50.1, 40.6]])
    painter = Painter(np.zeros((60, 70, 3), np.uint8), light=np.zeros(2))
    painter.solid(ends, np.array([6.0, 6.0]), np.full(3, 200.0), part=1)
    weight = painter.canvas[..., 0].astype(float)
    rows, columns = np.mgrid[:60, :70]
    centroid = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    assert np.allclose(centroid, ends.mean(axis=0), atol=0.06)


def test_joints_lie_on_the_parts_they_belong_to():
    own, elsewhere, hidden = 0, 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        body = sample_body(rng, Variety())
        camera = Camera(6.0, 150.0, np.array([120.0, 120.0]))
        painter = Painter(np.zeros((260, 240, 3), np.uint8), np.zeros(2))
        paint_body(painter, body, sample_look(rng), camera)
        at = np.round(camera.project(body.joints)).astype(int).clip(0, (239, 259))
        for (x, y), parts in zip(at, OWN_PARTS, strict=True):
            top = painter.parts[y, x]
            own += top != 0 and top in parts
            elsewhere += top == 0
            hidden += top not in parts
    assert elsewhere <= 0.03 * 20 * 14  # the top of the head is on the outline, and may round to beside it
    assert own > 0.7 * 20 * 14
    assert hidden > 0  # limbs do cover one another


def test_an_upright_figure_that_faces_the_camera_has_its_left_on_the_right_of_the_picture():
    variety = Variety(facing=0, turn=0, turned=0, movement=0)
    left, right = LSP.index("left_shoulder"), LSP.index("right_shoulder")
    head, ankle = LSP.index("head_top"), LSP.index("left_ankle")
    for seed in range(5):
        joints = render(seed, variety=variety).joints
        assert joints[left, 0] > joints[right, 0]
        assert joints[head, 1] < joints[ankle, 1]


def test_variety_turns_figures():
    ups = []
    for seed in range(60):
        joints = render(seed, (48, 48)).joints
        up = joints[LSP.index("neck")] - (joints[LSP.index("left_hip")] + joints[LSP.index("right_hip")]) / 2
        ups.append(up / np.linalg.norm(up))
    ups = np.array(ups)
    assert (ups[:, 1] < -0.7).mean() > 0.4  # most are upright
    assert (ups[:, 1] > 0.3).any()  # some upside down


def test_synthetic_crops_are_a_function_of_seed_and_index(micro_preset):
    a = SyntheticCrops(4, 1.25, seed=5, augmentation=micro_preset.augmentation)
    b = SyntheticCrops(4, 1.25, seed=5, augmentation=micro_preset.augmentation)
    assert len(a) == 4
    assert np.array_equal(a.sample(None, 2, (64, 64)).image, b.sample(None, 2, (64, 64)).image)
    assert np.array_equal(a.sample(1, 2, (64, 64)).joints, b.sample(1, 2, (64, 64)).joints)
    assert not np.array_equal(a.sample(1, 2, (64, 64)).image, a.sample(2, 2, (64, 64)).image)
    other = SyntheticCrops(4, 1.25, seed=6)
    assert not np.array_equal(a.sample(None, 2, (64, 64)).joints, other.sample(None, 2, (64, 64)).joints)
    with pytest.raises(ValueError, match="count"):
        SyntheticCrops(0, 1.25)
