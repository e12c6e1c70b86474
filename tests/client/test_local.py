"""Prediction in this process: the client's surface and errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from poseglass import (
    Box,
    FailedPrecondition,
    InvalidRequest,
    LocalPredictor,
    Locate,
    MissingExtra,
    ModelNotFound,
    heatmap_sheet,
    read_picture,
)


@pytest.fixture(scope="module")
def predictor(tiny_model_path):
    with LocalPredictor(str(tiny_model_path), device="cpu", threads=1) as predictor:
        yield predictor


def test_bytes_paths_and_pixels_give_the_same(predictor, tmp_path):
    import cv2

    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(data)
    box = Box(5, 5, 30, 40)
    points = [predictor.predict(image, boxes=[box]).poses[0].points for image in (pixels, data, path, str(path))]
    for other in points[1:]:
        assert np.array_equal(points[0], other)
    grey = predictor.predict(pixels[..., 0], boxes=[box])
    assert np.array_equal(
        grey.poses[0].points, predictor.predict(np.repeat(pixels[..., :1], 3, axis=2), boxes=[box]).poses[0].points
    )


def test_options_and_echoes(predictor, jpeg):
    prediction = predictor.predict(
        jpeg, joints=["neck", "left_knee"], heatmaps=True, flip_test=True, request_id="r", timestamp_s=2.0, version=1
    )
    assert (prediction.request_id, prediction.timestamp_s, prediction.image_size) == ("r", 2.0, (48, 40))
    (pose,) = prediction.poses
    assert pose.names == pose.heatmap_names == ("neck", "left_knee")
    assert pose.heatmaps.values.shape == (2, 16, 16)


@pytest.mark.parametrize(
    ("image", "options", "error", "field"),
    [
        (b"", {}, InvalidRequest, "image.encoded"),
        (b"text", {}, InvalidRequest, "image.encoded"),
        ("gone.jpg", {}, InvalidRequest, "image"),
        (np.zeros((4, 4), np.float32), {}, InvalidRequest, "image.raw"),
        (None, {"joints": ["tail"]}, InvalidRequest, "outputs.joints[0]"),
        (None, {"boxes": [(0, 0, 0, 1)]}, InvalidRequest, "boxes[0].width"),
        (None, {"locate": Locate.DETECT}, FailedPrecondition, None),
        (None, {"version": 9}, ModelNotFound, None),
        (None, {"model": "horse"}, ModelNotFound, None),
        (None, {"model": "/nowhere/horse.onnx"}, ModelNotFound, None),
        (None, {"detector": "horse"}, ModelNotFound, None),
        (None, {"detector": "/nowhere/horse.onnx", "boxes": [(0, 0, 9, 9)]}, ModelNotFound, None),
        (None, {"overlap_threshold": float("nan")}, InvalidRequest, "thresholds.overlap"),
        (None, {"person_threshold": 2}, InvalidRequest, "thresholds.person"),
    ],
)
def test_errors_are_the_clients(predictor, jpeg, image, options, error, field):
    with pytest.raises(error) as caught:
        predictor.predict(jpeg if image is None else image, **options)
    if field is not None:
        assert caught.value.field == field


def test_a_file_that_is_no_model(tmp_path, jpeg):
    path = tmp_path / "not.onnx"
    path.write_bytes(b"text")
    with LocalPredictor(str(path)) as predictor, pytest.raises(FailedPrecondition, match=r"not\.onnx"):
        predictor.predict(jpeg)


def test_without_the_runtime_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "poseglass_runtime.engine", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r'pip install "poseglass\[cpu\]"') as caught:
        LocalPredictor()
    assert caught.value.extra == "cpu"


def test_the_sheet_of_heatmaps_shows_the_peak_where_it_is(predictor, tmp_path, jpeg):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg)
    image = read_picture(path)
    pose = predictor.predict(image, boxes=[(5, 5, 30, 40, 90)], heatmaps=True).poses[0]
    sheet = heatmap_sheet(image, pose, columns=5)
    assert sheet.shape == (3 * 240, 5 * 220, 3)  # the person and 14 joints
    with pytest.raises(ValueError, match="heatmaps=True"):
        heatmap_sheet(image, predictor.predict(image).poses[0])


def test_a_detector_finds_everybody(tiny_model_path, tiny_detector_path, jpeg):
    with LocalPredictor(str(tiny_model_path), detector=str(tiny_detector_path), device="cpu", threads=1) as predictor:
        for locate in ("auto", "detect"):
            found = predictor.predict(jpeg, locate=locate, overlap_threshold=1)
            left, right = sorted(pose.box.x for pose in found.poses)
            assert right - left == 20  # of the halves, or where the joints are in each
            assert found.detector.name == "halves"
        given = predictor.predict(jpeg, boxes=[(0, 0, 20, 48)])
        assert len(given.poses) == 1
        assert given.detector is None
        assert predictor.predict(jpeg, locate="whole").detector.name == "halves"


def test_a_detector_may_be_named_in_the_call_and_left_out(predictor, tiny_detector_path, tiny_model_path, jpeg):
    assert predictor.predict(jpeg, detector=str(tiny_detector_path)).detector.name == "halves"
    assert predictor.predict(jpeg).detector is None
    with pytest.raises(FailedPrecondition, match="kind: this is a pose model"):
        predictor.predict(jpeg, detector=str(tiny_model_path))
    with pytest.raises(FailedPrecondition, match="kind: this is a detector"):
        predictor.predict(jpeg, model=str(tiny_detector_path))


def test_the_shipped_detector_is_used_where_there_is_one(
    tiny_model_path, tiny_detector_path, tmp_path, monkeypatch, jpeg
):
    (tmp_path / "person.onnx").write_bytes(tiny_detector_path.read_bytes())
    monkeypatch.undo()  # of the fixture that hides it
    monkeypatch.setattr("poseglass_models.FOLDER", tmp_path)
    with LocalPredictor(str(tiny_model_path), device="cpu") as predictor:
        assert predictor.predict(jpeg).detector.name == "halves"
    with LocalPredictor(str(tiny_model_path), detector=None, device="cpu") as predictor:
        assert predictor.predict(jpeg).detector is None
        with pytest.raises(FailedPrecondition, match="no detector is loaded"):
            predictor.predict(jpeg, locate="detect")
