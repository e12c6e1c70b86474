"""Finding people, through a real server."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_server.limits import Limits

CODE = grpc.StatusCode
WHOLE = pb.Box(x=0, y=0, width=120, height=80)


@pytest.fixture
def bright(encode):
    """A picture in which both halves hold something."""
    image = np.full((80, 120, 3), 20, np.uint8)
    image[35:45, 25:35] = image[35:45, 85:95] = 250
    return pb.Image(encoded=encode(image))


def test_everybody_is_found_where_nothing_is_given(serving, network, finder, bright):
    with serving(network, detectors=[finder]) as running:
        for locate in (pb.AUTO, pb.DETECT):
            answer = running.pose.Predict(pb.PredictRequest(image=bright, locate=locate))
            middles = sorted(person.box.x + person.box.width / 2 for person in answer.persons)
            assert 0 < middles[0] < 60 < middles[1] < 120
            scores = [person.score for person in answer.persons]
            assert scores == sorted(scores, reverse=True)
            assert (answer.detector.name, answer.detector.version) == ("halves", 1)
            assert answer.detector.sha256 == finder.ref.sha256
            assert answer.model.name == "brightness"
        finder.boxes = []
        answer = running.pose.Predict(pb.PredictRequest(image=bright))
        assert not answer.persons
        assert answer.HasField("detector")


def test_given_boxes_and_the_whole_image_are_as_before(serving, network, finder, bright):
    with serving(network, detectors=[finder]) as running:
        answer = running.pose.Predict(pb.PredictRequest(image=bright, boxes=[WHOLE], locate=pb.DETECT))
        assert [person.box for person in answer.persons] == [WHOLE]
        assert not answer.HasField("detector")
        answer = running.pose.Predict(pb.PredictRequest(image=bright, locate=pb.WHOLE_IMAGE))
        assert len(answer.persons) == 1
        assert answer.HasField("detector")


def test_people_found_twice_are_left_out_as_the_request_says(serving, network, finder, bright):
    finder.boxes = [(0, 0, 0.5, 1), (0.01, 0, 0.5, 1), (0.5, 0, 0.5, 1)]
    with serving(network, detectors=[finder]) as running:
        assert len(running.pose.Predict(pb.PredictRequest(image=bright)).persons) == 2
        request = pb.PredictRequest(image=bright, thresholds=pb.Thresholds(overlap=1))
        assert len(running.pose.Predict(request).persons) == 3
        request = pb.PredictRequest(image=bright, thresholds=pb.Thresholds(person=1))
        assert not running.pose.Predict(request).persons


def test_detectors_are_chosen_and_described_like_models(serving, network, make_finder, bright, refused):
    detectors = [make_finder("halves", 1), make_finder("other", 4), make_finder("halves", 2)]
    with serving(network, detectors=detectors) as running:

        def ran(**fields) -> tuple[str, int]:
            ref = running.pose.Predict(pb.PredictRequest(image=bright, **fields)).detector
            return ref.name, ref.version

        assert ran() == ran(detector="halves") == ("halves", 2)
        assert ran(detector="other") == ("other", 4)
        for fields in ({}, {"boxes": [WHOLE]}):
            request = pb.PredictRequest(image=bright, detector="yolo", **fields)
            text = refused(lambda r=request: running.pose.Predict(r), CODE.NOT_FOUND, "detector")
            assert "other version 4" in text
        models = running.pose.ListModels(pb.ListModelsRequest()).models
        assert [(m.ref.name, m.ref.version, m.kind, m.is_default) for m in models] == [
            ("brightness", 1, pb.POSE, True),
            ("halves", 2, pb.DETECTOR, True),
            ("halves", 1, pb.DETECTOR, False),
            ("other", 4, pb.DETECTOR, False),
        ]
        get = running.pose.GetModel
        assert get(pb.GetModelRequest()).kind == pb.POSE
        found = get(pb.GetModelRequest(name="halves", version=1))
        assert (found.kind, found.state, found.ref.version, found.is_default) == (pb.DETECTOR, pb.READY, 1, False)
        assert (found.licence, list(found.joints)) == ("CC0-1.0", [])
        assert json.loads(found.manifest_json)["kind"] == "detector"
        assert get(pb.GetModelRequest(name="halves")).is_default
        refused(lambda: get(pb.GetModelRequest(name="other", version=7)), CODE.NOT_FOUND, "version")


def test_no_more_people_than_the_limit_are_answered(serving, network, finder, bright):
    finder.boxes = [(0.1 * x, 0.1 * y, 0.1, 0.1) for y in range(10) for x in range(10)]
    with serving(network, detectors=[finder], limits=Limits(max_boxes=7)) as running:
        answer = running.pose.Predict(pb.PredictRequest(image=bright, thresholds=pb.Thresholds(overlap=1)))
        assert len(answer.persons) == 7
        assert {person.box.y for person in answer.persons} == {0}
        assert network.runs <= 2 * 7  # whose joints do not fill the box is looked at again


def test_heatmaps_of_everybody_must_fit_into_the_answer(serving, network, finder, bright, refused):
    finder.boxes = [(0.1 * x, 0.1 * y, 0.1, 0.1) for y in range(10) for x in range(10)]
    with serving(network, detectors=[finder], limits=Limits(max_message_mb=1)) as running:
        outputs = pb.Outputs(heatmaps=True, heatmap_type=pb.FLOAT32)
        request = pb.PredictRequest(image=bright, outputs=outputs, thresholds=pb.Thresholds(overlap=1))
        text = refused(lambda: running.pose.Predict(request), CODE.INVALID_ARGUMENT, "outputs.heatmaps")
        assert "100 people" in text
        assert "max_message_mb" in text
        finder.boxes = finder.boxes[:50]
        assert len(running.pose.Predict(request).persons) == 50
