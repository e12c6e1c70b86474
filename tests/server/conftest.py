"""A real server in a thread, on a network whose answers can be computed by hand and which can be held still."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.geometry import Box
from poseglass_core.manifest import Manifest
from poseglass_core.poses import ModelRef
from poseglass_core.skeleton import LSP
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_runtime.outputs import Detections, RawOutputs
from poseglass_server.batcher import Runners
from poseglass_server.catalogue import Catalogue
from poseglass_server.models import Models
from poseglass_server.observer import Observer
from poseglass_server.served import DetectorModel, PoseModel
from poseglass_server.server import PoseServer, create_server

SIZE, STRIDE = 64, 4


class BrightnessNetwork:
    """Joint j's heatmap is the crop's brightness, rolled j cells to the right; its joint is the brightest cell.

    Attributes:
        go: cleared, `run` waits for it.
        started: released once a run.
        runs: how many crops were inferred.
    """

    provider = "FakeProvider"

    def __init__(self, name: str = "brightness", version: int = 1) -> None:
        self.ref = ModelRef(name, version, f"{name}-{version}".encode().hex())
        self.manifest = Manifest(
            name=name,
            version=version,
            architecture="none",
            skeleton=LSP,
            input_size=(SIZE, SIZE),
            box_padding=1.25,
            stride=STRIDE,
            outputs=("heatmaps", "joints", "scores"),
            heatmap_activation="clip",
            decoder={"name": "log_parabola", "epsilon": 1e-3},
            score={"meaning": "peak"},
            parity={"joints": 0.0},
            weights_licence="CC0-1.0",
        )
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Semaphore(0)
        self.runs = 0

    def run(self, crops: np.ndarray) -> RawOutputs:
        self.started.release()
        assert self.go.wait(20)
        self.runs += len(crops)
        cells = SIZE // STRIDE
        grey = crops.reshape(len(crops), cells, STRIDE, cells, STRIDE, 3).mean(axis=(2, 4, 5)) / 255
        maps = np.stack([np.roll(grey, j, axis=2) for j in range(len(LSP.joints))], axis=1).astype(np.float32)
        peak = maps.reshape(*maps.shape[:2], -1).argmax(axis=2)
        joints = np.stack([peak % cells, peak // cells], axis=2) * STRIDE + (STRIDE - 1) / 2
        return RawOutputs(maps, joints.astype(np.float32), maps.max(axis=(2, 3)))


class HalvesDetector:
    """Finds the picture's left and right half, the left one first.

    Attributes:
        boxes: as shares of the picture; empty it finds nobody.
    """

    provider = "FakeProvider"

    def __init__(self, name: str = "halves", version: int = 1) -> None:
        self.ref = ModelRef(name, version, f"{name}-{version}".encode().hex())
        self.manifest = DetectorManifest(
            name, version, "none", (64, 64), 0.5, parity={"boxes": 0.0}, weights_licence="CC0-1.0"
        )
        self.boxes = [(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)]

    def detect(self, image: np.ndarray, threshold: float | None = None, closer: bool = False) -> Detections:
        height, width = image.shape[:2]
        boxes = [Box(x * width, y * height, w * width, h * height) for x, y, w, h in self.boxes]
        return Detections(boxes, np.linspace(0.9, 0.8, len(boxes), dtype=np.float32))


@dataclass
class Running:
    """A server in a thread, and a client to it.

    Attributes:
        server: lives in `loop`.
        pose: the stub.
        channel: of the stub.
    """

    server: PoseServer
    loop: asyncio.AbstractEventLoop
    pose: pose_pb2_grpc.PoseServiceStub
    channel: grpc.Channel

    def wait_for_calls(self, count: int) -> None:
        """Until that many calls are in progress: what the client has done has reached the server."""
        end = time.monotonic() + 20
        while self.server._calls.count != count:
            assert time.monotonic() < end, f"{self.server._calls.count} calls are in progress, not {count}"
            time.sleep(0.005)

    def stop(self, grace: float = 10.0) -> Future[None]:
        """Begin to stop the server."""
        return asyncio.run_coroutine_threadsafe(self.server.stop(grace), self.loop)


def connect(
    address: str, credentials: grpc.ChannelCredentials | None = None, options: Sequence[tuple[str, Any]] = ()
) -> grpc.Channel:
    """A channel with connections of its own, over TLS where there are credentials."""
    options = [*options, ("grpc.use_local_subchannel_pool", 1)]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


@contextmanager
def running_server(
    *networks: Any,
    detectors: Sequence[Any] = (),
    catalogue: Callable[[Runners], Catalogue] | None = None,
    parallel: int = 2,
    most: int = 8,
    credentials: grpc.ChannelCredentials | None = None,
    observer: Observer | None = None,
    **options: Any,
) -> Iterator[Running]:
    """A server of some networks and detectors, or a catalogue, and a client; other options are `create_server`'s."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> PoseServer:
        runners = Runners(parallel, observer)
        models = Models(
            [PoseModel(network, runners, most) for network in networks],
            [DetectorModel(detector, runners) for detector in detectors],
        )
        server = create_server(catalogue(runners) if catalogue else Catalogue(models), runners, **options)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(20)
    channel_options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with connect(f"127.0.0.1:{server.port}", credentials, channel_options) as channel:
        yield Running(server, loop, pose_pb2_grpc.PoseServiceStub(channel), channel)
    asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    assert not thread.is_alive()
    loop.close()


