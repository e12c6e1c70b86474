"""The Open Inference Protocol, through a real server."""

from __future__ import annotations

import dataclasses
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from poseglass_proto.oip import inference_pb2 as pb
from poseglass_proto.oip import inference_pb2_grpc
from poseglass_proto.v1 import pose_pb2
from poseglass_server.entries import Entry, State
from poseglass_server.limits import Limits
from poseglass_server.models import Models

CODE = grpc.StatusCode
SIZE = 64


def stub_of(running) -> inference_pb2_grpc.GRPCInferenceServiceStub:
    return inference_pb2_grpc.GRPCInferenceServiceStub(running.channel)


@pytest.fixture
def oip(shared_server):
    """The stub of the shared server."""
    return stub_of(shared_server)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Three crops, [3, H, W, 3]."""
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def request_of(crops: np.ndarray, name: str = "brightness", outputs=(), typed: bool = False, **fields):
    """A request for some crops, with raw or typed contents."""
    image = pb.ModelInferRequest.InferInputTensor(name="image", datatype="UINT8", shape=crops.shape)
    raw = []
    if typed:
        image.contents.uint_contents.extend(crops.ravel().tolist())
    else:
        raw = [crops.tobytes()]
    wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name=output) for output in outputs]
    return pb.ModelInferRequest(model_name=name, inputs=[image], outputs=wanted, raw_input_contents=raw, **fields)


def arrays_of(response: pb.ModelInferResponse) -> dict[str, np.ndarray]:
    """The answer's tensors, by name."""
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    assert {tensor.datatype for tensor in response.outputs} == {"FP32"}
    return {tensor.name: np.frombuffer(raw, "<f4").reshape(tensor.shape) for tensor, raw in pairs}


def test_live_ready_and_metadata(oip):
    assert oip.ServerLive(pb.ServerLiveRequest()).live
    assert oip.ServerReady(pb.ServerReadyRequest()).ready
    assert oip.ModelReady(pb.ModelReadyRequest(name="brightness")).ready
    assert oip.ModelReady(pb.ModelReadyRequest(name="brightness", version="1")).ready
    server = oip.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, list(server.extensions)) == ("poseglass", [])
    assert server.version
    model = oip.ModelMetadata(pb.ModelMetadataRequest(name="brightness", version="1"))
    assert (model.name, list(model.versions), model.platform) == ("brightness", ["2", "1"], "onnxruntime_onnx")
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [("image", "UINT8", [-1, SIZE, SIZE, 3])]
    assert [(t.name, t.datatype, list(t.shape)) for t in model.outputs] == [
        ("heatmaps", "FP32", [-1, 14, 16, 16]),
        ("joints", "FP32", [-1, 14, 2]),
        ("scores", "FP32", [-1, 14]),
    ]


@pytest.mark.parametrize("typed", [False, True])
def test_answers_are_the_networks_own(oip, network, crops, typed):
    response = oip.ModelInfer(request_of(crops, typed=typed, id="a/1"))
    assert (response.model_name, response.model_version, response.id) == ("brightness", "2", "a/1")
    expected = network.run(crops)
    arrays = arrays_of(response)
    assert list(arrays) == ["heatmaps", "joints", "scores"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, getattr(expected, name))


def test_a_crop_is_answered_like_a_picture_whose_box_it_is(shared_server, oip, crops):
    box = pose_pb2.Box(x=SIZE * 0.1, y=SIZE * 0.1, width=SIZE / 1.25, height=SIZE / 1.25)  # 1.25 around it: the picture
    raw = pose_pb2.RawImage(data=crops[0].tobytes(), height=SIZE, width=SIZE, format=pose_pb2.RGB24)
    outputs = pose_pb2.Outputs(heatmaps=True, heatmap_type=pose_pb2.FLOAT32)
    asked = pose_pb2.PredictRequest(image=pose_pb2.Image(raw=raw), boxes=[box], outputs=outputs)
    (person,) = shared_server.pose.Predict(asked).persons
    arrays = arrays_of(oip.ModelInfer(request_of(crops[:1])))
    np.testing.assert_array_equal(np.frombuffer(person.heatmaps.data, "<f4"), arrays["heatmaps"].ravel())
    np.testing.assert_allclose([(joint.x, joint.y) for joint in person.joints], arrays["joints"][0], atol=1e-3)
    np.testing.assert_array_equal(np.float32([joint.score for joint in person.joints]), arrays["scores"][0])


