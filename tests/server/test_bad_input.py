"""Whatever is wrong with a request, the answer names the field and the remedy, and the server goes on."""

from __future__ import annotations

import gc
import struct
import time
import weakref
import zlib

import grpc
import numpy as np
import pytest

from poseglass_core.errors import InvalidInput
from poseglass_proto.v1 import pose_pb2 as pb

WHOLE = pb.Box(x=0, y=0, width=120, height=80)
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def one_colour_png(side: int, rows: int | None = None) -> bytes:
    """A grey PNG of side x side pixels; with fewer rows than its header claims where `rows` says so."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    deflate = zlib.compressobj(1)
    row = bytes(side + 1)
    body = b"".join(deflate.compress(row) for _ in range(side if rows is None else rows)) + deflate.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.fixture
def fails(shared_server, refused, png):
    """Sends a request that must be refused, then one that must be served; gives what the refusal says."""

    def check(field: str, code: grpc.StatusCode = INVALID, **fields) -> str:
        request = pb.PredictRequest(**{"image": png, "boxes": [WHOLE]} | fields)
        text = refused(lambda: shared_server.pose.Predict(request), code, field)
        assert shared_server.pose.Predict(pb.PredictRequest(image=png, boxes=[WHOLE])).persons
        return text

    return check


@pytest.mark.parametrize("image", [None, pb.Image()])
def test_no_picture(fails, image):
    assert "image.encoded" in fails("image", image=image)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"Dear server, find me.", "JPEG, PNG, WebP or BMP"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(400), "HEIC"),
        (one_colour_png(60_000, rows=1), "64,000,000"),
        (one_colour_png(9_000, rows=1), "max_pixels"),
        (one_colour_png(100, rows=1), "broken"),
    ],
    ids=["empty", "text", "heic", "claims-60000", "claims-9000", "too-few-rows"],
)
def test_a_file_that_is_no_good(fails, data, says):
    assert says in fails("image.encoded", image=pb.Image(encoded=data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("part", [0.1, 0.6, 0.97])
def test_a_truncated_file(fails, picture, encode, kind, part):
    data = encode(picture, kind)
    fails("image.encoded", image=pb.Image(encoded=data[: int(len(data) * part)]))


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("image.raw.data", {"data": bytes(10), "height": 2, "width": 2, "format": pb.RGB24}),
        ("image.raw.data", {"data": bytes(12), "height": 2, "width": 2, "format": pb.GRAY8}),
        ("image.raw.data", {"height": 2, "width": 2, "format": pb.RGB24}),
        ("image.raw.height", {"data": bytes(12), "width": 2, "format": pb.RGB24}),
        ("image.raw.width", {"data": bytes(12), "height": 2, "format": pb.RGB24}),
        ("image.raw.height", {"data": bytes(12), "height": 2**31, "width": 2**31, "format": pb.RGB24}),
        ("image.raw.format", {"data": bytes(12), "height": 2, "width": 2}),
        ("image.raw.format", {"data": bytes(12), "height": 2, "width": 2, "format": 9}),
    ],
)
def test_raw_pixels_that_do_not_fit(fails, field, raw):
    fails(field, image=pb.Image(raw=pb.RawImage(**raw)))


@pytest.mark.parametrize("name", ["x", "y", "width", "height", "angle"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 0.0, -3.0])
def test_boxes_that_are_none(fails, name, value):
    if name not in {"width", "height"} and value in {0.0, -3.0}:
        return
    box = pb.Box(x=1, y=1, width=9, height=9)
    setattr(box, name, value)
    assert "must be" in fails(f"boxes[2].{name}", boxes=[WHOLE, WHOLE, box])


def test_too_many_boxes(fails):
    text = fails("boxes", boxes=[WHOLE] * 10_000)
    assert "10,000" in text
    assert "limit of 100" in text
    assert "max_boxes" in text


@pytest.mark.parametrize(
    "box",
    [
        pb.Box(x=-9e7, y=-9e7, width=9.9e7, height=9.9e7),
        pb.Box(x=-5e6, y=-5e6, width=1e7, height=1e7),
        pb.Box(x=60, y=40, width=0.015, height=0.015),
        pb.Box(x=9e7, y=9e7, width=9e7, height=0.015, angle=9e7),
    ],
)
def test_a_box_of_any_size_is_answered(shared_server, png, box):
    (person,) = shared_server.pose.Predict(pb.PredictRequest(image=png, boxes=[box])).persons
    assert person.box == box
    assert np.isfinite([(joint.x, joint.y) for joint in person.joints]).all()


@pytest.mark.parametrize("value", [3e38, -1e9, 1e-30])
def test_boxes_beyond_any_picture(fails, value):
    assert "boxes[0].width" in fails("boxes[0].width", boxes=[pb.Box(x=1, y=1, width=value, height=9)])


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["joint", "person", "overlap"])
def test_thresholds_out_of_range(fails, name, value):
    assert "from 0 to 1" in fails(f"thresholds.{name}", thresholds=pb.Thresholds(**{name: value}))
    assert "from 0 to 1" in fails(f"thresholds.{name}", boxes=[], thresholds=pb.Thresholds(**{name: value}))


def test_unknown_values_of_enums(fails):
    assert "WHOLE_IMAGE" in fails("locate", locate=7)
    assert "UINT8" in fails("outputs.heatmap_type", outputs=pb.Outputs(heatmap_type=7))


def test_unknown_names(fails):
    assert "left_knee" in fails("outputs.joints[1]", outputs=pb.Outputs(joints=["neck", "tail"]))
    assert "once" in fails("outputs.joints[1]", outputs=pb.Outputs(joints=["neck", "neck"]))
    assert "brightness version 2" in fails("model", grpc.StatusCode.NOT_FOUND, model="horses")
    assert "brightness version 2" in fails("version", grpc.StatusCode.NOT_FOUND, version=9)


@pytest.mark.parametrize("letter", ["x", "\N{PILE OF POO}", "\n"])
def test_endless_names_do_not_break_the_answer(fails, letter):
    text = fails("outputs.joints[0]", outputs=pb.Outputs(joints=[letter * 500_000]))
    assert text.endswith("head_top")
    fails("model", grpc.StatusCode.NOT_FOUND, model=letter * 500_000)
    fails("request_id", request_id=letter * 500_000)


def test_bytes_that_are_no_message_are_refused_like_any_bad_input(shared_server, refused):
    def send(method: str) -> None:
        shared_server.channel.unary_unary(method)(b"\xff\xff\xff not a message", timeout=10)

    for method in ("Predict", "ListModels", "GetModel"):
        said = refused(lambda m=method: send(f"/poseglass.v1.PoseService/{m}"), grpc.StatusCode.INVALID_ARGUMENT)
        assert "pose.proto" in said
        assert "DecodeError" not in said


def test_refused_requests_do_not_stay_in_memory(shared_server, refused):
    class Marked(InvalidInput):
        """An error whose life can be watched."""

    alive: list[weakref.ref[Marked]] = []

    def made() -> Marked:
        error = Marked("image.encoded", "is refused")
        alive.append(weakref.ref(error))
        return error

    def fail(self: object, image: object, request: object) -> None:
        raise made()

    picture = pb.Image(raw=pb.RawImage(data=bytes(12), height=2, width=2, format=pb.RGB24))
    gc.collect()
    gc.disable()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("poseglass_runtime.predictor.Predictor.predict", fail)
            for _ in range(6):
                with pytest.raises(grpc.RpcError):
                    shared_server.pose.Predict(pb.PredictRequest(image=picture), timeout=10)
        time.sleep(0.2)
        assert sum(error() is not None for error in alive) <= 2  # the last may still be on its way out
    finally:
        gc.enable()
