"""The mix of pictures: its grammar, what is made of it, and the messages."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from poseglass.bench import messages as messages_module
from poseglass.bench.messages import boxes_in, build
from poseglass.bench.mix import kinds_of
from poseglass.commands.finding import find_pictures
from poseglass.errors import InvalidRequest, MessageTooLarge
from poseglass_proto.v1 import pose_pb2 as pb


def mixed(*pictures, images=(), measured=True, seed=0):
    return kinds_of(pictures, images, find_pictures, measured, np.random.default_rng(seed))


def built(kinds, people=1, **settings):
    return build(kinds, {"model": "fake"}, people, np.random.default_rng(0), settings.pop("limit", 32), **settings)


@pytest.mark.parametrize(
    ("text", "shape"), [("raw:30x20", (20, 30, 3)), ("gray:30x20=2", (20, 30)), ("raw:1x1", (1, 1, 3))]
)
def test_raw_pictures(text, shape):
    (kind,) = mixed(text)
    assert kind.name == text.partition("=")[0]
    assert all(picture.shape == shape and picture.dtype == np.uint8 for picture in kind.pictures)
    assert kind.sizes == (shape[:2],) * len(kind.pictures)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_encoded_pictures_can_be_decoded(form):
    (kind,) = mixed(f"{form}:64x48")
    assert cv2.imdecode(np.frombuffer(kind.pictures[0], np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)
    assert len(set(kind.pictures)) == len(kind.pictures) > 1  # no two are the same


def test_a_seed_decides_the_pictures():
    assert mixed("jpeg:32x32", seed=1)[0].pictures == mixed("jpeg:32x32", seed=1)[0].pictures
    assert mixed("jpeg:32x32", seed=1)[0].pictures != mixed("jpeg:32x32", seed=2)[0].pictures


def test_without_a_word_there_is_a_crop():
    assert [kind.name for kind in mixed()] == ["raw:256x256"]


def test_files_are_sent_as_they_are(pictures):
    kinds = mixed("raw:8x8", images=[f"{pictures}=3", f"{pictures}/a/x.jpg"])
    assert [kind.weight for kind in kinds] == [3, 1, 1]
    assert kinds[0].sizes == ((48, 40), (48, 40))
    sent = pb.PredictRequest.FromString(built(kinds).messages[0].data)
    assert sent.image.encoded == (pictures / "one.jpg").read_bytes()


def test_a_path_with_an_equals_sign(pictures):
    (pictures / "one.jpg").rename(pictures / "size=3")
    (kind,) = mixed(images=[str(pictures / "size=3")])
    assert kind.weight == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jpeg", "FORMAT:WIDTHxHEIGHT"),
        ("jpeg:640", "FORMAT:WIDTHxHEIGHT"),
        ("jpeg:640x480x3", "FORMAT:WIDTHxHEIGHT"),
        ("jpeg:-1x4", "FORMAT:WIDTHxHEIGHT"),
        ("jpeg:4x4=", "FORMAT:WIDTHxHEIGHT"),
        ("jpeg:4x4=-1", "FORMAT:WIDTHxHEIGHT"),
        ("jpeg:4x4=0", "greater than 0"),
        ("tiff:4x4", "raw, gray, jpeg, png, webp"),
        ("raw:0x4", "from 1 to 16384"),
        ("raw:99999x4", "from 1 to 16384"),
        ("", "FORMAT:WIDTHxHEIGHT"),
    ],
)
def test_bad_pictures(text, told):
    with pytest.raises(InvalidRequest, match=told) as caught:
        mixed(text)
    assert caught.value.field == "--picture"


def test_the_same_twice_is_refused():
    with pytest.raises(InvalidRequest, match="raw:4x4=2"):
        mixed("raw:4x4", "raw:4x4=3")


def test_bad_files_are_named(pictures):
    with pytest.raises(InvalidRequest, match="nowhere") as caught:
        mixed(images=[f"{pictures}/nowhere.jpg"])
    assert caught.value.field == "--images"
    (pictures / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InvalidRequest, match="broken.jpg"):
        mixed(images=[str(pictures)])
    assert len(mixed(images=[str(pictures)], measured=False)[0].pictures) == 3  # the server may say so itself


def test_messages_say_what_was_asked_for():
    request = pb.PredictRequest.FromString(built(mixed("raw:30x20"), timeout=0.25).messages[0].data)
    assert request.model == "fake"
    assert request.timeout_ms == 250
    assert (request.image.raw.width, request.image.raw.height) == (30, 20)
    assert [(box.x, box.y, box.width, box.height) for box in request.boxes] == [(0, 0, 30, 20)]


def test_shares_follow_the_weights():
    made = built(mixed("raw:8x8=3", "jpeg:8x8"))
    assert made.shares.sum() == pytest.approx(1)
    kinds = [message.kind for message in made.draw(4000, np.random.default_rng(5))]
    assert abs(kinds.count(0) / 4000 - 0.75) < 0.03
    assert [message.kind for message in made.firsts()] == [0, 1]


def test_boxes_lie_in_the_picture():
    rng = np.random.default_rng(0)
    assert boxes_in((20, 30), 0, rng) == []
    for size in ((20, 300), (300, 20), (1, 1)):
        for box in boxes_in(size, 50, rng):
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= size[1] * (1 + 1e-9)
            assert box.y + box.height <= size[0] * (1 + 1e-9)


def test_what_is_too_much_is_refused(monkeypatch):
    with pytest.raises(MessageTooLarge, match="max_message_mb"):
        built(mixed("gray:1024x1025"), limit=1)
    monkeypatch.setattr(messages_module, "MOST_MIB", 0)
    with pytest.raises(InvalidRequest, match="give fewer"):
        built(mixed())
