"""Every field of the contract, through a real server."""

from __future__ import annotations

import json
from collections.abc import Callable

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from poseglass_core.skeleton import LSP
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.limits import Limits

WHOLE = pb.Box(x=0, y=0, width=120, height=80)
CODE = grpc.StatusCode


def test_a_picture_is_answered_with_everything_an_answer_has(shared_server, png):
    answer = shared_server.pose.Predict(
        pb.PredictRequest(request_id="a/1", timestamp_s=12.04, image=png, boxes=[WHOLE])
    )
    assert (answer.request_id, answer.timestamp_s) == ("a/1", 12.04)
    assert (answer.image_height, answer.image_width) == (80, 120)
    assert (answer.model.name, answer.model.version) == ("brightness", 2)
    assert bytes.fromhex(answer.model.sha256) == b"brightness-2"
    assert answer.provider == "FakeProvider"
    assert not answer.HasField("detector")
    assert not answer.HasField("error")
    (person,) = answer.persons
    assert person.box == WHOLE
    assert [joint.name for joint in person.joints] == list(LSP.joints)
    assert person.score == pytest.approx(np.mean([joint.score for joint in person.joints]))
    assert not person.HasField("presence")
    assert not person.HasField("heatmaps")
    # The crop's cell is 1.25 * 120 / 16 = 9.4 pixels wide; the first joint is the brightest cell.
    assert abs(person.joints[0].x - 70) < 9.4
    assert abs(person.joints[0].y - 30) < 9.4
    timings = answer.timings
    assert timings.decode > 0
    assert timings.queue >= 0
    assert timings.inference > 0
    assert timings.total >= timings.decode + timings.queue + timings.inference


def test_pictures_come_in_every_format(shared_server, picture, encode):
    sources = [pb.Image(encoded=encode(picture, kind)) for kind in ("PNG", "BMP")]
    sources += [pb.Image(encoded=encode(picture, "WEBP", lossless=True))]
    sources += [
        pb.Image(raw=pb.RawImage(data=data.tobytes(), height=80, width=120, format=kind))
        for kind, data in ((pb.RGB24, picture), (pb.BGR24, picture[..., ::-1]), (pb.GRAY8, picture[..., 0]))
    ]
    answers = [shared_server.pose.Predict(pb.PredictRequest(image=image, boxes=[WHOLE])) for image in sources]
    for answer in answers:
        assert answer.persons == answers[0].persons
    jpeg = shared_server.pose.Predict(pb.PredictRequest(image=pb.Image(encoded=encode(picture, "JPEG")), boxes=[WHOLE]))
    assert jpeg.persons[0].joints[0].x == pytest.approx(answers[0].persons[0].joints[0].x, abs=0.01)


def test_a_large_jpeg_is_served(shared_server, encode):
    noise = np.random.default_rng(0).integers(0, 256, (2600, 3400, 3), np.uint8)
    data = encode(noise, "JPEG", quality=98)
    assert len(data) > 12_000_000
    answer = shared_server.pose.Predict(pb.PredictRequest(image=pb.Image(encoded=data), boxes=[WHOLE]))
    assert (answer.image_height, answer.image_width) == (2600, 3400)


def test_boxes_are_answered_one_by_one_in_their_order(shared_server, png):
    boxes = [
        pb.Box(x=50, y=10, width=40, height=40),
        pb.Box(x=500, y=500, width=10, height=10),  # outside the picture: black
        pb.Box(x=50, y=10, width=40, height=40, angle=90),
        WHOLE,
    ]
    thresholds = pb.Thresholds(joint=0.15, person=1, overlap=0)
    answer = shared_server.pose.Predict(pb.PredictRequest(image=png, boxes=boxes, thresholds=thresholds))
    assert [person.box for person in answer.persons] == boxes
    assert [bool(person.joints) for person in answer.persons] == [True, False, True, True]


def test_without_boxes_one_person_is_found(shared_server, png):
    for locate in (pb.AUTO, pb.WHOLE_IMAGE):
        (person,) = shared_server.pose.Predict(pb.PredictRequest(image=png, locate=locate)).persons
        assert person.box.width > 0
    thresholds = pb.Thresholds(person=1)
    assert not shared_server.pose.Predict(pb.PredictRequest(image=png, thresholds=thresholds)).persons


