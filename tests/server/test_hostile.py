"""Whatever bytes come in, the server answers with a code that says whose fault it is, and goes on."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poseglass_proto.oip import inference_pb2 as oip
from poseglass_proto.v1 import pose_pb2 as pb

PREDICT = "/poseglass.v1.PoseService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
OWN_FAULT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}

quickly = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.sampled_from([0, 1, 2, 255, 2**16, 10**9, 2**31 - 1, 2**32 - 1]) | st.integers(0, 2**32 - 1)
boxes = st.builds(
    pb.Box,
    **dict.fromkeys(("x", "y", "width", "height", "angle"), st.floats(width=32) | st.floats(-100, 100, width=32)),
)
raw_pictures = st.builds(
    pb.RawImage, data=st.binary(max_size=64), height=numbers, width=numbers, format=st.integers(-1, 4)
)
requests = st.builds(
    pb.PredictRequest,
    request_id=st.text(max_size=300),
    model=st.sampled_from(["", "brightness"]) | st.text(max_size=20),
    version=st.sampled_from([0, 1]) | numbers,
    boxes=st.lists(boxes, max_size=3),
    locate=st.integers(-1, 3),
    outputs=st.builds(
        pb.Outputs,
        heatmaps=st.booleans(),
        heatmap_type=st.integers(-1, 3),
        joints=st.lists(st.sampled_from(["neck", "left_knee"]) | st.text(max_size=9), max_size=3),
    ),
    thresholds=st.builds(pb.Thresholds, joint=st.floats(width=32), overlap=st.floats(width=32)),
    timestamp_s=st.floats(),
)
tensors = st.builds(
    oip.ModelInferRequest.InferInputTensor,
    name=st.sampled_from(["image", "picture"]),
    datatype=st.sampled_from(["UINT8", "FP32", ""]),
    shape=st.just([1, 64, 64, 3]) | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
)


@st.composite
def meddled(draw, whole: bytes) -> bytes:
    """Bytes with a few of them changed, put in or taken away."""
    data = bytearray(whole)
    for at in draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=4)):
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=12))
    return bytes(data)


@pytest.fixture
def survives(shared_server, png):
    """Sends bytes, and then a request that must be served; gives the code of the first."""

    def check(method: str, data: bytes) -> grpc.StatusCode:
        code = grpc.StatusCode.OK
        try:
            shared_server.channel.unary_unary(method)(data, timeout=20)
        except grpc.RpcError as error:
            code = error.code()
        assert code not in OWN_FAULT | {grpc.StatusCode.DEADLINE_EXCEEDED}, data
        whole = pb.PredictRequest(image=png, boxes=[pb.Box(width=120, height=80)])
        assert len(shared_server.pose.Predict(whole, timeout=20).persons) == 1
        return code

    return check


@quickly
@given(data=st.data())
def test_messages_that_were_meddled_with(survives, png, data):
    whole = pb.PredictRequest(image=png, boxes=[pb.Box(width=120, height=80)], model="brightness")
    survives(PREDICT, data.draw(meddled(whole.SerializeToString())))


@quickly
@given(data=st.data())
def test_pictures_that_were_meddled_with(survives, png, data):
    picture = pb.Image(encoded=data.draw(meddled(png.encoded)))
    survives(PREDICT, pb.PredictRequest(image=picture, boxes=[pb.Box(width=120, height=80)]).SerializeToString())


@quickly
@given(request=requests, raw=st.none() | raw_pictures)
def test_values_out_of_all_bounds(survives, png, request, raw):
    request.image.CopyFrom(png if raw is None else pb.Image(raw=raw))
    survives(PREDICT, request.SerializeToString())


@quickly
@given(inputs=st.lists(tensors, max_size=2), contents=st.lists(st.sampled_from([b"", bytes(64 * 64 * 3)]), max_size=2))
def test_tensors_that_do_not_fit(survives, inputs, contents):
    message = oip.ModelInferRequest(model_name="brightness", inputs=inputs, raw_input_contents=contents)
    survives(INFER, message.SerializeToString())


@pytest.mark.parametrize(
    "method", ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
)
def test_streams_of_other_services_refuse_what_is_no_message(shared_server, refused, method):
    def send() -> None:
        list(shared_server.channel.stream_stream(method)(iter([b"\xff\xff no message"]), timeout=20))

    assert "DecodeError" not in refused(send, grpc.StatusCode.INVALID_ARGUMENT)