def test_only_what_is_asked_for_is_answered_in_its_order(oip, crops):
    every = arrays_of(oip.ModelInfer(request_of(crops)))
    some = arrays_of(oip.ModelInfer(request_of(crops, outputs=["scores", "joints"])))
    assert list(some) == ["scores", "joints"]
    for name, array in some.items():
        np.testing.assert_array_equal(array, every[name])


def test_models_are_chosen_by_name_and_version(oip, crops):
    def served(name: str, version: str) -> tuple[str, str]:
        response = oip.ModelInfer(request_of(crops[:1], name, ["scores"], model_version=version))
        return response.model_name, response.model_version

    assert served("brightness", "") == ("brightness", "2")
    assert served("brightness", "1") == ("brightness", "1")
    assert served("other", "1") == ("other", "1")


def test_presence_is_there_where_the_model_has_it(serving, make_network, crops):
    network = make_network()
    network.manifest = dataclasses.replace(network.manifest, outputs=(*network.manifest.outputs, "presence"))
    run = network.run
    network.run = lambda images: run(images)._replace(presence=images.mean(axis=(1, 2, 3)).astype(np.float32))
    with serving(network) as running:
        oip = stub_of(running)
        tensors = oip.ModelMetadata(pb.ModelMetadataRequest(name="brightness")).outputs
        assert (tensors[-1].name, list(tensors[-1].shape)) == ("presence", [-1])
        presence = arrays_of(oip.ModelInfer(request_of(crops)))["presence"]
        np.testing.assert_array_equal(presence, crops.mean(axis=(1, 2, 3)).astype(np.float32))


def test_detectors_answer_with_all_their_candidates(serving, network, finder, crops):
    def run(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = int(picture[0, 0, 0])  # as many as the first pixel says
        return np.full((count, 4), count, np.float32), np.full(count, 0.5, np.float32)

    finder.run = run
    pictures = crops.copy()
    pictures[:, 0, 0, 0] = [2, 0, 3]
    with serving(network, detectors=[finder]) as running:
        oip = stub_of(running)
        model = oip.ModelMetadata(pb.ModelMetadataRequest(name="halves"))
        assert [(t.name, list(t.shape)) for t in model.outputs] == [("boxes", [-1, -1, 4]), ("scores", [-1, -1])]
        arrays = arrays_of(oip.ModelInfer(request_of(pictures, "halves")))
    assert arrays["boxes"].shape == (3, 3, 4)
    assert arrays["boxes"][:, :, 0].tolist() == [[2, 2, 0], [0, 0, 0], [3, 3, 3]]
    assert arrays["scores"].tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0.5, 0.5, 0.5]]


def test_models_that_are_not_there(oip, refused, crops):
    for name, version, field in (("horses", "", "name"), ("brightness", "7", "version")):
        for call in (
            lambda n=name, v=version: oip.ModelReady(pb.ModelReadyRequest(name=n, version=v)),
            lambda n=name, v=version: oip.ModelMetadata(pb.ModelMetadataRequest(name=n, version=v)),
        ):
            assert "other version 1" in refused(call, CODE.NOT_FOUND, field)
        infer = request_of(crops[:1], name, model_version=version)
        refused(lambda r=infer: oip.ModelInfer(r), CODE.NOT_FOUND, f"model_{field}")


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "newest", " 1", "01", "\u0661", "9" * 20, "9" * 500_000])
def test_versions_that_are_none(oip, refused, crops, version):
    refused(lambda: oip.ModelReady(pb.ModelReadyRequest(name="other", version=version)), CODE.INVALID_ARGUMENT)
    request = request_of(crops[:1], model_version=version)
    refused(lambda: oip.ModelInfer(request), CODE.INVALID_ARGUMENT, "model_version")


