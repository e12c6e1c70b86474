"""Pictures and options into messages, and messages into predictions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseglass import Box, InvalidRequest, Locate, MessageTooLarge, ServerError
from poseglass.convert import to_heatmaps, to_model_info, to_prediction, to_request, to_skeleton
from poseglass.options import PredictOptions, as_box, read_file
from poseglass_core.skeleton import LSP, Skeleton
from poseglass_proto.v1 import pose_pb2 as pb


def test_bytes_travel_as_they_are(jpeg):
    for image in (jpeg, bytearray(jpeg), memoryview(jpeg)):
        assert to_request(image, {}, 1).image.encoded == jpeg


def test_files_travel_as_they_are(tmp_path, jpeg):
    path = tmp_path / "a picture.jpg"
    path.write_bytes(jpeg)
    assert to_request(path, {}, 1).image.encoded == jpeg
    assert to_request(str(path), {}, 1).image.encoded == jpeg


@pytest.mark.parametrize(("shape", "name"), [((7, 5, 3), "RGB24"), ((7, 5), "GRAY8")])
def test_pixels_travel_raw(shape, name):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for array in (pixels, np.asfortranarray(pixels), np.repeat(pixels, 2, axis=1)[:, ::2]):
        raw = to_request(array, {}, 1).image.raw
        assert (raw.height, raw.width, raw.format) == (7, 5, pb.PixelFormat.Value(name))
        assert np.array_equal(np.frombuffer(raw.data, np.uint8).reshape(shape), pixels)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_the_right_ones_named(array):
    with pytest.raises(InvalidRequest, match=r"uint8 \[H, W, 3\] RGB or \[H, W\] grey"):
        to_request(array, {}, 1)


@pytest.mark.parametrize("image", [3, None, ["a.jpg"], object()])
def test_other_things_are_no_picture(image):
    with pytest.raises(InvalidRequest, match="must be bytes, a path or a NumPy array") as caught:
        to_request(image, {}, 1)
    assert caught.value.field == "image"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidRequest, match=r"gone\.jpg: cannot be read \(No such file"):
        to_request(tmp_path / "gone.jpg", {}, 1)


@pytest.mark.parametrize("limit", [None, 1 << 20])
def test_only_ordinary_files_are_read(tmp_path, limit):
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        ("/dev/zero", "a device"),
        (tmp_path / "pipe", "a pipe"),
        (tmp_path, "is a folder"),
        ("", "the path is empty"),
        ("a\0b.jpg", "is no path"),
        ("https://example.org/a.jpg", "URLs are not fetched"),
        (Path("https://example.org/a.jpg"), "URLs are not fetched"),
        ("~nobody-of-that-name/a.jpg", "No such file"),
    ):
        with pytest.raises(InvalidRequest, match=said) as caught:
            read_file(path, limit)
        assert caught.value.field == "image"


def test_a_file_that_does_not_say_its_size_is_read_no_further_than_the_limit(tmp_path, monkeypatch):
    (tmp_path / "grows.jpg").write_bytes(bytes(100))
    true = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **how: os.stat_result([*true(self)[:6], 0, 0, 0, 0]))
    with pytest.raises(MessageTooLarge):
        read_file(tmp_path / "grows.jpg", 99)
    assert len(read_file(tmp_path / "grows.jpg", 100)) == 100


def test_in_this_process_there_is_a_bound_too(tmp_path, monkeypatch):
    monkeypatch.setattr("poseglass.options.MAX_FILE", 1 << 20)
    (tmp_path / "big.jpg").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(InvalidRequest, match=r"big\.jpg: has 1\.0 MiB; more than 1 MiB are not read"):
        read_file(tmp_path / "big.jpg")


def test_the_home_folder_has_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert read_file("~/a.jpg") == b"x"


def test_what_exceeds_the_limit_is_refused_before_it_is_sent(tmp_path):
    path = tmp_path / "big.jpg"
    path.write_bytes(bytes((1 << 20) + 1))
    for image in (path, bytes(1 << 20), np.zeros((1024, 1024, 3), np.uint8)):
        with pytest.raises(MessageTooLarge, match="max_message_mb"):
            to_request(image, {}, 1)


def test_every_option_reaches_its_field(jpeg):
    options = PredictOptions(
        boxes=[Box(1, 2, 3, 4, 5), (6, 7, 8, 9)],
        locate=Locate.WHOLE_IMAGE,
        detector="finder",
        model="horse",
        version=2,
        joints=["neck", "left_knee"],
        heatmaps=True,
        heatmap_type="uint8",
        flip_test=True,
        joint_threshold=0.25,
        person_threshold=0.5,
        overlap_threshold=0.75,
        request_id="r1",
        timestamp_s=1.5,
    )
    expected = pb.PredictRequest(
        request_id="r1",
        model="horse",
        version=2,
        image=pb.Image(encoded=jpeg),
        boxes=[pb.Box(x=1, y=2, width=3, height=4, angle=5), pb.Box(x=6, y=7, width=8, height=9)],
        locate=pb.WHOLE_IMAGE,
        outputs=pb.Outputs(heatmaps=True, heatmap_type=pb.UINT8, joints=["neck", "left_knee"]),
        thresholds=pb.Thresholds(joint=0.25, person=0.5, overlap=0.75),
        flip_test=True,
        timestamp_s=1.5,
        timeout_ms=2500,
        detector="finder",
    )
    assert to_request(jpeg, options, 1, timeout_s=2.5) == expected
    assert set(options) == set(PredictOptions.__annotations__)


def test_thresholds_that_are_not_given_are_left_to_the_server(jpeg):
    thresholds = to_request(jpeg, {"joint_threshold": None}, 1).thresholds
    assert not thresholds.HasField("joint")
    assert not thresholds.HasField("person")
    assert not thresholds.HasField("overlap")
    assert to_request(jpeg, {"person_threshold": 0.0}, 1).thresholds.HasField("person")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"boxes": [(0, 0, 5, 5), (0, 0, 0, 5)]}, "boxes[1].width"),
        ({"boxes": [(0, 0, 5, -1)]}, "boxes[0].height"),
        ({"boxes": [(float("nan"), 0, 5, 5)]}, "boxes[0].x"),
        ({"boxes": [(0, 0, 5, 5, float("inf"))]}, "boxes[0].angle"),
        ({"boxes": [(0, 0, 5)]}, "boxes[0]"),
        ({"boxes": [7]}, "boxes[0]"),
        ({"boxes": [("a", "b", "c", "d")]}, "boxes[0].x"),
        ({"boxes": ["1234"]}, "boxes[0]"),
        ({"boxes": [(0, 0, 5, 10**400)]}, "boxes[0].height"),
        ({"boxes": [(0, 0, 5, True)]}, "boxes[0].height"),
        ({"boxes": [(0, 0, 5e9, 5)]}, "boxes[0].width"),
        ({"boxes": [(0, 0, 5, 1e-5)]}, "boxes[0].height"),
        ({"boxes": None}, "boxes"),
        ({"boxes": Box(0, 0, 5, 5)}, "boxes"),
        ({"boxes": np.array(3)}, "boxes"),
        ({"locate": "everywhere"}, "locate"),
        ({"locate": 1}, "locate"),
        ({"model": 3}, "model"),
        ({"model": "\udcff"}, "model"),
        ({"request_id": 3}, "request_id"),
        ({"request_id": "\udcff"}, "request_id"),
        ({"joints": [None]}, "outputs.joints[0]"),
        ({"joints": ["neck", "\udcff"]}, "outputs.joints[1]"),
        ({"joints": None}, "outputs.joints"),
        ({"heatmaps": "yes"}, "outputs.heatmaps"),
        ({"flip_test": "no"}, "flip_test"),
        ({"heatmap_type": 16}, "outputs.heatmap_type"),
        ({"joint_threshold": "x"}, "thresholds.joint"),
        ({"person_threshold": [0.5]}, "thresholds.person"),
        ({"version": None}, "version"),
        ({"version": "1"}, "version"),
        ({"version": 1 << 32}, "version"),
        ({"timestamp_s": float("nan")}, "timestamp_s"),
        ({"timestamp_s": "x"}, "timestamp_s"),
        ({"joint_threshold": 1.5}, "thresholds.joint"),
        ({"person_threshold": float("nan")}, "thresholds.person"),
        ({"overlap_threshold": "x"}, "thresholds.overlap"),
        ({"overlap_threshold": -0.5}, "thresholds.overlap"),
        ({"overlap_threshold": float("nan")}, "thresholds.overlap"),
        ({"detector": 3}, "detector"),
        ({"heatmap_type": "float64"}, "outputs.heatmap_type"),
        ({"joints": "neck"}, "outputs.joints"),
        ({"version": -1}, "version"),
    ],
)
def test_wrong_options_are_named_before_anything_is_sent(options, field, jpeg):
    with pytest.raises(InvalidRequest) as caught:
        to_request(jpeg, options, 1)
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("locate", [Locate.WHOLE_IMAGE, "whole", "WHOLE_IMAGE", "Whole_Image"])
@pytest.mark.parametrize("heatmap_type", ["uint8", "UINT8"])
def test_names_are_taken_in_any_case(locate, heatmap_type, jpeg):
    request = to_request(jpeg, {"locate": locate, "heatmap_type": heatmap_type}, 1)
    assert (request.locate, request.outputs.heatmap_type) == (pb.WHOLE_IMAGE, pb.UINT8)


def test_numbers_of_numpy_are_numbers(jpeg):
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    options = {"boxes": boxes, "version": np.int64(2), "flip_test": np.bool_(True), "joint_threshold": np.float32(0.5)}
    request = to_request(jpeg, options, 1)
    assert [box.x for box in request.boxes] == [1, 5]
    assert (request.version, request.flip_test, request.thresholds.joint) == (2, True, 0.5)


def test_a_misspelt_option_is_a_type_error(jpeg):
    with pytest.raises(TypeError, match=r"'flip'.*flip_test"):
        to_request(jpeg, {"flip": True}, 1)


finite = st.floats(-1e4, 1e4, width=32)
positive = st.floats(0.125, 1e4, width=32)


@given(st.tuples(finite, finite, positive, positive, finite))
def test_boxes_go_there_and_come_back(sides):
    box = as_box(sides)
    message = to_request(b"x", {"boxes": [box]}, 1).boxes[0]
    response = pb.PredictResponse(persons=[pb.Person(box=message)])
    assert to_prediction(response, (), LSP).poses[0].box == box


def heatmaps_message(kind: str, values: np.ndarray) -> pb.Heatmaps:
    scale = values.max(axis=(1, 2)) / 255
    data = {
        "FLOAT16": lambda: values.astype("<f2"),
        "FLOAT32": lambda: values.astype("<f4"),
        "UINT8": lambda: np.round(values / np.maximum(scale, 1e-9)[:, None, None]).astype(np.uint8),
    }[kind]()
    return pb.Heatmaps(
        type=kind,
        shape=values.shape,
        data=data.tobytes(),
        scale=scale if kind == "UINT8" else (),
        to_image=[4, 0, 10, 0, 4, 20],
    )


@pytest.mark.parametrize(("kind", "tolerance"), [("FLOAT16", 5e-4), ("FLOAT32", 0), ("UINT8", 2e-3)])
def test_heatmaps_of_every_type_arrive_as_float32(kind, tolerance):
    values = np.random.default_rng(1).random((3, 6, 5)).astype(np.float32)
    values[1] = 0
    maps = to_heatmaps(heatmaps_message(kind, values))
    assert maps.values.dtype == np.float32
    assert np.abs(maps.values - values).max() <= tolerance
    assert maps.to_image.tolist() == [[4, 0, 10], [0, 4, 20]]
    maps.values[0, 0, 0] = 1  # the caller's own, not a view of the message


def broken(**changes) -> pb.Heatmaps:
    message = heatmaps_message("UINT8", np.ones((14, 2, 2), np.float32))
    for name, value in changes.items():
        message.ClearField(name)
        message.MergeFrom(pb.Heatmaps(**{name: value}))
    return message


@pytest.mark.parametrize(
    "message",
    [
        broken(data=b"123"),
        broken(shape=[14, 4]),
        broken(to_image=[1, 2]),
        broken(scale=[1]),
        broken(type=7),
        broken(shape=[7, 4, 2], scale=[1] * 7),  # fits itself, but not the 14 joints asked for
    ],
)
def test_heatmaps_that_contradict_themselves_are_the_servers_fault(message):
    person = pb.Person(box=pb.Box(width=1, height=1), heatmaps=message)
    with pytest.raises(ServerError, match="cannot be read"):
        to_prediction(pb.PredictResponse(persons=[person]), (), LSP)


def test_a_prediction_has_everything_the_answer_has():
    response = pb.PredictResponse(
        request_id="r",
        timestamp_s=2.5,
        image_height=10,
        image_width=20,
        persons=[
            pb.Person(
                box=pb.Box(x=1, y=2, width=3, height=4, angle=90),
                score=0.5,
                presence=0.75,
                joints=[pb.Joint(name="neck", x=1.5, y=2.5, score=0.25)],
                heatmaps=heatmaps_message("FLOAT32", np.ones((2, 3, 3), np.float32)),
            ),
            pb.Person(box=pb.Box(width=1, height=1)),
        ],
        model=pb.ModelRef(name="m", version=7, sha256="ab"),
        provider="P",
        timings=pb.Timings(decode=1, queue=2, inference=3, total=6),
    )
    prediction = to_prediction(response, ["neck", "head_top"], LSP)
    pose, empty = prediction.poses
    assert (prediction.request_id, prediction.timestamp_s, prediction.image_size) == ("r", 2.5, (10, 20))
    assert (prediction.model.name, prediction.model.version, prediction.model.sha256) == ("m", 7, "ab")
    assert (prediction.provider, prediction.timings.queue, prediction.timings.total) == ("P", 2, 6)
    assert pose["neck"] == ("neck", 1.5, 2.5, 0.25)
    assert (pose.presence, pose.score, pose.box) == (0.75, 0.5, Box(1, 2, 3, 4, 90))
    assert pose.heatmap_names == ("neck", "head_top")
    assert (empty.presence, empty.heatmaps, empty.points.shape) == (None, None, (0, 2))


def test_a_manifest_from_a_newer_server_still_gives_its_skeleton():
    text = '{"format": "poseglass.manifest/9", "joints": ["a", "b"], "limbs": [["a", "b"]], "wings": 2}'
    assert to_skeleton(pb.Model(manifest_json=text)) == Skeleton(("a", "b"), (("a", "b"),))


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"joints": []}', '{"joints": 3}'])
def test_a_manifest_without_a_skeleton_is_the_servers_fault(text):
    with pytest.raises(ServerError, match="manifest"):
        to_skeleton(pb.Model(ref=pb.ModelRef(name="m"), manifest_json=text))


def test_states_from_a_newer_server_do_not_break_the_list():
    assert to_model_info(pb.Model(state=42)).state == "42"
