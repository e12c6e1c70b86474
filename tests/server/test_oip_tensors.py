"""Tensors of the Open Inference Protocol: what is wrong is named, and what is right is read as it is."""

from __future__ import annotations

import re
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseglass_core.errors import InvalidInput
from poseglass_proto.oip import inference_pb2 as pb
from poseglass_proto.oip import inference_pb2_grpc
from poseglass_server.oip_tensors import Tensor, asked_outputs, images_reader

SIZE = 64
BYTES = SIZE * SIZE * 3
TAKES = Tensor("image", "UINT8", (-1, 2, 3, 3))

Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor
Contents = pb.InferTensorContents
Parameter = pb.InferParameter


def image(**fields) -> pb.ModelInferRequest.InferInputTensor:
    """The input of one black crop, without contents."""
    return Input(**{"name": "image", "datatype": "UINT8", "shape": [1, SIZE, SIZE, 3]} | fields)


RAW = [bytes(BYTES)]

BAD: dict[str, tuple[str, dict]] = {
    "nothing": ("inputs", {"inputs": [], "raw_input_contents": []}),
    "raw without an input": ("inputs", {"inputs": []}),
    "another name": ("inputs[0].name", {"inputs": [image(name="picture")]}),
    "one too many": ("inputs[1].name", {"inputs": [image(), image(name="boxes")]}),
    "twice": ("inputs[1].name", {"inputs": [image(), image()], "raw_input_contents": RAW * 2}),
    "floats": ("inputs[0].datatype", {"inputs": [image(datatype="FP32")]}),
    "no type": ("inputs[0].datatype", {"inputs": [image(datatype="")]}),
    "no shape": ("inputs[0].shape", {"inputs": [image(shape=[])]}),
    "no batch": ("inputs[0].shape", {"inputs": [image(shape=[SIZE, SIZE, 3])]}),
    "five sizes": ("inputs[0].shape", {"inputs": [image(shape=[1, 1, SIZE, SIZE, 3])]}),
    "another size": ("inputs[0].shape", {"inputs": [image(shape=[1, SIZE, SIZE + 1, 3])]}),
    "channels first": ("inputs[0].shape", {"inputs": [image(shape=[1, 3, SIZE, SIZE])]}),
    "none of them": ("inputs[0].shape", {"inputs": [image(shape=[0, SIZE, SIZE, 3])], "raw_input_contents": [b""]}),
    "fewer than none": ("inputs[0].shape", {"inputs": [image(shape=[-1, SIZE, SIZE, 3])]}),
    "the least": ("inputs[0].shape", {"inputs": [image(shape=[-(2**63), SIZE, SIZE, 3])]}),
    "the most": ("inputs[0].shape", {"inputs": [image(shape=[2**63 - 1, SIZE, SIZE, 3])]}),
    "overflow to the right length": ("inputs[0].shape", {"inputs": [image(shape=[2**52 + 1, SIZE, SIZE, 3])]}),
    "two negatives": ("inputs[0].shape", {"inputs": [image(shape=[1, -SIZE, -SIZE, 3])]}),
    "no end of sizes": ("inputs[0].shape", {"inputs": [image(shape=range(500_000))]}),
    "too many": ("inputs[0].shape", {"inputs": [image(shape=[101, SIZE, SIZE, 3])]}),
    "no contents": ("inputs[0].contents", {"raw_input_contents": []}),
    "empty contents": ("inputs[0].contents", {"inputs": [image(contents=Contents())], "raw_input_contents": []}),
    "both": ("raw_input_contents", {"inputs": [image(contents=Contents(uint_contents=bytes(BYTES)))]}),
    "raw for two": ("raw_input_contents", {"raw_input_contents": RAW * 2}),
    "raw too short": ("raw_input_contents[0]", {"raw_input_contents": [bytes(BYTES - 1)]}),
    "raw too long": ("raw_input_contents[0]", {"raw_input_contents": [bytes(BYTES + 1)]}),
    "raw of nothing": ("raw_input_contents[0]", {"raw_input_contents": [b""]}),
    "wrong contents": (
        "inputs[0].contents.fp32_contents",
        {"inputs": [image(contents=Contents(fp32_contents=[0.5]))], "raw_input_contents": []},
    ),
    "two kinds of contents": (
        "inputs[0].contents.int_contents",
        {"inputs": [image(contents=Contents(uint_contents=bytes(BYTES), int_contents=[1]))], "raw_input_contents": []},
    ),
    "typed too short": (
        "inputs[0].contents.uint_contents",
        {"inputs": [image(contents=Contents(uint_contents=[1, 2]))], "raw_input_contents": []},
    ),
    "typed and no byte": (
        "inputs[0].contents.uint_contents",
        {"inputs": [image(contents=Contents(uint_contents=[7, 256] + [0] * (BYTES - 2)))], "raw_input_contents": []},
    ),
    "shared memory": (
        "inputs[0].parameters",
        {"inputs": [image(parameters={"shared_memory_region": Parameter(string_param="a")})]},
    ),
    "unknown output": ("outputs[1].name", {"outputs": [Output(name="joints"), Output(name="depth")]}),
    "output without a name": ("outputs[0].name", {"outputs": [Output()]}),
    "output twice": ("outputs[1].name", {"outputs": [Output(name="joints"), Output(name="joints")]}),
    "classes": (
        "outputs[0].parameters",
        {"outputs": [Output(name="scores", parameters={"classification": Parameter(int64_param=3)})]},
    ),
    "a long id": ("id", {"id": "x" * 500_000}),
    "long names": ("inputs[0].name", {"inputs": [image(name="x" * 500_000)]}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_field(shared_server, refused, case):
    field, fields = BAD[case]
    oip = inference_pb2_grpc.GRPCInferenceServiceStub(shared_server.channel)
    good = {"model_name": "brightness", "inputs": [image()], "raw_input_contents": RAW}
    request = pb.ModelInferRequest(**good | fields)
    refused(lambda: oip.ModelInfer(request), grpc.StatusCode.INVALID_ARGUMENT, field)
    assert oip.ModelInfer(pb.ModelInferRequest(**good)).outputs


def test_what_was_wrong_is_shown(shared_server, refused):
    oip = inference_pb2_grpc.GRPCInferenceServiceStub(shared_server.channel)

    def said(case: str) -> str:
        request = pb.ModelInferRequest(
            **{"model_name": "brightness", "inputs": [image()], "raw_input_contents": RAW} | BAD[case][1]
        )
        return refused(lambda: oip.ModelInfer(request), grpc.StatusCode.INVALID_ARGUMENT)

    assert "`image`, UINT8 [N, 64, 64, 3]" in said("nothing")
    assert "[1, 64, 65, 3]" in said("another size")
    assert "500,000 sizes" in said("no end of sizes")
    assert "12,287 bytes" in said("raw too short")
    assert "value 1 is 256" in said("typed and no byte")
    assert "heatmaps, joints, scores" in said("unknown output")


def test_parameters_of_no_consequence_are_passed_over(shared_server):
    oip = inference_pb2_grpc.GRPCInferenceServiceStub(shared_server.channel)
    parameters = {"content_type": Parameter(string_param="np")}
    request = pb.ModelInferRequest(
        model_name="brightness",
        parameters=parameters,
        inputs=[image(parameters=parameters)],
        outputs=[Output(name="scores", parameters=parameters)],
        raw_input_contents=RAW,
    )
    assert oip.ModelInfer(request).outputs


def test_bytes_that_are_no_message(shared_server, refused):
    call = shared_server.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    said = refused(lambda: call(b"\xff\xff no message", timeout=10), grpc.StatusCode.INVALID_ARGUMENT)
    assert "Open Inference Protocol" in said


sizes = st.one_of(st.integers(-3, 5), st.sampled_from([2, 3]), st.integers(-(2**63), 2**63 - 1))
shapes = st.one_of(st.builds(lambda n: [n, 2, 3, 3], sizes), st.lists(sizes, max_size=6))
inputs = st.builds(
    Input,
    name=st.sampled_from(["image", "image", "", "x"]),
    datatype=st.sampled_from(["UINT8", "UINT8", "FP32", "uint8"]),
    shape=shapes,
    contents=st.none() | st.builds(Contents, uint_contents=st.lists(st.integers(0, 300), max_size=40)),
)
requests = st.builds(
    pb.ModelInferRequest,
    inputs=st.lists(inputs, max_size=2),
    raw_input_contents=st.lists(st.binary(max_size=60), max_size=2),
)


@given(requests)
def test_whatever_comes_is_read_or_refused(request):
    try:
        count, read = images_reader(request, TAKES, 4)
        images = read()
    except InvalidInput as refusal:
        assert re.match("inputs|raw_input_contents", refusal.field)  # noqa: PT017 - nor must anything else be raised
        return
    (tensor,) = request.inputs
    assert images.dtype == np.uint8
    assert list(images.shape) == list(tensor.shape)
    assert count == len(images) <= 4


@given(st.data(), st.integers(1, 4), st.booleans())
def test_what_is_right_is_read_as_it_is(data, count, typed):
    values = data.draw(st.binary(min_size=count * 18, max_size=count * 18))
    tensor = Input(name="image", datatype="UINT8", shape=[count, 2, 3, 3])
    if typed:
        tensor.contents.uint_contents.extend(values)
    request = pb.ModelInferRequest(inputs=[tensor], raw_input_contents=[] if typed else [values])
    found, read = images_reader(request, TAKES, 4)
    assert found == count
    assert read().tobytes() == values


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4))
def test_outputs_are_chosen_or_refused(names):
    gives = [Tensor(name, "FP32", (-1, 6)) for name in "abc"]
    asked = [SimpleNamespace(name=name, parameters={}) for name in names]
    try:
        chosen = [tensor.name for tensor in asked_outputs(asked, gives)]
    except InvalidInput:
        assert "d" in names or len(set(names)) < len(names)
    else:
        assert chosen == (names or ["a", "b", "c"])