@pytest.fixture
def network() -> BrightnessNetwork:
    """A network of one's own."""
    return BrightnessNetwork()


@pytest.fixture
def finder() -> HalvesDetector:
    """A detector of one's own."""
    return HalvesDetector()


@pytest.fixture
def serving() -> Callable[..., Any]:
    """`running_server`: a context manager that serves some networks."""
    return running_server


@pytest.fixture
def connecting() -> Callable[..., grpc.Channel]:
    """`connect`: a channel."""
    return connect


@pytest.fixture
def make_network() -> type[BrightnessNetwork]:
    """For tests of several models."""
    return BrightnessNetwork


@pytest.fixture
def make_finder() -> type[HalvesDetector]:
    """For tests of detectors."""
    return HalvesDetector


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Running]:
    """One server for all tests that leave it as it was: whatever they send, it goes on."""
    networks = BrightnessNetwork("brightness", 1), BrightnessNetwork("brightness", 2), BrightnessNetwork("other", 1)
    with running_server(*networks) as running:
        yield running


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """[80, 120, 3] RGB, dark with one bright spot."""
    image = np.full((80, 120, 3), 20, np.uint8)
    cv2.circle(image, (70, 30), 4, (250, 250, 250), -1)
    return image


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Pixels to a picture file's bytes."""

    def save(image: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, kind, **options)
        return buffer.getvalue()

    return save


@pytest.fixture(scope="session")
def png(picture: np.ndarray, encode: Callable[..., bytes]) -> pb.Image:
    """The picture as a message."""
    return pb.Image(encoded=encode(picture))


def unpack(status: Any, kind: type[Message]) -> Any:
    """The one detail of a google.rpc.Status."""
    detail = kind()
    assert len(status.details) == 1
    assert status.details[0].Unpack(detail)
    return detail


@pytest.fixture
def refused() -> Callable[..., str]:
    """Makes a call that must fail, and gives what it says: `refused(call, code, field=None)`."""

    def check(call: Callable[[], Any], code: grpc.StatusCode, field: str | None = None) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is code, caught.value.details()
        status = rpc_status.from_call(caught.value)
        if status is not None:
            assert (status.code, status.message) == (code.value[0], caught.value.details())
        if field is not None:
            violations = unpack(status, error_details_pb2.BadRequest).field_violations
            assert [violation.field for violation in violations] == [field]
            assert violations[0].description
            assert caught.value.details().startswith(field)
        return str(caught.value.details())

    return check
