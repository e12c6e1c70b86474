"""The benchmark of many people, and the server that benchmarks start."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

import crowd
import serving
from poseglass import PoseClient, PoseglassError
from poseglass_core.skeleton import LSP
from poseglass_training.annotations import AnnotationError


def test_everybody_has_a_place_of_their_own():
    picture = crowd.crowd_of(crowd.tiles_of(None, 6))
    assert picture.image.shape == (400, 800, 3)
    for i, box in enumerate(picture.boxes):
        assert 200 * (i % 4) < box.x < box.x + box.width < 200 * (i % 4 + 1)
        assert 200 * (i // 4) < box.y < box.y + box.height < 200 * (i // 4 + 1)
        inside = picture.image[round(box.y) : round(box.y + box.height), round(box.x) : round(box.x + box.width)]
        assert inside.std() > 5


def test_every_way_is_taken_in_every_round():
    taken = []
    costs = crowd.measured(
        {"a": lambda: taken.append("a"), "b": lambda: (taken.append("b"), time.sleep(0.02))}, rounds=3
    )
    assert taken == ["a", "b"] * 4  # the first is not timed
    assert costs["b"].milliseconds >= 20
    assert costs["b"].cpu < 1
    assert costs["b"].switches[0] >= 1  # sleeping gives the processor up


def test_too_few_people_are_refused(tmp_path):
    joints = [10.0, 10.0, 2] * 14
    row = {"id": 17, "image_id": 1, "category_id": 1, "bbox": [0, 0, 90, 20], "keypoints": joints, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 30}],
        "annotations": [row],
        "categories": [{"id": 1, "name": "person", "keypoints": list(LSP.joints), "skeleton": []}],
    }
    (tmp_path / "lying.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match="only 0 upright people in dev, not 12"):
        crowd.tiles_of(tmp_path / "lying.json", 12)


def test_a_server_runs_for_as_long_as_it_is_needed(tiny_model_path):
    with serving.running_server([str(tiny_model_path)], 1) as server:
        with PoseClient(server.address) as client:
            prediction = client.predict(np.zeros((64, 64, 3), np.uint8), boxes=[(0, 0, 64, 64)])
        assert prediction.model.name == "tiny"
    with PoseClient(server.address, timeout=1) as client, pytest.raises(PoseglassError):
        client.predict(np.zeros((64, 64, 3), np.uint8), boxes=[(0, 0, 64, 64)])


def test_a_server_that_does_not_start_says_why():
    with pytest.raises(serving.ServerError, match=r"nothing\.onnx"), serving.running_server(["nothing.onnx"], 1):
        pass
