"""Asking a server about frames: what travels, what comes back, and what is not put up with."""

from __future__ import annotations

import numpy as np
import pytest
from google.rpc import code_pb2

from poseglass.errors import FailedPrecondition, InvalidRequest, ModelNotFound, Unavailable
from poseglass.video import asking
from poseglass.video.asking import LocalAsk, Question, RemoteAsk
from poseglass.video.tiles import cut, encoded
from poseglass_core.geometry import Box, crop_affine, invert, transform, warp
from poseglass_core.poses import Locate
from poseglass_proto.v1 import pose_pb2 as pb


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)


def test_only_the_crops_travel(server, client, frame):
    ask = RemoteAsk(client, Question())
    assert ask.facts.model.name == "fake"
    assert not ask.facts.everybody
    boxes = [Box(100, 40, 20, 30), Box(10, 5, 60, 90)]
    poses = ask(frame, boxes)
    request = server.poses.requests[-1]
    size = server.poses.manifest.input_size
    assert (request.image.raw.height, request.image.raw.width) == (2 * size[0], size[1])
    assert request.version == 3
    assert [pose.box for pose in poses] == boxes  # in the frame's coordinates
    (pose,) = ask.heatmaps(frame, boxes[:1])
    assert server.poses.requests[-1].outputs.heatmap_type == pb.UINT8
    assert pose.box == boxes[0]
    assert pose.heatmaps is not None
    ask(frame, ())
    assert (server.poses.requests[-1].image.raw.height, server.poses.requests[-1].image.raw.width) == (120, 200)


def test_poses_of_the_tiles_are_those_of_the_frame(tiny_model_path, frame):
    ask = LocalAsk(Question(str(tiny_model_path)), "cpu", 1)
    manifest = ask._predictor.predictor().manifest
    boxes = [Box(100, 40, 20, 30), Box(-20, 5, 60, 90), Box(30, 20, 100, 40)]
    tiles = cut(frame, boxes, manifest.input_size, manifest.box_padding)
    placed = tiles.placed(ask.heatmaps(tiles.image, tiles.boxes), boxes)
    for ours, whole in zip(placed, ask.heatmaps(frame, boxes), strict=True):
        assert ours.box == whole.box
        assert np.allclose(ours.points, whole.points, atol=1e-3)
        assert np.allclose(ours.scores, whole.scores, atol=1e-5)
        assert np.allclose(ours.heatmaps.to_image, whole.heatmaps.to_image, atol=1e-9)
        assert np.allclose(ours.heatmaps.values, whole.heatmaps.values, atol=1e-5)
    ask.close()


def test_jpeg_travels_where_it_is_asked_for(server, client, frame):
    ask = RemoteAsk(client, Question(jpeg=90))
    ask(frame, [Box(100, 40, 20, 30)])
    assert server.poses.requests[-1].image.encoded[:2] == b"\xff\xd8"
    with pytest.raises(InvalidRequest, match="--jpeg"):
        encoded(frame, 101)


def test_a_busy_server_is_asked_again(server, client, frame, status, retry):
    ask = RemoteAsk(client, Question())
    server.poses.statuses += [status(code_pb2.RESOURCE_EXHAUSTED, "full", retry(0.01))] * 3
    assert len(ask(frame, [Box(100, 40, 20, 30)])) == 1


def test_a_server_that_stays_away_is_given_up(client, frame, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.2)
    calls = []

    def away(*_, **__):
        calls.append(1)
        raise Unavailable("away")

    ask = RemoteAsk(client, Question())
    monkeypatch.setattr(client, "predict", away)
    with pytest.raises(Unavailable):
        ask(frame, ())
    assert len(calls) == 2


def test_a_model_that_was_changed_meanwhile_is_noticed(server, client, frame):
    ask = RemoteAsk(client, Question())
    server.poses.sha256 = "c" * 64
    with pytest.raises(FailedPrecondition, match="changed its model meanwhile; run the same command again"):
        ask(frame, ())


def test_what_a_server_does_not_have_is_named(client):
    with pytest.raises(ModelNotFound, match="'absent'"):
        RemoteAsk(client, Question(model="absent"))
    with pytest.raises(ModelNotFound, match="detector"):
        RemoteAsk(client, Question(locate=Locate.DETECT))


@pytest.mark.parametrize(
    ("size", "padding"), [((64, 64), 1.25), ((256, 192), 1.25), ((192, 192), 1.1), ((64, 48), 1.0)]
)
def test_the_crop_of_a_tile_is_the_crop_of_the_frame(frame, size, padding):
    random = np.random.default_rng(1)
    for _ in range(25):
        corners = random.uniform((-30, -30, 3, 3), (200, 120, 120, 100), (3, 4)).tolist()
        boxes = [Box(*corner, angle=turn) for corner, turn in zip(corners, (0.0, 90.0, 17.0), strict=True)]
        tiles = cut(frame, boxes, size, padding)
        for box, tile, to_frame in zip(boxes, tiles.boxes, tiles.to_frame, strict=True):
            affine = crop_affine(box, size, padding)
            again = crop_affine(tile, size, padding)
            assert (warp(tiles.image, again, size) == warp(frame, affine, size)).all()
            point = np.array([3.25, 7.5])  # of the crop
            there = transform(to_frame, transform(invert(again), point))
            assert np.allclose(there, transform(invert(affine), point), atol=1e-9)


def test_in_process(tiny_model_path, tiny_detector_path, frame):
    question = Question(str(tiny_model_path), str(tiny_detector_path), person_threshold=0.0)
    ask = LocalAsk(question, "cpu", 1)
    assert ask.facts.everybody
    assert ask.facts.detector.name == "halves"
    assert ask.facts.keep == 0.0
    boxes = [Box(10, 10, 50, 80), Box(90, 10, 50, 80)]
    assert [pose.box for pose in ask(frame, boxes)] == boxes
    assert len(ask(frame, ())) >= 1
    found = ask.heatmaps(frame, boxes)
    assert [pose.heatmaps.values.shape[0] for pose in found] == [len(pose.heatmap_names) for pose in found]
    with pytest.raises(FailedPrecondition, match="--locate detect needs a detector"):
        LocalAsk(Question(str(tiny_model_path), locate=Locate.DETECT), "cpu", 1)
    ask.close()
