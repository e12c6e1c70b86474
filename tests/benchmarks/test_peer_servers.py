"""The comparison with other servers: what goes over the wire, what is made of it, and servers of the tests' own."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

import peer_load
import peer_servers
import poseglass_models
from peers import servers
from peers.connections import HttpConnections, OipConnections, parse
from peers.servers import Layout, Peer, peers_for, running_peer
from peers.summary import OURS, Collected, Run, run_of, verdict
from peers.work import Joints, Work, pack, unpack
from poseglass.bench.records import OK, Answer
from poseglass.bench.usage import Gauge
from poseglass_core.geometry import whole_image
from poseglass_proto.oip import inference_pb2 as oip
from poseglass_runtime.engine import load_engine
from poseglass_runtime.estimator import estimate
from poseglass_runtime.images import decode_image
from serving import ServerError

PEERS = os.environ.get("POSEGLASS_PEERS")
BOX = (1.0, 2.0, 30.0, 40.0)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\r\n"

FAKE = """
import json, os, pathlib, socket, time
settings = json.loads(os.environ["POSEGLASS_PEER"])
print("hello")
with socket.create_server(("127.0.0.1", settings["port"])):
    for i in range(settings["workers"]):
        (pathlib.Path(settings["folder"]) / f"ready-{i}").touch()
    time.sleep(60)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Makes a server of some source, under this Python."""
    python = tmp_path / "environments" / "fake" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    package = tmp_path / "benchmarks" / "peers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(servers, "REPOSITORY", tmp_path)

    def make(source):
        (package / "fake_app.py").write_text(source)
        return Peer("fake", "fake", "http", (Layout(2, 1),)), tmp_path / "environments"

    return make


def test_an_answer_is_whole_once_all_of_it_is_there():
    whole = HEAD + b"{}"
    assert [parse(whole[:cut]) for cut in range(len(whole))] == [None] * len(whole)
    assert parse(whole) == (200, b"{}")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0\r\nContent-Length: 2\r\n\r\n{}"])
def test_answers_without_a_length_are_refused(answer):
    with pytest.raises(ValueError, match="not an HTTP/1.1 answer with a length"):
        parse(answer)


def test_a_body_holds_a_box_and_a_file():
    assert unpack(pack(b"\xff\xd8 picture", BOX)) == (b"\xff\xd8 picture", BOX)


async def asked(answers, count):
    """What so many requests, one after another, are answered by a server that says this; and how often it was called.

    An answer of None closes the connection; others come in two pieces.
    """
    left, opened = iter(answers), 0

    async def serve(reader, writer):
        nonlocal opened
        opened += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"POST /inference HTTP/1.1\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
                answer = next(left)
                if answer is None:
                    return
                writer.write(answer[:30])
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(answer[30:])
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        connections = HttpConnections(f"{host}:{port}")
        told = [await connections.ask(connections.message(b"jpeg", BOX), 10) for _ in range(count)]
        await connections.close()
    return told, opened


def http(status, body):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_connections_stay_open_and_tell_what_came():
    good = http("200 OK", json.dumps({"joints": [[1, 2]], "scores": [0.5]}))
    answers = [good, http("503 Busy", "come again"), http("200 OK", "joints"), good, None, good]
    told, opened = asyncio.run(asked(answers, len(answers)))
    assert [answer.code for answer in told] == [OK, "HTTP 503", "UNREADABLE", OK, "UNAVAILABLE", OK]
    assert told[1].message == "come again"
    assert opened == 2


def test_open_inference_requests_carry_the_file_as_it_is():
    async def message():
        connections = OipConnections("127.0.0.1:1")
        data = connections.message(b"jpeg", BOX)
        await connections.close()
        return data

    request = oip.ModelInferRequest.FromString(asyncio.run(message()))
    shapes = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in request.inputs}
    assert shapes == {"picture": ("BYTES", [1, 1]), "box": ("FP32", [1, 4])}
    assert request.raw_input_contents[0] == b"\x04\x00\x00\x00jpeg"
    assert np.frombuffer(request.raw_input_contents[1], "<f4").tolist() == list(BOX)


def test_a_level_counts_what_is_answered_in_its_window():
    class Instant:
        def message(self, picture, box):
            assert box == (0, 0, 64, 48)
            return picture

        async def ask(self, data, seconds):
            assert data[:2] == b"\xff\xd8"
            await asyncio.sleep(0.01)
            return Answer(OK)

    kind = peer_load.kind_of("jpeg:64x48")
    messages = peer_load.messages_of(kind, Instant())
    timing = peer_load.Timing(warmup=0.05, duration=0.2, timeout=1.0)
    measured = asyncio.run(peer_load.level(Instant(), messages, 3, timing, Gauge(os.getpid())))
    step = peer_load.step_figures(measured, [kind.name], timing.timeout)
    assert step["load"] == {"callers": 3}
    assert set(step["codes"]) == {OK}
    assert 0 < step["codes"][OK]["count"] <= 3 * 20
    assert step["server_process"]["cpu_s"] >= 0


def test_only_files_are_sent_to_the_others():
    with pytest.raises(typer.BadParameter, match="not sent as a file"):
        peer_load.messages_of(peer_load.kind_of("raw:64x48"), None)


def test_the_work_is_what_our_server_does():
    path = poseglass_models.resolve(poseglass_models.DEFAULT)
    (picture, *_) = peer_load.kind_of("jpeg:640x480").pictures
    work = Work(str(path), 1)
    found = work.infer([work.cut(picture, (0, 0, 640, 480)), work.cut(picture, (100, 50, 200, 300))])
    engine = load_engine(path, "cpu", 1)
    ours = estimate(engine.run, engine.manifest, decode_image(picture), [whole_image(640, 480)])
    assert np.abs(found[0].joints - ours.joints[0]).max() < 1e-3
    assert json.loads(found[0].to_json())["joints"] == pytest.approx(ours.joints[0].round(2), abs=0.011)


def step(callers=4, **changes):
    figures = {
        "load": {"callers": callers},
        "window_s": 10.0,
        "throughput_per_s": 20.0,
        "latency_ms": {"p50": 200.0, "p99": 300.0},
        "codes": {"OK": {"count": 200, "message": ""}},
        "server_process": {"pictures_per_cpu_s": 25.0},
        "generator": {"cpu_s": 0.4},
    }
    return figures | changes


def test_costs_are_of_a_request_and_less_the_bare_work():
    assert run_of(step(), bare=38.0) == Run(20.0, 200.0, 300.0, 40.0, pytest.approx(2.0), pytest.approx(2.0))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"codes": {"OK": {"count": 1, "message": ""}, "HTTP 503": {"count": 2, "message": "busy"}}}, "HTTP 503.*busy"),
        ({"codes": {}}, "there was none"),
        ({"server_process": None}, "processor time is not known"),
    ],
)
def test_a_step_that_says_nothing_about_the_server_is_refused(changes, says):
    with pytest.raises(RuntimeError, match=f"4 callers: .*{says}"):
        run_of(step(**changes), bare=0.0)


def test_medians_are_over_rounds_each_with_its_own_bare_work():
    collected = Collected()
    for bare, per_cpu in ((38.0, 25.0), (30.0, 20.0), (39.0, 25.0)):
        collected.bare.append(bare)
        collected.add(OURS, [step(server_process={"pictures_per_cpu_s": per_cpu})])
    ours = collected.medians(4)[OURS]
    assert (ours.cpu, ours.overhead) == (40.0, pytest.approx(2.0))


def test_a_round_counts_with_all_its_levels_or_not_at_all():
    collected = Collected(bare=[0.0])
    with pytest.raises(RuntimeError):
        collected.add("other", [step(1), step(4, codes={})])
    assert collected.runs == {}


def test_each_figure_is_compared_with_whoever_is_best_at_it():
    medians = {
        OURS: Run(20.0, 0, 50.0, 0, 0, 1.5),
        "fast": Run(25.0, 0, 200.0, 0, 0, 3.0),
        "soon": Run(10.0, 0, 40.0, 0, 0, 2.0),
    }
    told = verdict(medians)
    assert (told.throughput, told.p99, told.overhead) == (0.8, 1.25, -0.5)
    assert told.best == {"throughput": "fast", "p99": "soon", "overhead": "soon"}


def test_a_server_that_finds_other_joints_is_refused():
    joints = Joints(np.zeros((14, 2), np.float32), np.zeros(14, np.float32))
    peer_servers.check_same("same", joints._replace(joints=joints.joints + 0.01), joints)
    with pytest.raises(ServerError, match="other: its joints"):
        peer_servers.check_same("other", joints._replace(joints=joints.joints + 1), joints)


def test_a_server_runs_until_it_is_not_needed(fake):
    peer, folder = fake(FAKE)
    with running_peer(peer, peer.layouts[0], folder, Path("model.onnx")) as server:
        host, port = server.address.split(":")
        socket.create_connection((host, int(port))).close()
        assert server.process.poll() is None
    assert server.process.poll() is not None


def test_a_server_that_does_not_start_says_why(fake):
    peer, folder = fake("print('hello')\nraise RuntimeError('no such thing')\n")
    with (
        pytest.raises(ServerError, match="fake, 2 workers x 1, batch 8: .*RuntimeError: no such thing"),
        running_peer(peer, peer.layouts[0], folder, Path("model.onnx")),
    ):
        pass


def test_what_is_not_installed_is_left_out_or_refused(tmp_path):
    say = peer_servers.Console(file=(tmp_path / "said").open("w"))
    with pytest.raises(ServerError, match=r"pytriton.*no Python with nvidia-pytriton"):
        peer_servers.found_peers(tmp_path, [], 2, say)
    with pytest.raises(ServerError, match="no Python with mosec"):
        peer_servers.found_peers(tmp_path, ["mosec"], 2, say)
    with pytest.raises(ValueError, match="--peer triton: must be one of mlserver, litserve"):
        peer_servers.found_peers(tmp_path, ["triton"], 2, say)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(peers_for(2)))
def test_the_others_do_the_same_work(name):
    if PEERS is None or not peers_for(2)[name].python(Path(PEERS)).exists():
        pytest.skip(f"{name} is not installed: benchmarks/peers.md says how; POSEGLASS_PEERS names its folder")
    model = poseglass_models.resolve(poseglass_models.DEFAULT)
    plan = peer_servers.Plan(model, "jpeg:640x480", (2,), 0.5, 0.5, 1, 2)
    peer = peers_for(2)[name]
    steps, found = peer_servers.peer_under_load(plan, peer, peer.layouts[-1], Path(PEERS), [2])
    peer_servers.check_same(name, found, peer_servers.expected(plan))
    assert set(steps[0]["codes"]) == {OK}
