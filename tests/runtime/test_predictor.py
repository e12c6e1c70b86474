"""From picture to pose: coordinates survive rotation, mirroring, boxes and requests."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from poseglass_core.errors import InvalidInput, NotSupported
from poseglass_core.geometry import Box, transform
from poseglass_core.poses import Locate, PoseRequest
from poseglass_runtime.images import decode_image
from poseglass_runtime.predictor import Predictor
from poseglass_runtime.search import LEVELS, coarse_windows

PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 3)
PICTURE = cv2.normalize(PICTURE, None, 0, 255, cv2.NORM_MINMAX)


@pytest.fixture(scope="module")
def predictor(tiny_engine):
    return Predictor(tiny_engine)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=st.floats(-50, 150),
    y=st.floats(-50, 100),
    width=st.floats(5, 200),
    height=st.floats(5, 200),
    angle=st.floats(-180, 180),
    flip=st.booleans(),
)
def test_argmax_through_to_image_is_within_a_cell_of_the_joint(predictor, x, y, width, height, angle, flip):
    box = Box(x, y, width, height, angle)
    pose = predictor.predict(PICTURE, PoseRequest(boxes=[box], heatmaps=True, flip_test=flip)).poses[0]
    maps, to_image = pose.heatmaps.values, pose.heatmaps.to_image
    rows, columns = np.unravel_index(maps.reshape(14, -1).argmax(axis=1), maps.shape[1:])
    peaks = transform(to_image, np.stack([columns, rows], axis=1))
    cell = np.linalg.norm(to_image[:, 0])
    assert (np.linalg.norm(peaks - pose.points, axis=1) <= cell).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_rotated_copy_gives_the_same_joints(predictor, orientation):
    stored = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: np.rot90(PICTURE),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PICTURE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(buffer, "PNG", exif=exif.tobytes())
    request = PoseRequest(boxes=[Box(20, 10, 100, 100)])
    upright = predictor.predict(PICTURE, request).poses[0]
    rotated = predictor.predict(decode_image(buffer.getvalue()), request).poses[0]
    assert np.abs(upright.points - rotated.points).max() <= 1


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_turned_box_on_a_turned_picture_gives_the_turned_joints(predictor, angle):
    box, (height, width) = Box(30, 12, 90, 70), PICTURE.shape[:2]
    turned = np.ascontiguousarray(np.rot90(PICTURE, -angle // 90))  # clockwise
    there = {
        90: lambda p: np.stack([height - 1 - p[:, 1], p[:, 0]], axis=1),
        180: lambda p: np.stack([width - 1 - p[:, 0], height - 1 - p[:, 1]], axis=1),
        270: lambda p: np.stack([p[:, 1], width - 1 - p[:, 0]], axis=1),
    }[angle]
    centre = there(np.array([box.centre]) - 0.5)[0] + 0.5
    turned_box = Box(centre[0] - 45, centre[1] - 35, 90, 70, angle)
    upright = predictor.predict(PICTURE, PoseRequest(boxes=[box])).poses[0]
    answer = predictor.predict(turned, PoseRequest(boxes=[turned_box])).poses[0]
    assert np.abs(there(upright.points) - answer.points).max() <= 0.5


def test_flip_test_commutes_with_mirroring(predictor):
    box, width = Box(30, 12, 90, 70), PICTURE.shape[1]
    mirrored = np.ascontiguousarray(PICTURE[:, ::-1])
    plain = predictor.predict(PICTURE, PoseRequest(boxes=[box], flip_test=True)).poses[0]
    answer = predictor.predict(mirrored, PoseRequest(boxes=[box.mirrored(width)], flip_test=True)).poses[0]
    swapped = answer.points[plain.skeleton.flip_index]
    expected = np.stack([width - 1 - swapped[:, 0], swapped[:, 1]], axis=1)
    assert np.abs(plain.points - expected).max() < 0.5


def test_one_pose_a_box_in_their_order(predictor):
    boxes = [Box(0, 0, 60, 60), Box(80, 40, 60, 60), Box(500, 500, 10, 10)]
    prediction = predictor.predict(PICTURE, PoseRequest(boxes=boxes, person_threshold=1.0, joint_threshold=1.0))
    assert [pose.box for pose in prediction.poses] == boxes
    assert all(len(pose) == 0 for pose in prediction.poses)
    assert prediction.image_size == (120, 160)
    assert prediction.timings.total >= prediction.timings.inference > 0
    alone = predictor.predict(PICTURE, PoseRequest(boxes=boxes[1:2])).poses[0]
    together = predictor.predict(PICTURE, PoseRequest(boxes=boxes)).poses[1]
    assert np.allclose(alone.points, together.points, atol=0.01)


def test_joints_are_filtered_in_the_order_asked(predictor):
    names = ("neck", "left_knee")
    request = PoseRequest(boxes=[Box(0, 0, 120, 120)], joints=names, heatmaps=True)
    every = predictor.predict(PICTURE, PoseRequest(boxes=request.boxes, heatmaps=True)).poses[0]
    some = predictor.predict(PICTURE, request).poses[0]
    assert some.names == some.heatmap_names == names
    for i, name in enumerate(names):
        assert some[name] == every[name]
        assert np.array_equal(some.heatmaps.values[i], every.heatmaps.values[every.heatmap_names.index(name)])
    assert some.score == every.score  # of the person, not of the joints asked for


@pytest.mark.parametrize(
    ("joints", "field"), [(["neck", "tail"], "outputs.joints[1]"), (["neck", "neck"], "outputs.joints[1]")]
)
def test_wrong_joint_names(predictor, joints, field):
    with pytest.raises(InvalidInput) as caught:
        predictor.predict(PICTURE, PoseRequest(joints=joints))
    assert caught.value.field == field


def test_detection_is_refused_with_the_remedy(predictor):
    with pytest.raises(NotSupported, match="no detector is loaded; give boxes"):
        predictor.predict(PICTURE, PoseRequest(locate=Locate.DETECT))


def test_the_whole_image_gives_one_person_or_none(predictor):
    assert len(predictor.predict(PICTURE, PoseRequest()).poses) == 1
    assert predictor.predict(PICTURE, PoseRequest(person_threshold=1.0)).poses == []


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (2000, 7), (480, 640), (3000, 4000)])
def test_the_windows_of_every_scale_cover_the_picture(predictor, size):
    for scales in LEVELS:
        windows = coarse_windows(*size, scales)
        assert len(windows) < 300
        for side in {window.width for window in windows}:
            rows = [(w.x, w.y, w.x + w.width, w.y + w.height) for w in windows if w.width == side]
            left, top, right, bottom = zip(*rows, strict=True)
            assert min(left) <= 1e-6
            assert min(top) <= 1e-6
            assert max(right) >= size[1] - 1e-6
            assert max(bottom) >= size[0] - 1e-6
            for begins, ends in ((left, right), (top, bottom)):
                for begin in begins:  # no gap: every window but the first begins inside another
                    assert begin == min(begins) or any(b < begin < e for b, e in zip(begins, ends, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (2000, 7)])
def test_pictures_of_any_shape_are_searched(predictor, size):
    assert len(predictor.predict(np.zeros((*size, 3), np.uint8), PoseRequest()).poses) == 1


def test_the_search_goes_to_finer_levels_only_where_nobody_convinces(tiny_engine):
    class Convinced:
        manifest, ref, provider = tiny_engine.manifest, tiny_engine.ref, "fake"
        score, crops = 0.0, 0

        def run(self, crops):
            self.crops += len(crops)
            raw = tiny_engine.run(crops)
            return raw._replace(scores=np.full_like(raw.scores, self.score))

    network, picture = Convinced(), np.zeros((480, 640, 3), np.uint8)
    Predictor(network).predict(picture, PoseRequest())
    doubtful, network.crops, network.score = network.crops, 0, 0.07
    Predictor(network).predict(picture, PoseRequest())
    assert network.crops < 60 < 200 < doubtful
