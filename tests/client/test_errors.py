"""Every answer of gRPC has its exception, and none gets out unmapped."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, status_pb2

import poseglass
from poseglass import PoseglassError
from poseglass.statuses import from_rpc_error, from_status

CLASSES = {
    "CANCELLED": poseglass.Cancelled,
    "UNKNOWN": poseglass.ServerError,
    "INVALID_ARGUMENT": poseglass.InvalidRequest,
    "DEADLINE_EXCEEDED": poseglass.DeadlineExceeded,
    "NOT_FOUND": poseglass.ModelNotFound,
    "ALREADY_EXISTS": poseglass.ServerError,
    "PERMISSION_DENIED": poseglass.PermissionDenied,
    "UNAUTHENTICATED": poseglass.Unauthenticated,
    "RESOURCE_EXHAUSTED": poseglass.Overloaded,
    "FAILED_PRECONDITION": poseglass.FailedPrecondition,
    "ABORTED": poseglass.ServerError,
    "UNIMPLEMENTED": poseglass.Unimplemented,
    "INTERNAL": poseglass.ServerError,
    "UNAVAILABLE": poseglass.Unavailable,
    "DATA_LOSS": poseglass.ServerError,
    "OUT_OF_RANGE": poseglass.ServerError,
}


def test_every_status_is_in_this_test():
    assert set(CLASSES) == {code.name for code in grpc.StatusCode} - {"OK"}


@pytest.mark.parametrize("name", CLASSES)
def test_every_status_has_its_class(name):
    error = from_status(status_pb2.Status(code=code_pb2.Code.Value(name), message="because"), "there:1")
    assert type(error) is CLASSES[name]
    assert error.code == name
    assert "because" in str(error)
    assert error.to_json()["code"] == name


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"UNAVAILABLE"}))
def test_every_status_through_a_real_call(name, server, client, jpeg):
    server.poses.statuses = [status_pb2.Status(code=code_pb2.Code.Value(name), message="because")]
    with pytest.raises(PoseglassError, match="because") as caught:
        client.predict(jpeg)
    assert type(caught.value) is CLASSES[name]
    assert not isinstance(caught.value, grpc.RpcError)
    assert client.predict(jpeg).poses  # the client is still good


def test_unavailable_is_asked_again(server, client, jpeg):
    server.poses.statuses = [status_pb2.Status(code=code_pb2.UNAVAILABLE, message="restarting")]
    assert client.predict(jpeg).poses
    assert len(server.poses.requests) == 2


def test_unavailable_names_the_address_and_what_to_do(nobody, jpeg):
    with (
        poseglass.PoseClient(nobody) as client,
        pytest.raises(poseglass.Unavailable, match="poseglass serve") as caught,
    ):
        client.predict(jpeg)
    assert nobody in str(caught.value)


def test_a_server_that_is_there_and_not_ready_is_not_called_absent(server, jpeg):
    server.poses.statuses = [status_pb2.Status(code=code_pb2.UNAVAILABLE, message="a model is being loaded")]
    with (
        poseglass.PoseClient(server.address, retries=0) as client,
        pytest.raises(poseglass.Unavailable, match="is there, but not ready: a model is being loaded") as caught,
    ):
        client.predict(jpeg)
    assert "no server answers" not in str(caught.value)
    assert caught.value.transient


@pytest.mark.parametrize(
    ("address", "told", "hinted"),
    [
        ("localhost:1", "ipv6:%5B::1%5D:1: Connection refused", True),  # the server listens on the other address
        ("[::1]:1", "ipv6:%5B::1%5D:1: Connection refused", False),
        ("127.0.0.1:1", "ipv4:127.0.0.1:1: Connection refused", False),
        ("127.0.0.1:1", "ipv4:127.0.0.1:1: Socket closed", True),
    ],
)
def test_tls_is_hinted_at_where_it_may_be_the_reason(address, told, hinted):
    error = from_rpc_error(Call(b"\xff", grpc.StatusCode.UNAVAILABLE, told), address)
    assert f"no server answers at {address}" in str(error)
    assert ("--tls" in str(error)) == hinted


def test_invalid_argument_names_field_and_reason(bad):
    error = from_status(bad(("boxes[2].width", "must be greater than 0"), ("version", "is odd")))
    assert isinstance(error, poseglass.InvalidRequest)
    assert isinstance(error, ValueError)
    assert error.field == "boxes[2].width"
    assert error.reason.startswith("must be greater than 0")
    assert "version: is odd" in str(error)
    assert error.to_json()["field"] == "boxes[2].width"


def test_overloaded_says_when_to_come_back(status, retry):
    error = from_status(status(code_pb2.RESOURCE_EXHAUSTED, "the queue is full", retry(0.25)))
    assert isinstance(error, poseglass.Overloaded)
    assert error.retry_after == 0.25
    assert from_status(status(code_pb2.RESOURCE_EXHAUSTED, "the queue is full")).retry_after is None


def test_details_that_cannot_be_read_do_not_hide_the_error():
    broken = any_pb2.Any(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\xff\xff")
    error = from_status(status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="no good", details=[broken]))
    assert isinstance(error, poseglass.InvalidRequest)
    assert str(error) == "no good"


class Call(grpc.RpcError):
    def __init__(self, details: bytes, code: grpc.StatusCode = grpc.StatusCode.NOT_FOUND, text: str = "plain") -> None:
        self._details, self._code, self._text = details, code, text

    def code(self):
        return self._code

    def details(self):
        return self._text

    def trailing_metadata(self):
        return [("other", "x"), ("grpc-status-details-bin", self._details)]


@pytest.mark.parametrize(
    "details", [b"\xff\xff", status_pb2.Status(code=code_pb2.INTERNAL, message="x").SerializeToString()]
)
def test_a_rich_status_that_is_broken_or_contradicts_is_left_aside(details):
    error = from_rpc_error(Call(details))
    assert isinstance(error, poseglass.ModelNotFound)
    assert str(error) == "plain"


def test_a_status_that_grpc_lost_is_not_passed_off_as_the_servers(monkeypatch):
    monkeypatch.setattr(Call, "details", lambda self: "Internal error from Core")
    error = from_rpc_error(Call(b""))
    assert isinstance(error, poseglass.ServerError)
    assert "ended the stream" in str(error)


def test_a_code_that_is_not_known_is_a_server_error():
    error = from_status(status_pb2.Status(code=99, message="from the future"))
    assert isinstance(error, poseglass.ServerError)
    assert error.code == "99"


def test_too_large_for_the_client_is_not_sent(server, jpeg):
    with poseglass.PoseClient(server.address, max_message_mb=1) as client:
        with pytest.raises(poseglass.MessageTooLarge, match="--max-message-mb") as caught:
            client.predict(jpeg + bytes(1 << 20))
        assert "max_message_mb" in str(caught.value)
    assert server.poses.requests == []


def test_too_large_for_the_server_names_the_setting(client, jpeg):
    with pytest.raises(poseglass.MessageTooLarge, match="--max-message-mb"):
        client.predict(jpeg + bytes(9 << 20))  # the fake server takes 8 MiB


def test_an_answer_too_large_for_the_client_names_the_setting(server, jpeg, monkeypatch):
    monkeypatch.setattr(server.poses, "answer", lambda request: _huge())
    client = poseglass.PoseClient(server.address, max_message_mb=1)
    with client, pytest.raises(poseglass.MessageTooLarge, match="max_message_mb") as caught:
        client.predict(jpeg)
    assert "CLIENT: Received message larger than max" in str(caught.value)


@pytest.mark.parametrize("message", ["Method not found!", "unknown service poseglass.v1.PoseService", ""])
def test_a_server_without_the_service_is_no_poseglass_server(message):
    error = from_status(status_pb2.Status(code=code_pb2.UNIMPLEMENTED, message=message), "there:1")
    assert isinstance(error, poseglass.Unimplemented)
    assert "there:1 is not a Poseglass server" in str(error)


def _huge():
    from poseglass_proto.v1 import pose_pb2 as pb

    return pb.PredictResponse(provider="x" * (2 << 20))
