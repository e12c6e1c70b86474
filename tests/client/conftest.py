# ruff: noqa: N802 (methods are called as the contract calls them)
"""A small server that answers as the contract says, and pictures to send it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from typer.testing import CliRunner

from poseglass import PoseClient, cli
from poseglass_core.decode import DECODER
from poseglass_core.manifest import Manifest
from poseglass_core.skeleton import LSP
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc

ROWS, COLUMNS = 6, 5


def make_status(code: int, message: str, *details) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def bad_request(*violations: tuple[str, str]) -> status_pb2.Status:
    detail = error_details_pb2.BadRequest()
    for field, description in violations:
        detail.field_violations.add(field=field, description=description)
    return make_status(code_pb2.INVALID_ARGUMENT, f"{violations[0][0]}: {violations[0][1]}", detail)


def retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=round(seconds * 1e9)))


class Refused(Exception):
    def __init__(self, status: status_pb2.Status) -> None:
        self.status = status


class FakePoses(pose_pb2_grpc.PoseServiceServicer):
    """Puts joint i at a known place of every picture. `statuses` are given out, one a prediction, before any answer."""

    def __init__(self) -> None:
        self.requests: list[pb.PredictRequest] = []
        self.tokens: set[str] = set()  # `authorization` of calls; empty where there is none
        self.timeouts: list[float | None] = []  # of calls of `Predict`
        self.get_model_calls = 0
        self.statuses: list[status_pb2.Status] = []
        self.sha256 = "a" * 64
        self.stop_after: int | None = None
        self.stream_ended = threading.Event()  # set where a caller ends a stream, not where it breaks or is left
        self.silent = threading.Event()  # set: answers are held back until `released`
        self.released = threading.Event()
        self.manifest = Manifest(
            name="fake",
            version=3,
            architecture="none",
            skeleton=LSP,
            input_size=(24, 20),
            box_padding=1.25,
            stride=4,
            outputs=("heatmaps", "joints", "scores"),
            heatmap_activation="clip",
            decoder={"name": DECODER, "epsilon": 1e-3},
            score={"meaning": "peak"},
            evaluation=({"data": "somewhere", "protocol": "box given", "pck": 61.25, "interval": [60, 62.5]},),
            parity={"images": 64},
            weights_licence="research only",
        )

    def Predict(self, request, context):
        self.timeouts.append(context.time_remaining())
        self._note(context)
        self._hold(context)
        try:
            return self.answer(request)
        except Refused as refused:
            context.abort_with_status(rpc_status.to_status(refused.status))

    def PredictStream(self, request_iterator, context):
        self._note(context)
        for count, request in enumerate(request_iterator):
            if count == self.stop_after:
                return
            self._hold(context)
            try:
                yield self.answer(request)
            except Refused as refused:
                if refused.status.message == "break the stream":
                    context.abort_with_status(rpc_status.to_status(refused.status))
                yield pb.PredictResponse(request_id=request.request_id, error=refused.status)
        self.stream_ended.set()

    def ListModels(self, request, context):
        self._note(context)
        refused = pb.Model(
            ref=pb.ModelRef(name="broken", version=1), kind=pb.POSE, state=pb.REFUSED, reason="no parity"
        )
        return pb.ListModelsResponse(models=[self.model(), refused])

    def GetModel(self, request, context):
        self._note(context)
        self.get_model_calls += 1
        if request.name not in ("", "fake"):
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model is called {request.name!r}")
        return self.model()

    def _note(self, context) -> None:
        self.tokens.add(dict(context.invocation_metadata()).get("authorization", ""))

    def _hold(self, context) -> None:
        while self.silent.is_set() and context.is_active() and not self.released.wait(0.01):
            pass

    def model(self) -> pb.Model:
        return pb.Model(
            ref=pb.ModelRef(name="fake", version=3, sha256=self.sha256),
            kind=pb.POSE,
            state=pb.READY,
            licence="research only",
            joints=LSP.joints,
            manifest_json=self.manifest.dumps(),
            is_default=True,
        )

    def answer(self, request: pb.PredictRequest) -> pb.PredictResponse:
        self.requests.append(request)
        if self.statuses:
            raise Refused(self.statuses.pop(0))
        if request.model not in ("", "fake"):
            raise Refused(make_status(code_pb2.NOT_FOUND, f"no model is called {request.model!r}; there is: fake"))
        height, width = self._size(request.image)
        names = list(request.outputs.joints) or list(LSP.joints)
        unknown = [i for i, name in enumerate(names) if name not in LSP.joints]
        if unknown:
            raise Refused(bad_request((f"outputs.joints[{unknown[0]}]", "no joint is called that")))
        boxes = list(request.boxes) or [pb.Box(width=width, height=height)]
        return pb.PredictResponse(
            request_id=request.request_id,
            timestamp_s=request.timestamp_s,
            image_height=height,
            image_width=width,
            persons=[self._person(request, box, names) for box in boxes],
            model=pb.ModelRef(name="fake", version=3, sha256=self.sha256),
            detector=None if request.boxes or not request.detector else pb.ModelRef(name=request.detector, version=2),
            provider="FakeProvider",
            timings=pb.Timings(decode=1, queue=2, inference=3, total=6),
        )

    def _person(self, request: pb.PredictRequest, box: pb.Box, names: list[str]) -> pb.Person:
        joints = []
        for name in names:
            share = (LSP.index(name) + 1) / (len(LSP.joints) + 1)
            joints.append(pb.Joint(name=name, x=box.x + share * box.width, y=box.y + share * box.height, score=share))
        person = pb.Person(box=box, score=0.5, joints=[j for j in joints if j.score >= request.thresholds.joint])
        if request.outputs.heatmaps:
            maps = np.zeros((len(names), ROWS, COLUMNS), np.float16)
            maps[:, 2, 3] = 1
            to_image = [box.width / COLUMNS, 0, box.x, 0, box.height / ROWS, box.y]
            shape = maps.shape
            person.heatmaps.MergeFrom(pb.Heatmaps(shape=shape, data=maps.tobytes(), to_image=to_image))
        return person

    def _size(self, image: pb.Image) -> tuple[int, int]:
        if image.WhichOneof("source") == "raw":
            return image.raw.height, image.raw.width
        try:
            pixels = cv2.imdecode(np.frombuffer(image.encoded, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            pixels = None
        if pixels is None:
            raise Refused(bad_request(("image.encoded", "is not a picture in a known format; send JPEG or PNG")))
        return pixels.shape[0], pixels.shape[1]


class FakeAdmin(pose_pb2_grpc.AdminServiceServicer):
    """Has a model repository where `changed` says what a look at it finds."""

    def __init__(self) -> None:
        self.changed: list[pb.Model] | None = None

    def Reload(self, request, context):
        if self.changed is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server has no model repository")
        return pb.ReloadResponse(models=self.changed)


class FakeServer:
    """The services on a port of its own, with health.

    Args:
        credentials: for TLS; None: without.
        before: a server that was stopped, whose port and services this one takes over.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None, before: FakeServer | None = None) -> None:
        self.poses = before.poses if before else FakePoses()
        self.admin = before.admin if before else FakeAdmin()
        self.health = health.HealthServicer()
        self.grpc = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 8 << 20)])
        pose_pb2_grpc.add_PoseServiceServicer_to_server(self.poses, self.grpc)
        pose_pb2_grpc.add_AdminServiceServicer_to_server(self.admin, self.grpc)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.grpc)
        self.address = f"127.0.0.1:{self._bind(before.address if before else '127.0.0.1:0', credentials)}"
        self.set_health(True)
        self.grpc.start()

    def _bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self.grpc.add_insecure_port(address)
        return self.grpc.add_secure_port(address, credentials)

    def stop(self) -> None:
        self.poses.released.set()
        self.grpc.stop(None).wait()

    def set_health(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        self.health.set("", status.SERVING if serving else status.NOT_SERVING)


@pytest.fixture(autouse=True)
def no_shipped_detector(monkeypatch):
    """As if none were shipped: what the tests' pictures show is nobody for it."""
    monkeypatch.setattr("poseglass_models.detector", lambda: None)


@pytest.fixture
def status():
    """Makes a `google.rpc.Status` with details."""
    return make_status


@pytest.fixture
def bad():
    """Makes an INVALID_ARGUMENT status of (field, description) pairs."""
    return bad_request


@pytest.fixture
def retry():
    """Makes a RetryInfo of seconds."""
    return retry_info


@pytest.fixture
def serving() -> Iterator[Callable[..., FakeServer]]:
    """Starts a server, as `FakeServer` is made, and stops it in the end."""
    running = []

    def start(*arguments, **settings) -> FakeServer:
        running.append(FakeServer(*arguments, **settings))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def server(serving) -> FakeServer:
    return serving()


@pytest.fixture
def client(server: FakeServer) -> Iterator[PoseClient]:
    with PoseClient(server.address, timeout=10) as client:
        yield client


@pytest.fixture
def nobody() -> str:
    """An address at which nobody answers."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def run():
    """Runs a command line, whose exit code must be the one that is expected; keywords are environment variables."""

    def command(*arguments, expect=0, **environment):
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env=environment)
        assert result.exit_code == expect, (result.stdout, result.stderr, result.exception)
        return result

    return command


@pytest.fixture
def one_line():
    """The complaint of a run, which is one line and no traceback."""

    def complaint(result) -> str:
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("poseglass: ")
        return lines[0]

    return complaint


def encoded(height: int = 48, width: int = 40, suffix: str = ".jpg") -> bytes:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.imencode(suffix, cv2.resize(pixels, (width, height)))[1].tobytes()


@pytest.fixture
def jpeg() -> bytes:
    """A picture, 48 high and 40 wide."""
    return encoded()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder: two pictures in it, one in each of two subfolders, and text."""
    folder = tmp_path / "my pictures"
    for name in ("one.jpg", "two.png", "a/x.jpg", "b/x.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(suffix=path.suffix))
    (folder / "notes.txt").write_text("not a picture")
    return folder
