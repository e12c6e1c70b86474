"""Who calls, what he may do, and how much at once: tokens, the admin right, limits of one caller."""

from __future__ import annotations

import logging
import queue
import re
import time
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from poseglass_core.errors import InvalidInput
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.limits import Limits
from poseglass_server.security import Security, security
from poseglass_server.tokens import Identity, Tokens

WHOLE = pb.Box(x=0, y=0, width=120, height=80)
CODE = grpc.StatusCode

USER, OPERATOR = "u" * 32, "o" * 32


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


@pytest.fixture
def token_file(tmp_path) -> Path:
    """A user's and an operator's token."""
    path = tmp_path / "tokens"
    path.write_text(f"# who comes in\ngym {USER}  # since May\n\nops {OPERATOR} admin\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(serving, network, token_file):
    """A server that wants tokens."""
    with serving(network, security=Security(tokens=Tokens(token_file, look_every=0))) as running:
        yield running


def test_a_token_lets_in(guarded, png):
    request = pb.PredictRequest(image=png, boxes=[WHOLE])
    assert guarded.pose.Predict(request, metadata=bearer(USER)).persons
    assert guarded.pose.Predict(request, metadata=[("authorization", f"bearer  {OPERATOR}")]).persons
    assert len(list(guarded.pose.PredictStream(iter([request] * 3), metadata=bearer(USER)))) == 3


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (None, "authorization: Bearer TOKEN"),
        ([("authorization", USER)], "authorization: Bearer TOKEN"),
        ([("authorization", f"Basic {USER}")], "authorization: Bearer TOKEN"),
        (bearer(USER) + bearer(USER), "authorization: Bearer TOKEN"),
        (bearer(""), "not known"),
        (bearer("x" * 32), "not known"),
        (bearer(USER[:-1]), "not known"),
        (bearer(USER + "u"), "not known"),
        (bearer("gym"), "not known"),
    ],
)
def test_without_the_right_token_nothing_is_done(guarded, network, refused, png, caplog, metadata, says):
    request = pb.PredictRequest(image=png, boxes=[WHOLE])
    caplog.set_level(logging.INFO)
    said = refused(lambda: guarded.pose.Predict(request, metadata=metadata), CODE.UNAUTHENTICATED)
    assert says in said
    assert network.runs == 0
    logged = str([vars(record) for record in caplog.records])
    assert "ipv4:127.0.0.1:" in logged
    for text in (said, logged):
        assert not re.search("u{16}|x{16}|gym", text)


def test_all_services_and_kinds_of_calls_are_behind_the_door(guarded, refused, png):
    channel = guarded.channel
    reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    stream = guarded.pose.PredictStream
    for call in (
        lambda: list(stream(iter([pb.PredictRequest(image=png)]))),
        lambda: list(reflect(iter([question]))),
        lambda: guarded.pose.GetModel(pb.GetModelRequest()),
        lambda: channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b""),
        lambda: channel.unary_unary("/some.Other/Method")(b""),
        lambda: list(channel.unary_stream("/some.Other/Method")(b"")),
        lambda: channel.stream_unary("/some.Other/Method")(iter([b""])),
    ):
        refused(call, CODE.UNAUTHENTICATED)
    assert next(reflect(iter([question]), metadata=bearer(USER))).list_services_response.service
    refused(lambda: channel.unary_unary("/some.Other/Method")(b"", metadata=bearer(USER)), CODE.UNIMPLEMENTED)


def test_health_needs_no_token(guarded):
    health = health_pb2_grpc.HealthStub(guarded.channel)
    assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service="poseglass.v1.PoseService"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_operators_need_the_right(guarded, refused, caplog):
    reload = pose_pb2_grpc.AdminServiceStub(guarded.channel).Reload
    assert "admin right" in refused(lambda: reload(pb.ReloadRequest(), metadata=bearer(USER)), CODE.PERMISSION_DENIED)
    refused(lambda: reload(pb.ReloadRequest()), CODE.UNAUTHENTICATED)
    caplog.set_level(logging.INFO)
    reached = refused(lambda: reload(pb.ReloadRequest(), metadata=bearer(OPERATOR)), CODE.UNIMPLEMENTED)
    assert "repository" in reached
    assert "is called by ops" in caplog.text


