"""Repositories of fakes: what lies in their files says how they are to answer."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from poseglass_core.poses import ModelRef
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_runtime.engine import ModelError
from poseglass_server.batcher import Runners
from poseglass_server.catalogue import RepositoryCatalogue
from poseglass_server.models import Models
from poseglass_server.repository import Repository
from poseglass_server.served import DetectorModel, PoseModel


class FakeLoader:
    """Loads files of JSON, as networks whose answers can be computed by hand.

    Attributes:
        runners: run what is loaded from now on.
        loaded: the files, in the order asked for.
        networks: what was loaded last from each; not kept in memory by this.
        go: cleared, a load waits for it.
        during: called while a file is loaded.
    """

    def __init__(self, pose: type[Any], detector: type[Any], runners: Runners) -> None:
        self._kinds = {"pose": (pose, PoseModel), "detector": (detector, DetectorModel)}
        self.runners = runners
        self.loaded: list[str] = []
        self.networks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self.go, self.started = threading.Event(), threading.Semaphore(0)
        self.go.set()
        self.during: Callable[[], None] = lambda: None

    def __call__(self, path: Path) -> PoseModel | DetectorModel:
        where = "/".join(path.parts[-3:-1])
        self.loaded.append(where)
        self.started.release()
        assert self.go.wait(20)
        data = path.read_bytes()
        self.during()
        try:
            told = json.loads(data)
        except ValueError:
            raise ModelError(f"{path}: not a model that can be loaded") from None
        make, model = self._kinds[told["kind"]]
        network = make(told["name"], told["version"])
        network.ref = ModelRef(told["name"], told["version"], hashlib.sha256(data).hexdigest())
        self.networks[where] = network
        return model(network, self.runners)


@pytest.fixture
def loader(make_network, make_finder) -> Iterator[FakeLoader]:
    """A loader of fakes."""
    runners = Runners(1)
    yield FakeLoader(make_network, make_finder, runners)
    runners.close()


@pytest.fixture
def folder(tmp_path) -> Path:
    """An empty repository."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def repository(folder, loader) -> Repository:
    """Of the directory, with the fakes."""
    return Repository(folder, loader)


@pytest.fixture
def watched(folder, loader, serving) -> Callable[..., Any]:
    """Serves the repository: `watched(watch, default)`."""

    def serve(watch: float | None = None, default: str = "") -> Any:
        def catalogue(runners: Runners) -> RepositoryCatalogue:
            loader.runners = runners
            return RepositoryCatalogue(Repository(folder, loader, default), watch)

        return serving(catalogue=catalogue)

    return serve


@pytest.fixture
def put() -> Callable[[Path, bytes], str]:
    """Lays a file as its writers should, whole, and gives its hash."""

    def write(file: Path, data: bytes) -> str:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}")
        temporary.write_bytes(data)
        temporary.replace(file)
        return hashlib.sha256(data).hexdigest()

    return write


@pytest.fixture
def lay(folder, put) -> Callable[..., str]:
    """Lays a fake model into the repository, and gives its hash: `lay("a", 2)`."""

    def write(name: str, version: int, content: str = "", at: str = "", kind: str = "pose") -> str:
        data = json.dumps({"name": name, "version": version, "kind": kind, "content": content}).encode()
        return put(folder / (at or f"{name}/{version}") / "model.onnx", data)

    return write


@pytest.fixture
def reload() -> Callable[[Any], list[pb.Model]]:
    """Has a running server look, and gives its answer."""

    def call(running: Any) -> list[pb.Model]:
        return list(pose_pb2_grpc.AdminServiceStub(running.channel).Reload(pb.ReloadRequest(), timeout=30).models)

    return call


@pytest.fixture
def states() -> Callable[[Any], list[tuple[str, int, str]]]:
    """Name, version and state of entries."""
    return lambda entries: [(entry.name, entry.version, entry.state.value) for entry in entries]


@pytest.fixture
def served() -> Callable[[Models], list[tuple[str, int]]]:
    """Name and version of what is ready."""
    return lambda models: [(model.ref.name, model.ref.version) for model in (*models, *models.detectors)]


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], None]:
    """Waits until something is so."""

    def wait(what: Callable[[], Any]) -> None:
        end = time.monotonic() + 20
        while not what():
            assert time.monotonic() < end
            time.sleep(0.01)

    return wait