@pytest.mark.parametrize("kind", ["FLOAT16", "FLOAT32", "UINT8"])
def test_heatmaps_lead_back_to_the_joints(shared_server, png, kind):
    names = ["neck", "right_ankle", "left_knee"]
    outputs = pb.Outputs(heatmaps=True, heatmap_type=kind, joints=names)
    thresholds = pb.Thresholds(joint=0.0)
    answer = shared_server.pose.Predict(
        pb.PredictRequest(image=png, boxes=[WHOLE], outputs=outputs, thresholds=thresholds)
    )
    (person,) = answer.persons
    assert [joint.name for joint in person.joints] == names
    maps = person.heatmaps
    assert pb.HeatmapType.Name(maps.type) == kind
    assert list(maps.shape) == [3, 16, 16]
    assert len(maps.scale) == (3 if kind == "UINT8" else 0)
    dtype = {"FLOAT16": "<f2", "FLOAT32": "<f4", "UINT8": "u1"}[kind]
    values = np.frombuffer(maps.data, dtype).reshape(maps.shape).astype(np.float64)
    if kind == "UINT8":
        assert values.max(axis=(1, 2)).tolist() == [255, 255, 255]
        values *= np.array(maps.scale)[:, None, None]
    to_image = np.array(maps.to_image).reshape(2, 3)
    cell = np.hypot(*to_image[:, 0])
    for joint, heatmap in zip(person.joints, values, strict=True):
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        x, y = to_image @ [column, row, 1]
        assert max(abs(x - joint.x), abs(y - joint.y)) <= cell
        assert heatmap.max() == pytest.approx(joint.score, rel=1e-3)


def test_a_threshold_leaves_joints_out_but_not_their_heatmaps(shared_server, png):
    request = pb.PredictRequest(
        image=png, boxes=[WHOLE], outputs=pb.Outputs(heatmaps=True), thresholds=pb.Thresholds(joint=1)
    )
    (person,) = shared_server.pose.Predict(request).persons
    assert not person.joints
    assert person.heatmaps.shape[0] == 14


def test_the_flip_test_runs_the_mirrored_picture_too(serving, network, png):
    with serving(network) as running:
        running.pose.Predict(pb.PredictRequest(image=png, boxes=[WHOLE]))
        assert network.runs == 1
        running.pose.Predict(pb.PredictRequest(image=png, boxes=[WHOLE], flip_test=True))
        assert network.runs == 3


def test_models_are_chosen_by_name_and_version(shared_server, png):
    def served(**fields) -> tuple[str, int]:
        ref = shared_server.pose.Predict(pb.PredictRequest(image=png, boxes=[WHOLE], **fields)).model
        return ref.name, ref.version

    assert served() == ("brightness", 2)
    assert served(version=1) == ("brightness", 1)
    assert served(model="brightness") == ("brightness", 2)
    assert served(model="brightness", version=1) == ("brightness", 1)
    assert served(model="other") == ("other", 1)


def test_models_are_listed(shared_server):
    models = shared_server.pose.ListModels(pb.ListModelsRequest()).models
    assert [(m.ref.name, m.ref.version, m.is_default) for m in models] == [
        ("brightness", 2, True),
        ("brightness", 1, False),
        ("other", 1, False),
    ]
    for model in models:
        assert (model.kind, model.state, model.reason) == (pb.POSE, pb.READY, "")
        assert model.licence == "CC0-1.0"
        assert list(model.joints) == list(LSP.joints)
        assert json.loads(model.manifest_json)["name"] == model.ref.name


def test_one_model_is_described(shared_server, refused):
    get = shared_server.pose.GetModel
    assert get(pb.GetModelRequest()).is_default
    assert get(pb.GetModelRequest(name="brightness", version=1)).ref.version == 1
    assert get(pb.GetModelRequest(name="other")).ref.name == "other"
    text = refused(lambda: get(pb.GetModelRequest(name="horses")), CODE.NOT_FOUND, "name")
    assert "other version 1" in text
    refused(lambda: get(pb.GetModelRequest(version=7)), CODE.NOT_FOUND, "version")


def test_what_needs_a_detector_says_so(shared_server, refused, png):
    request = pb.PredictRequest(image=png, locate=pb.DETECT)
    text = refused(lambda: shared_server.pose.Predict(request), CODE.FAILED_PRECONDITION)
    assert text.startswith("locate: DETECT needs a detector")
    assert "boxes" in text
    assert "--detector" in text
    named = pb.PredictRequest(image=png, detector="yolo")
    text = refused(lambda: shared_server.pose.Predict(named), CODE.NOT_FOUND, "detector")
    assert "there is none; start the server with --detector" in text
    # Boxes win over `locate`: nothing needs to be detected.
    assert shared_server.pose.Predict(pb.PredictRequest(image=png, locate=pb.DETECT, boxes=[WHOLE])).persons


def test_reload_says_why_there_is_none(shared_server, refused):
    admin = pose_pb2_grpc.AdminServiceStub(shared_server.channel)
    assert "repository" in refused(lambda: admin.Reload(pb.ReloadRequest()), CODE.UNIMPLEMENTED)