def test_without_tokens_operators_are_on_this_machine(serving, network, refused, monkeypatch):
    with serving(network) as running:
        reload = pose_pb2_grpc.AdminServiceStub(running.channel).Reload
        refused(lambda: reload(pb.ReloadRequest()), CODE.UNIMPLEMENTED)
        monkeypatch.setattr("poseglass_server.admin.is_local", lambda peer: False)
        assert "--tokens" in refused(lambda: reload(pb.ReloadRequest()), CODE.PERMISSION_DENIED)


def test_a_revoked_token_is_refused_at_once(guarded, token_file, refused):
    def ask(token: str):
        return guarded.pose.ListModels(pb.ListModelsRequest(), metadata=bearer(token))

    assert ask(USER)
    token_file.write_text(f"ops {OPERATOR} admin\nnew {'n' * 20}\n")
    refused(lambda: ask(USER), CODE.UNAUTHENTICATED)
    assert ask("n" * 20)
    assert ask(OPERATOR)


def test_the_file_of_tokens_is_read_again_with_care(token_file, caplog):
    tokens = Tokens(token_file, look_every=0)
    assert tokens.find(USER) == Identity("gym")
    assert tokens.find(OPERATOR) == Identity("ops", admin=True)
    assert tokens.names == ["gym", "ops"]
    token_file.write_text(f"gym {USER} often\nops {OPERATOR}\n")
    assert tokens.find(USER) is None
    assert tokens.find(OPERATOR) == Identity("ops", admin=False)
    assert "line 1" in caplog.text
    token_file.unlink()
    assert tokens.find(OPERATOR) == Identity("ops", admin=False)
    assert "cannot be read" in caplog.text
    token_file.write_text("")
    assert tokens.find(OPERATOR) is None
    assert USER not in caplog.text


def test_a_name_may_have_several_tokens(token_file):
    token_file.write_text(f"gym {USER}\ngym {'v' * 16}\n")
    tokens = Tokens(token_file)
    assert tokens.find(USER) == tokens.find("v" * 16) == Identity("gym")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no token"),
        ("# nobody\n", "holds no token"),
        (f"\n{USER}\n", "line 2: must be NAME TOKEN"),
        (f"gym {USER} admin now", "line 1: must be NAME TOKEN"),
        (f"gym {USER} ADMIN", "line 1: must be NAME TOKEN"),
        ("gym short", "at least 16"),
        (f"{USER} gym", "at least 16"),
        (f"the/gym {USER}", "the name must"),
        (f"gym {'ü' * 20}", "other characters"),
        (f"a {USER}\nb {USER}", "line 2: the token is also on another line"),
    ],
)
def test_a_file_that_says_something_else_is_refused(token_file, text, says):
    token_file.write_text(text)
    with pytest.raises(InvalidInput, match=re.escape(says)) as caught:
        Tokens(token_file)
    assert caught.value.field == "--tokens"
    assert USER not in str(caught.value)


def test_a_missing_file_is_refused_and_a_readable_one_warned_of(token_file, tmp_path, caplog):
    with pytest.raises(InvalidInput, match="cannot be read"):
        security(tokens=tmp_path / "absent")
    security(tokens=token_file)
    assert "chmod" not in caplog.text
    token_file.chmod(0o640)
    security(tokens=token_file)
    assert f"chmod 600 {token_file}" in caplog.text


def test_tokens_pass_through_tls(serving, network, authority, token_file, refused):
    doors = security(*authority.sign("server"), tokens=token_file)
    with serving(
        network, security=doors, credentials=grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    ) as running:
        refused(lambda: running.pose.ListModels(pb.ListModelsRequest()), CODE.UNAUTHENTICATED)
        assert running.pose.ListModels(pb.ListModelsRequest(), metadata=bearer(USER)).models