def test_a_model_that_is_refused_is_not_ready(serving, network, finder, refused, crops):
    entries = [
        Entry("horses", 3, State.REFUSED, "the file is broken"),
        Entry("halves", 9, State.LOADING, "it is being loaded"),
    ]
    with serving(network, detectors=[finder]) as running:
        catalogue = running.server._catalogue
        models = catalogue.models
        catalogue._models = Models(list(models), list(models.detectors), entries)
        oip = stub_of(running)
        for name, version in (("horses", ""), ("horses", "3"), ("halves", "9")):
            assert not oip.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready
            request = request_of(crops[:1], name, model_version=version)
            text = refused(lambda r=request: oip.ModelInfer(r), CODE.UNAVAILABLE)
            assert "broken" in text or "loaded" in text
        assert oip.ModelReady(pb.ModelReadyRequest(name="halves")).ready
        assert oip.ServerReady(pb.ServerReadyRequest()).ready


def test_while_it_stops_the_server_is_live_and_not_ready(serving, network, refused, crops):
    with serving(network) as running:
        oip = stub_of(running)
        network.go.clear()
        begun = oip.ModelInfer.future(request_of(crops))
        assert network.started.acquire(timeout=20)
        stopped = running.stop()
        end = time.monotonic() + 20
        while oip.ServerReady(pb.ServerReadyRequest()).ready:
            assert time.monotonic() < end
        assert oip.ServerLive(pb.ServerLiveRequest()).live
        assert not oip.ModelReady(pb.ModelReadyRequest(name="brightness")).ready
        refused(lambda: oip.ModelInfer(request_of(crops)), CODE.UNAVAILABLE)
        network.go.set()
        assert begun.result(20).outputs
        stopped.result(20)


def test_the_queue_and_the_deadline_are_those_of_pictures(serving, network, refused, crops):
    with serving(network, workers=1, queue=1) as running:
        oip = stub_of(running)
        network.go.clear()
        first = oip.ModelInfer.future(request_of(crops))
        assert network.started.acquire(timeout=20)
        refused(lambda: oip.ModelInfer(request_of(crops), timeout=0.2), CODE.DEADLINE_EXCEEDED)
        second = oip.ModelInfer.future(request_of(crops))
        running.wait_for_calls(2)
        refused(lambda: oip.ModelInfer(request_of(crops)), CODE.RESOURCE_EXHAUSTED)
        network.go.set()
        assert first.result(20).outputs
        assert second.result(20).outputs


def test_crops_of_a_request_share_batches(serving, make_network, crops):
    sizes = []
    network = make_network()
    run = network.run
    network.run = lambda images: sizes.append(len(images)) or run(images)
    with serving(network, parallel=1, most=2) as running:
        stub_of(running).ModelInfer(request_of(crops))
    assert sorted(sizes) == [1, 2]


def test_limits(serving, network, refused, crops):
    with serving(network, limits=Limits(max_message_mb=1, max_boxes=80)) as running:
        oip = stub_of(running)
        text = refused(
            lambda: oip.ModelInfer(request_of(crops.repeat(27, axis=0))), CODE.INVALID_ARGUMENT, "inputs[0].shape"
        )
        assert "81" in text
        assert "max_boxes" in text
        text = refused(lambda: oip.ModelInfer(request_of(crops.repeat(30, axis=0))), CODE.RESOURCE_EXHAUSTED)
        assert "max_message_mb" in text
        many = crops.repeat(24, axis=0)
        assert oip.ModelInfer(request_of(many, outputs=["joints"])).outputs
        text = refused(lambda: oip.ModelInfer(request_of(many)), CODE.INVALID_ARGUMENT, "outputs")
        assert "max_message_mb" in text


def test_health_and_reflection_know_the_service(shared_server):
    health = health_pb2_grpc.HealthStub(shared_server.channel)
    reply = health.Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(shared_server.channel)
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService")
    (files,) = stub.ServerReflectionInfo(iter([asked]))
    assert files.file_descriptor_response.file_descriptor_proto


def test_a_failure_tells_nothing_of_the_inside(serving, network, refused, crops, caplog):
    network.run = lambda images: 1 / 0
    with serving(network) as running:
        text = refused(lambda: stub_of(running).ModelInfer(request_of(crops, id="r-17")), CODE.INTERNAL)
    assert "r-17" in text
    assert "division" not in text
