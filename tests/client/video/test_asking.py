"""Asking a server about frames: what travels, what comes back, and what is not put up with."""

from __future__ import annotations

import numpy as np
import pytest
from google.rpc import code_pb2

from poseglass.errors import FailedPrecondition, InvalidRequest, ModelNotFound, Unavailable
from poseglass.video import asking
from poseglass.video.asking import LocalAsk, Question, RemoteAsk
from poseglass.video.regions import cut, encoded, moved
from poseglass_core.geometry import Box, crop_affine, warp
from poseglass_core.poses import Locate
from poseglass_proto.v1 import pose_pb2 as pb


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)


def test_only_the_part_around_the_boxes_travels(server, client, frame):
    ask = RemoteAsk(client, Question())
    assert ask.facts.model.name == "fake"
    assert not ask.facts.everybody
    box = Box(100, 40, 20, 30)
    (pose,) = ask(frame, [box])
    request = server.poses.requests[-1]
    assert request.image.raw.height * request.image.raw.width < 120 * 200 / 4
    assert request.version == 3
    assert pose.box == box  # back in the frame's coordinates
    assert np.allclose(pose.points[0], (100 + 20 / 15, 40 + 30 / 15), atol=1e-4)
    ask(frame, ())
    assert (server.poses.requests[-1].image.raw.height, server.poses.requests[-1].image.raw.width) == (120, 200)


def test_heatmaps_lie_in_the_frame(server, client, frame):
    ask = RemoteAsk(client, Question())
    box = Box(100, 40, 20, 30)
    (whole,) = client.predict(frame, boxes=[box], heatmaps=True).poses
    (pose,) = ask.heatmaps(frame, [box])
    request = server.poses.requests[-1]
    assert request.image.raw.height < 120
    assert request.outputs.heatmap_type == pb.UINT8
    assert pose.box == box
    assert np.allclose(pose.heatmaps.to_image, whole.heatmaps.to_image, atol=1e-4)
    assert ask(frame, [box])[0].heatmaps is None


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


def test_a_crop_of_the_part_is_the_crop_of_the_frame(frame):
    random = np.random.default_rng(1)
    same = 0
    for _ in range(100):
        x, y, width, height = random.uniform((-30, -30, 3, 3), (200, 120, 120, 100))
        box = Box(float(x), float(y), float(width), float(height))
        part = cut(frame, [box], 1.0, 1.25)
        ours = warp(part.image, crop_affine(moved(box, part.corner, -1), (64, 64), 1.25), (64, 64))
        whole = warp(frame, crop_affine(box, (64, 64), 1.25), (64, 64))
        same += (ours == whole).all()
    assert same >= 99  # a box may lie so that rounding decides


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