def test_health_and_reflection_answer(shared_server):
    health = health_pb2_grpc.HealthStub(shared_server.channel)
    for service in ("", "poseglass.v1.PoseService"):
        reply = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(shared_server.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="poseglass.v1.PoseService"),
    ]
    services, files = stub.ServerReflectionInfo(iter(asked))
    assert {s.name for s in services.list_services_response.service} >= {
        "poseglass.v1.PoseService",
        "poseglass.v1.AdminService",
        "grpc.health.v1.Health",
    }
    assert files.file_descriptor_response.file_descriptor_proto


def test_an_unknown_failure_tells_nothing_of_the_inside(serving, network, png, caplog):
    network.run = lambda crops: 1 / 0
    with serving(network) as running, pytest.raises(grpc.RpcError) as caught:
        running.pose.Predict(pb.PredictRequest(request_id="r-17", image=png, boxes=[WHOLE]))
    assert caught.value.code() is CODE.INTERNAL
    assert "division" not in str(caught.value)
    assert "r-17" in caught.value.details()
    info = error_details_pb2.RequestInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert info.request_id == "r-17"
    assert "ZeroDivisionError" in caplog.text
    assert "'r-17'" in caplog.text


def test_nothing_is_logged_of_a_picture_that_is_served(shared_server, png, caplog):
    caplog.set_level("INFO", logger="poseglass")  # what DEBUG tells: test_logs.py
    shared_server.pose.Predict(pb.PredictRequest(image=png))
    assert not [record for record in caplog.records if record.name.startswith("poseglass")]


def test_a_call_that_expired_or_was_cancelled_costs_nothing(serving, network, png):
    with serving(network, workers=1) as running:
        network.go.clear()
        request = pb.PredictRequest(image=png, boxes=[WHOLE])
        first = running.pose.Predict.future(request)
        assert network.started.acquire(timeout=20)
        cancelled = running.pose.Predict.future(request)
        with pytest.raises(grpc.RpcError) as caught:  # waits in the queue until its deadline, no longer
            running.pose.Predict(request, timeout=0.2)
        assert caught.value.code() is CODE.DEADLINE_EXCEEDED
        with pytest.raises(grpc.RpcError) as caught:
            running.pose.Predict(pb.PredictRequest(image=png, boxes=[WHOLE], timeout_ms=50))
        assert caught.value.code() is CODE.DEADLINE_EXCEEDED
        assert "deadline" in caught.value.details()
        cancelled.cancel()
        running.wait_for_calls(1)
        network.go.set()
        assert first.result(20).persons
        assert running.pose.Predict(request).persons
        assert network.runs == 2


def test_work_is_dropped_between_decoding_and_inference(serving, network, png, monkeypatch):
    import threading

    from poseglass_server import convert

    decoding, go_on = threading.Semaphore(0), threading.Event()

    def slow_decode(data: bytes, max_pixels: int, reserve: Callable[[int], None]) -> np.ndarray:
        decoding.release()
        assert go_on.wait(20)
        return np.zeros((80, 120, 3), np.uint8)

    monkeypatch.setattr(convert, "decode_image", slow_decode)
    with serving(network, workers=1) as running:
        request = pb.PredictRequest(image=png, boxes=[WHOLE])
        left = running.pose.Predict.future(pb.PredictRequest(image=png, boxes=[WHOLE], timeout_ms=100))
        assert decoding.acquire(timeout=20)
        with pytest.raises(grpc.RpcError):
            left.result(20)
        go_on.set()
        running.pose.Predict(request)
        assert network.runs == 1


def test_messages_are_limited_both_ways_by_one_setting(serving, network, refused, png):
    with serving(network, limits=Limits(max_message_mb=1, max_boxes=1000)) as running:
        raw = pb.RawImage(data=bytes(1_200_000), height=400, width=1000, format=pb.RGB24)
        request = pb.PredictRequest(image=pb.Image(raw=raw), boxes=[WHOLE])
        text = refused(lambda: running.pose.Predict(request), CODE.RESOURCE_EXHAUSTED)
        assert "max_message_mb" in text
        raw.data = bytes(5_000_000)  # refused by its header, nothing of it received
        refused(lambda: running.pose.Predict(pb.PredictRequest(image=pb.Image(raw=raw))), CODE.RESOURCE_EXHAUSTED)
        outputs = pb.Outputs(heatmaps=True, heatmap_type=pb.FLOAT32)
        many = pb.PredictRequest(image=png, boxes=[WHOLE] * 100, outputs=outputs)
        text = refused(lambda: running.pose.Predict(many), CODE.INVALID_ARGUMENT, "outputs.heatmaps")
        assert "max_message_mb" in text
        assert network.runs == 0
        outputs.heatmap_type = pb.UINT8
        fits = pb.PredictRequest(image=png, boxes=[WHOLE] * 100, outputs=outputs)
        assert len(running.pose.Predict(fits).persons) == 100
