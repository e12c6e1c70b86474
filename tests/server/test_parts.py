"""The server's parts without a server: heatmap bytes, models by name, the map of errors."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from poseglass_core.errors import InvalidInput, NotSupported
from poseglass_core.poses import Heatmaps
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_server.batcher import Runners
from poseglass_server.convert import encode_heatmaps
from poseglass_server.errors import (
    LONGEST_TEXT,
    Expired,
    Forbidden,
    MessageTooLarge,
    Overloaded,
    ShuttingDown,
    Unauthenticated,
    Unimplemented,
    UnknownModel,
    to_status,
)
from poseglass_server.models import Models
from poseglass_server.served import DetectorModel, PoseModel

VALUES = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.floats(0, 1, width=32),
)
AFFINE = np.array([[4.5, -0.25, 1 / 3], [0.25, 4.5, 7.0]])


@given(VALUES, st.booleans())
def test_heatmap_bytes_hold_the_values(values, transposed):
    if transposed:
        values = values.transpose(0, 2, 1)  # not C order in memory
    kinds = (  # the relative error, and float16's absolute one where its numbers are subnormal
        (pb.FLOAT32, "<f4", 0.0, 0.0),
        (pb.FLOAT16, "<f2", 2**-11, 2**-25),
        (pb.UINT8, "u1", 0.502 / 255, 0.0),
    )
    for kind, dtype, error, step in kinds:
        message = encode_heatmaps(Heatmaps(values, AFFINE), kind)
        back = np.frombuffer(message.data, dtype).reshape(message.shape).astype(np.float64)
        if kind == pb.UINT8:
            back *= np.array(message.scale)[:, None, None]
        assert np.abs(back - values).max() <= error * values.max() + step + 1e-37
        assert list(message.to_image) == AFFINE.ravel().tolist()


@pytest.fixture
def shelve():
    """Models of fakes: `shelve(networks, detectors)`."""
    runners = Runners()
    yield lambda networks, detectors=(): Models(
        [PoseModel(network, runners) for network in networks], [DetectorModel(d, runners) for d in detectors]
    )
    runners.close()


def test_models_need_names_of_their_own(make_network, shelve):
    with pytest.raises(ValueError, match="'a' version 2"):
        shelve([make_network("a", 1), make_network("a", 2), make_network("a", 2)])


def test_detectors_are_named_like_models(make_network, make_finder, shelve):
    network = make_network("a", 1)
    with pytest.raises(ValueError, match="two detectors are called 'd' version 2"):
        shelve([network], [make_finder("d", 2), make_finder("d", 2)])
    with pytest.raises(ValueError, match="a pose model and a detector are both called 'a'"):
        shelve([network], [make_finder("a", 7)])
    models = shelve([network], [make_finder("d", 9), make_finder("e", 1), make_finder("d", 10)])
    assert models.detector("").ref.version == models.detector("d").ref.version == 10
    assert models.detector("e").ref.name == "e"
    assert [m.ref.name for m in models] == ["a"]
    assert shelve([network]).detector("") is None
    with pytest.raises(UnknownModel, match="no detector is called 'f'; there are: d version 10, d version 9, e"):
        models.detector("f")


def test_the_newest_version_is_the_greatest_not_the_last(make_network, shelve):
    models = shelve([make_network("a", 9), make_network("a", 10), make_network("b", 1), make_network("a", 2)])
    assert models.default.ref.version == 10
    assert models.get("a", 0).ref.version == 10
    assert [(m.ref.name, m.ref.version) for m in models] == [("a", 10), ("a", 9), ("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (InvalidInput("boxes[0].x", "is wrong"), grpc.StatusCode.INVALID_ARGUMENT, error_details_pb2.BadRequest),
        (DecodeError("secret"), grpc.StatusCode.INVALID_ARGUMENT, None),
        (UnknownModel("model", "is not here"), grpc.StatusCode.NOT_FOUND, error_details_pb2.BadRequest),
        (NotSupported("no"), grpc.StatusCode.FAILED_PRECONDITION, error_details_pb2.PreconditionFailure),
        (MessageTooLarge("too large"), grpc.StatusCode.RESOURCE_EXHAUSTED, error_details_pb2.ErrorInfo),
        (Overloaded("full", 0.5), grpc.StatusCode.RESOURCE_EXHAUSTED, error_details_pb2.RetryInfo),
        (Expired("late"), grpc.StatusCode.DEADLINE_EXCEEDED, None),
        (ShuttingDown("closing"), grpc.StatusCode.UNAVAILABLE, None),
        (Unauthenticated("who"), grpc.StatusCode.UNAUTHENTICATED, None),
        (Forbidden("not you"), grpc.StatusCode.PERMISSION_DENIED, None),
        (Unimplemented("not here"), grpc.StatusCode.UNIMPLEMENTED, None),
        (KeyError("secret"), grpc.StatusCode.INTERNAL, error_details_pb2.RequestInfo),
        (ValueError("secret"), grpc.StatusCode.INTERNAL, error_details_pb2.RequestInfo),
    ],
)
def test_every_error_has_its_code_and_details(error, code, detail):
    status = to_status(error, "r")
    assert status.code == code.value[0]
    assert [any_.Is(detail.DESCRIPTOR) for any_ in status.details] == ([] if detail is None else [True])
    assert "secret" not in str(status)


def test_an_unknown_failure_without_an_id_gets_one(caplog):
    message = to_status(RuntimeError("secret"), "").message
    assert message.split("'")[1] in caplog.text


@given(st.text(min_size=LONGEST_TEXT, max_size=3000))
def test_long_texts_fit_into_headers(text):
    status = to_status(InvalidInput("outputs.joints[0]", f"{text}; use others"), "r")
    assert len(status.message.encode()) <= LONGEST_TEXT + 10
    assert status.message.endswith("; use others")
    assert status.ByteSize() < 4000