def retry_delay(error: grpc.RpcError) -> float:
    """Seconds after which a refused caller should come again."""
    detail = error_details_pb2.RetryInfo()
    (packed,) = rpc_status.from_call(error).details
    assert packed.Unpack(detail)
    return detail.retry_delay.ToTimedelta().total_seconds()


def test_a_caller_has_so_many_requests_in_progress_and_no_more(serving, network, png, connecting):
    request = pb.PredictRequest(image=png, boxes=[WHOLE])
    with (
        serving(network, limits=Limits(max_requests=2), workers=8) as running,
        connecting(f"127.0.0.1:{running.server.port}") as other,
    ):
        network.go.clear()
        held = [running.pose.Predict.future(request) for _ in range(2)]
        running.wait_for_calls(2)
        with pytest.raises(grpc.RpcError) as caught:
            running.pose.Predict(request)
        assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
        assert "--max-requests" in caught.value.details()
        assert retry_delay(caught.value) > 0
        assert health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest())
        theirs = pose_pb2_grpc.PoseServiceStub(other).Predict.future(request)
        running.wait_for_calls(3)
        network.go.set()
        assert all(call.result(20).persons for call in (*held, theirs))
        running.wait_for_calls(0)
        assert running.pose.Predict(request).persons


def test_a_caller_has_so_many_streams_open_and_no_more(serving, network, png, token_file, connecting):
    doors = Security(tokens=Tokens(token_file))
    with (
        serving(network, limits=Limits(max_streams=1), security=doors) as running,
        connecting(f"127.0.0.1:{running.server.port}") as other,
    ):
        network.go.clear()
        requests = [pb.PredictRequest(image=png, boxes=[WHOLE])]
        first = running.pose.PredictStream(iter(requests), metadata=bearer(USER))
        running.wait_for_calls(1)
        elsewhere = pose_pb2_grpc.PoseServiceStub(other).PredictStream
        with pytest.raises(grpc.RpcError) as caught:  # the token is the caller, whatever the connection
            next(elsewhere(iter(requests), metadata=bearer(USER)))
        assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
        assert "--max-streams" in caught.value.details()
        assert retry_delay(caught.value) > 0
        second = elsewhere(iter(requests), metadata=bearer(OPERATOR))
        running.wait_for_calls(2)
        network.go.set()
        assert len(list(first)) == len(list(second)) == 1
        running.wait_for_calls(0)
        assert len(list(elsewhere(iter(requests), metadata=bearer(USER)))) == 1


def test_connections_of_an_age_take_no_new_calls_and_finish_the_old(serving, network, png):
    request = pb.PredictRequest(image=png, boxes=[WHOLE])
    with serving(network, limits=Limits(max_connection_age=0.3)) as running:
        peers = set()
        enter = running.server._calls.enter
        running.server._calls.enter = lambda context: (peers.add(context.peer()), enter(context))
        inbox: queue.Queue[pb.PredictRequest | None] = queue.Queue()
        old = running.pose.PredictStream(iter(inbox.get, None))
        inbox.put(request)
        assert next(old).persons
        end = time.monotonic() + 20
        while len(peers) < 2:
            assert time.monotonic() < end
            assert running.pose.Predict(request).persons
        inbox.put(request)
        assert next(old).persons
        inbox.put(None)
        assert list(old) == []


def test_clients_may_look_whether_a_silent_connection_is_alive(serving, network, png, connecting, monkeypatch):
    monkeypatch.setattr("poseglass_server.transport.LEAST_PING_S", 0.05)
    options = [("grpc.keepalive_time_ms", 100), ("grpc.http2.max_pings_without_data", 0)]
    with (
        serving(network) as running,
        connecting(f"127.0.0.1:{running.server.port}", options=options) as channel,
    ):
        network.go.clear()
        call = pose_pb2_grpc.PoseServiceStub(channel).Predict.future(pb.PredictRequest(image=png, boxes=[WHOLE]))
        time.sleep(4)  # a ping a second; gRPC's own setting ends the connection at the third
        network.go.set()
        assert call.result(20).persons
