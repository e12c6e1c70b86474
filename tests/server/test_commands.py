"""`poseglass serve` as a process of its own."""

from __future__ import annotations

import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from poseglass_core.manifest import METADATA_KEY, parse_manifest
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.commands import ready_line
from poseglass_server.models import Models

SERVE = [sys.executable, "-c", "import typer; from poseglass_server.commands import serve; typer.run(serve)"]


def fails(*arguments: object) -> str:
    """Runs a command that must refuse, with exit code 2 and one line; gives the line."""
    done = subprocess.run([*SERVE, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("poseglass serve: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@contextmanager
def running(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server process, its address and its ready line."""
    process = subprocess.Popen([*SERVE, "--port", "0", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"serving on (127\.0\.0\.1:\d+): ", line)
        assert found, line
        yield process, found[1], line
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def serve_tiny(tiny_model_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The tiny model, served."""
    with running("--model", tiny_model_path, "--no-detector", "--threads", 1) as served:
        yield served


def memory_peak(pid: int) -> float:
    """Most resident memory that a process ever had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def test_it_says_what_it_serves_and_serves_it(serve_tiny, tiny_model_path, encode, picture):
    _, address, line = serve_tiny
    with grpc.insecure_channel(address) as channel:
        pose = pose_pb2_grpc.PoseServiceStub(channel)
        (model,) = pose.ListModels(pb.ListModelsRequest()).models
        answer = pose.Predict(pb.PredictRequest(image=pb.Image(encoded=encode(picture))))
    assert (
        f"{model.ref.name} version {model.ref.version} (default); CPUExecutionProvider, 1 thread; no detector" in line
    )
    assert parse_manifest(model.manifest_json).name == model.ref.name
    assert answer.provider == "CPUExecutionProvider"
    assert len(answer.persons[0].joints) == 14


def test_a_port_in_use_is_refused(serve_tiny, tiny_model_path):
    port = serve_tiny[1].split(":")[1]
    line = fails("--model", tiny_model_path, "--port", port)
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line


def test_a_foreign_address_is_refused(tiny_model_path):
    line = fails("--model", tiny_model_path, "--host", "192.0.2.1", "--port", 0, "--insecure")
    assert "cannot listen on 192.0.2.1" in line


def test_other_machines_are_let_in_over_tls_or_on_ones_word(tiny_model_path):
    line = fails("--model", tiny_model_path, "--host", "0.0.0.0", "--port", 0)
    assert line.startswith("poseglass serve: --host: ")
    assert "--tls-cert" in line
    assert "--insecure" in line


def test_doors_and_limits_are_options(tiny_model_path, authority, tmp_path):
    certificate, key = authority.sign("server")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gym {'u' * 16}")
    doors = ["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", authority.certificate, "--tokens", tokens]
    limits = ["--max-streams", 1, "--max-requests", 9, "--max-connection-age", 60]
    pair = authority.sign("camera")
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), pair[1].read_bytes(), pair[0].read_bytes()
    )
    metadata = [("authorization", f"Bearer {'u' * 16}")]
    with (
        running("--model", tiny_model_path, "--no-detector", *doors, *limits) as (_, address, _line),
        grpc.secure_channel(address, credentials) as channel,
    ):
        pose = pose_pb2_grpc.PoseServiceStub(channel)
        assert pose.ListModels(pb.ListModelsRequest(), metadata=metadata).models
        with pytest.raises(grpc.RpcError) as caught:
            pose.ListModels(pb.ListModelsRequest())
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        inbox: queue.Queue[None] = queue.Queue()
        open_stream = pose.PredictStream(iter(inbox.get, None), metadata=metadata)
        with pytest.raises(grpc.RpcError) as caught:
            list(pose.PredictStream(iter(()), metadata=metadata))
        assert "--max-streams" in caught.value.details()
        inbox.put(None)
        assert list(open_stream) == []


def test_it_listens_where_it_is_told_and_nowhere_else(serve_tiny):
    port = int(serve_tiny[1].split(":")[1])
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))


def test_models_that_cannot_be_served_are_refused(tiny_model_path, tmp_path):
    import onnx

    assert "no such file" in fails("--model", tmp_path / "absent.onnx")
    assert "horses" in fails("--model", "horses")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    assert "broken.onnx" in fails("--model", broken)
    unproven = onnx.load(str(tiny_model_path))
    for entry in unproven.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = re.sub(r'"parity": \{[^{}]*(\{[^{}]*\}[^{}]*)*\}', '"parity": {}', entry.value)
    onnx.save(unproven, str(tmp_path / "unproven.onnx"))
    assert "parity" in fails("--model", tmp_path / "unproven.onnx")
    assert "version" in fails("--model", tiny_model_path, "--model", tiny_model_path)


def test_detectors_are_served_beside_models(tiny_model_path, tiny_detector_path, make_detector, tmp_path, encode):
    dets = np.array([[[0, 0, 64, 64, 0.9]]], np.float32)
    outputs = {"dets": dets, "labels": np.zeros((1, 1), np.int64)}
    foreign = make_detector(tmp_path / "foreign.onnx", outputs, adapter="mmdeploy")
    arguments = ["--model", tiny_model_path, "--detector", tiny_detector_path, "--detector", foreign, "--threads", 1]
    with running(*arguments) as (_, address, line), grpc.insecure_channel(address) as channel:
        assert "1 thread; people found by halves version 1 (default), foreign version 1\n" in line
        pose = pose_pb2_grpc.PoseServiceStub(channel)
        assert [m.kind for m in pose.ListModels(pb.ListModelsRequest()).models] == [pb.POSE, pb.DETECTOR, pb.DETECTOR]
        image = pb.Image(encoded=encode(np.zeros((100, 100, 3), np.uint8)))
        thresholds = pb.Thresholds(overlap=1)
        answer = pose.Predict(pb.PredictRequest(image=image, thresholds=thresholds))
        assert answer.detector.name == "halves"
        assert sorted(person.box.x for person in answer.persons) == [0, 50]
        answer = pose.Predict(pb.PredictRequest(image=image, detector="foreign", locate=pb.DETECT))
        assert [(person.box.width, person.box.height) for person in answer.persons] == [(100, 100)]


def test_detectors_that_cannot_be_served_are_refused(tiny_model_path, tiny_detector_path):
    assert "kind: this is a detector" in fails("--model", tiny_detector_path)
    assert "kind: this is a pose model" in fails("--model", tiny_model_path, "--detector", tiny_model_path)
    assert "no such file" in fails("--model", tiny_model_path, "--detector", "absent.onnx")
    both = ["--detector", tiny_detector_path]
    assert "version" in fails("--model", tiny_model_path, *both, *both)
    assert "leave one out" in fails("--model", tiny_model_path, *both, "--no-detector")


def test_a_repository_is_served_and_looked_at_again(tiny_model_path, tmp_path):
    file = tmp_path / "tiny" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    shutil.copy(tiny_model_path, file)
    broken = tmp_path / "broken" / "1" / "model.onnx"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"not a model")
    with (
        running("--models", tmp_path, "--default", "tiny", "--threads", 1) as (_, address, line),
        grpc.insecure_channel(address) as channel,
    ):
        assert "tiny version 1 (default); CPUExecutionProvider, 1 thread; no detector" in line
        listed = pose_pb2_grpc.PoseServiceStub(channel).ListModels(pb.ListModelsRequest()).models
        assert [(m.ref.name, m.state) for m in listed] == [("tiny", pb.READY), ("broken", pb.REFUSED)]
        shutil.rmtree(broken.parents[1])
        shutil.rmtree(file.parents[1])
        (retired,) = pose_pb2_grpc.AdminServiceStub(channel).Reload(pb.ReloadRequest()).models
        assert (retired.ref.name, retired.state) == ("tiny", pb.RETIRING)


def test_options_that_would_do_nothing_or_too_much_are_refused(tiny_model_path):
    assert "--metrics-host: is of --metrics-port" in fails("--model", tiny_model_path, "--metrics-host", "0.0.0.0")
    for option in ("--threads", "--max-streams", "--max-requests", "--max-connection-age"):
        arguments = ["--model", tiny_model_path, "--port", 0, option, 10**12]
        done = subprocess.run([*SERVE, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert f"Invalid value for '{option}'" in done.stderr


def test_the_help_shows_what_stands_in_brackets():
    done = subprocess.run([*SERVE, "--help"], capture_output=True, text=True, timeout=120, env={"COLUMNS": "200"})
    assert "NAME TOKEN [admin]" in done.stdout


def test_an_ipv6_address_can_be_copied_from_theready_line():
    assert ready_line("::1", 50051, Models([]), 1).startswith("serving on [::1]:50051: ")


def test_an_empty_repository_is_no_reason_to_stop(tmp_path):
    with running("--models", tmp_path, "--watch", 60) as (process, _, line):
        assert "no model is ready" in line
        process.terminate()
        assert process.wait(20) == 0


def test_options_of_a_repository_exclude_those_of_files(tmp_path):
    assert "--models takes a directory" in fails("--models", tmp_path / "absent")
    for option in (["--model", "hourglass-s"], ["--detector", "person"], ["--no-detector"]):
        line = fails("--models", tmp_path, *option)
        assert "--models" in line
        assert option[0] in line
    for option in (["--default", "a"], ["--watch", 5]):
        assert f"{option[0]} is of a model repository; add --models DIR" in fails(*option)


def test_a_device_that_is_not_there_is_refused(tiny_model_path):
    assert "cuda:7" in fails("--model", tiny_model_path, "--device", "cuda:7")
    assert "device" in fails("--model", tiny_model_path, "--device", "abacus")


def test_a_huge_valid_picture_is_refused_before_it_is_decoded(serve_tiny, refused, encode, picture):
    one_colour = encode_one_colour(16_000)
    process, address, _ = serve_tiny
    with grpc.insecure_channel(address) as channel:
        pose = pose_pb2_grpc.PoseServiceStub(channel)
        good = pb.PredictRequest(image=pb.Image(encoded=encode(picture)))
        pose.Predict(good)
        before = memory_peak(process.pid)
        bad = pb.PredictRequest(image=pb.Image(encoded=one_colour))
        text = refused(lambda: pose.Predict(bad), grpc.StatusCode.INVALID_ARGUMENT, "image.encoded")
        assert "max_pixels" in text or "limit" in text
        assert memory_peak(process.pid) - before < 50
        assert pose.Predict(good).persons


def encode_one_colour(side: int) -> bytes:
    """A complete PNG of one colour, made with little memory."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("1", (side, side), 1).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_flight(tiny_model_path, encode, number):
    image = pb.Image(encoded=encode(np.zeros((1500, 2000, 3), np.uint8), "JPEG"))
    requests = [pb.PredictRequest(request_id=f"p{i}", image=image) for i in range(20)]
    with (
        running("--model", tiny_model_path, "--grace", 60) as (process, address, _),
        grpc.insecure_channel(address) as channel,
    ):
        answers = pose_pb2_grpc.PoseServiceStub(channel).PredictStream(iter(requests))
        seen = [next(answers).request_id]
        process.send_signal(number)
        seen += [answer.request_id for answer in answers]
        assert seen == [request.request_id for request in requests]
        assert process.wait(20) == 0


def test_watchers_are_told_and_do_not_hold_it_up(tiny_model_path):
    with ExitStack() as stack:
        process, address, _ = stack.enter_context(running("--model", tiny_model_path, "--grace", 60))
        channel = stack.enter_context(grpc.insecure_channel(address))
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        began = time.monotonic()
        assert process.wait(50) == 0
        assert time.monotonic() - began < 50  # the grace is for work, and there is none
