"""What Prometheus is told: counted by a real server, read as Prometheus reads it."""

from __future__ import annotations

import json
import queue
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import generate_latest

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_server import service
from poseglass_server.batcher import Runners
from poseglass_server.entries import Entry, State
from poseglass_server.metrics import Metrics, serving_metrics
from poseglass_server.models import Models
from poseglass_server.security import Security
from poseglass_server.served import DetectorModel, PoseModel
from poseglass_server.server import AddressError
from poseglass_server.tokens import Tokens

WHOLE = pb.Box(x=0, y=0, width=120, height=80)
POSE = "poseglass.v1.PoseService"


@pytest.fixture
def metrics() -> Metrics:
    """Of one's own."""
    return Metrics()


@pytest.fixture
def watched(serving, network, metrics):
    """A server that is counted."""
    with serving(network, observer=metrics, workers=1, queue=1) as running:
        yield running


@pytest.fixture
def value(metrics) -> Callable[..., float]:
    """A metric's value; 0 where nothing was counted."""

    def read(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(f"poseglass_{name}", labels) or 0.0

    return read


@pytest.fixture
def calls(value) -> Callable[..., float]:
    """How many calls of the pose service ended with a code."""

    def read(code: str, method: str = "Predict") -> float:
        return value("requests_total", service=POSE, method=method, code=code)

    return read


def fails(call: Callable[[], Any]) -> None:
    with pytest.raises(grpc.RpcError):
        call()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_calls_are_counted_by_their_code(watched, calls, value, png):
    pose = watched.pose
    pose.Predict(pb.PredictRequest(image=png, boxes=[WHOLE]))
    fails(lambda: pose.Predict(pb.PredictRequest()))
    fails(lambda: pose.Predict(pb.PredictRequest(image=png, model="horses")))
    fails(lambda: watched.channel.unary_unary(f"/{POSE}/Predict")(b"no message"))
    fails(lambda: pose.GetModel(pb.GetModelRequest(name="horses")))
    health_pb2_grpc.HealthStub(watched.channel).Check(health_pb2.HealthCheckRequest())
    assert (calls("OK"), calls("INVALID_ARGUMENT"), calls("NOT_FOUND")) == (1, 2, 1)
    assert calls("NOT_FOUND", "GetModel") == 1
    assert value("requests_total", service="grpc.health.v1.Health", method="Check", code="OK") == 1
    assert value("request_seconds_count", method="Predict", code="OK") == 1
    assert 0 < value("request_seconds_sum", method="Predict", code="OK") < 20


def test_what_callers_make_up_is_no_label(watched, metrics, value, png):
    for name in ("/made.Up/Method", f"/{POSE}/Made", "/", f"/{POSE}/"):
        fails(lambda name=name: watched.channel.unary_unary(name)(b""))
    made_up = pb.PredictRequest(image=png, model="MadeUp", request_id="MadeUp", detector="MadeUp")
    fails(lambda: watched.pose.Predict(made_up))
    list(watched.pose.PredictStream(iter([made_up])))
    assert "made" not in generate_latest(metrics.registry).decode().lower()
    assert value("requests_total", service="unknown", method="unknown", code="UNIMPLEMENTED") == 4


def test_who_is_not_let_in_is_counted_and_no_label(serving, network, metrics, calls, value, tmp_path, png):
    file = tmp_path / "tokens"
    file.write_text("gym " + "u" * 16)
    with serving(network, observer=metrics, security=Security(tokens=Tokens(file))) as running:
        fails(lambda: running.pose.Predict(pb.PredictRequest(image=png)))
        fails(lambda: running.channel.unary_unary("/made.Up/Method")(b""))
    assert calls("UNAUTHENTICATED") == 1
    assert value("requests_total", service="unknown", method="unknown", code="UNAUTHENTICATED") == 1


def test_deadlines_cancelled_calls_and_failures_are_counted(watched, network, calls, png, monkeypatch):
    request = pb.PredictRequest(image=png, boxes=[WHOLE])
    network.go.clear()
    fails(lambda: watched.pose.Predict(request, timeout=0.2))
    wait_for(lambda: calls("DEADLINE_EXCEEDED") == 1)
    call = watched.pose.Predict.future(request)
    watched.wait_for_calls(1)
    call.cancel()
    wait_for(lambda: calls("CANCELLED") == 1)
    network.go.set()

    def broken(models: Models) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(service, "list_models", broken)
    fails(lambda: watched.pose.ListModels(pb.ListModelsRequest()))
    assert calls("UNKNOWN", "ListModels") == 1


def test_a_streams_pictures_are_counted_each(watched, calls, value, png):
    inbox: queue.Queue[pb.PredictRequest | None] = queue.Queue()
    answers = watched.pose.PredictStream(iter(inbox.get, None))
    for request in (pb.PredictRequest(image=png, boxes=[WHOLE]), pb.PredictRequest(), pb.PredictRequest(image=png)):
        inbox.put(request)
        next(answers)
    assert value("streams_open") == 1
    assert value("stream_pictures_total", code="OK") == 2
    assert value("stream_pictures_total", code="INVALID_ARGUMENT") == 1
    inbox.put(None)
    assert list(answers) == []
    assert value("streams_open") == 0
    assert calls("OK", "PredictStream") == 1
    assert value("request_seconds_count", method="PredictStream", code="OK") == 0


def test_stages_batches_and_the_queue(watched, network, value, refused, png):
    two = pb.PredictRequest(image=png, boxes=[WHOLE, WHOLE])
    network.go.clear()
    first = watched.pose.Predict.future(two)
    assert network.started.acquire(timeout=20)
    second = watched.pose.Predict.future(two)
    wait_for(lambda: (value("queue_pictures"), value("working_pictures")) == (1, 1))
    refused(lambda: watched.pose.Predict(two), grpc.StatusCode.RESOURCE_EXHAUSTED)
    network.go.set()
    first.result(20)
    second.result(20)
    wait_for(lambda: (value("queue_pictures"), value("working_pictures")) == (0, 0))
    assert value("refused_total", reason="queue") == 1
    for stage in ("decode", "queue", "inference", "total"):
        assert value("stage_seconds_count", stage=stage) == 2
    assert value("batch_size_sum", model="brightness") == 4
    assert value("batch_seconds_count", model="brightness") == value("batch_size_count", model="brightness") <= 4


def test_the_models_of_the_moment(metrics, network, finder, make_network):
    runners = Runners(1)
    poses = [PoseModel(network, runners), PoseModel(make_network("brightness", 2), runners)]
    refused = Entry("broken", 1, State.REFUSED, "why", "ab", "pose")
    now = Models(poses, [DetectorModel(finder, runners)], [refused, refused, Entry("\udcff", 0, State.LOADING)])
    metrics.tell_models(lambda: now)
    text = generate_latest(metrics.registry).decode()
    found = [
        dict(re.findall(r'(\w+)="([^"]*)"', line))
        for line in text.split("\n")
        if line.startswith("poseglass_model_info{")
    ]
    assert [(model["name"], model["version"], model["state"]) for model in found] == [
        ("brightness", "2", "ready"),
        ("brightness", "1", "ready"),
        ("halves", "1", "ready"),
        ("broken", "1", "refused"),
        ("?", "0", "loading"),
    ]
    assert (found[1]["sha256"], found[1]["provider"], found[1]["kind"]) == (network.ref.sha256, "FakeProvider", "pose")
    assert found[2]["kind"] == "detector"
    now = Models([])
    assert "poseglass_model_info{" not in generate_latest(metrics.registry).decode()
    runners.close()


def test_they_are_told_over_http_as_long_as_it_lasts(metrics):
    with serving_metrics(metrics, "127.0.0.1", 0) as port:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
        with pytest.raises(AddressError, match="--metrics-port"), serving_metrics(metrics, "127.0.0.1", port):
            pass
    assert "process_resident_memory_bytes " in text
    assert "poseglass_queue_pictures 0.0" in text
    with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", port), 20):
        pass


def test_the_command_tells_them_and_logs_json(tiny_model_path):
    code = "import typer; from poseglass_server.commands import serve; typer.run(serve)"
    options = ["--no-detector", "--threads", "1", "--port", "0", "--metrics-port", "0", "--log-format", "json"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--model", str(tiny_model_path), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        told, serving = json.loads(process.stderr.readline()), json.loads(process.stderr.readline())
        address = told["message"].removeprefix("metrics on ")
        text = urllib.request.urlopen(address, timeout=20).read().decode()
        process.terminate()
        rest = [json.loads(line) for line in process.stderr]
        assert process.wait(60) == 0
    finally:
        process.kill()
    (model,) = serving["models"]
    assert serving["message"].startswith("serving on 127.0.0.1:")
    assert f'sha256="{model["sha256"]}"' in text
    assert rest[-1]["message"] == "stopped"
    assert process.stdout is not None
    assert process.stdout.read() == ""
