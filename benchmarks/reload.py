"""Hot reloads under load: whether a call fails, whether answers are of the file that they name, whether memory grows.

    python benchmarks/reload.py --reloads 100

Two files of different weights serve as versions 1 and 2 of one model. Version 2 comes and goes while callers ask for
one picture; every answer must be, to the digit, what its file (by its hash) answers to it. In the end a damaged
version 3 is dropped in: it must be refused, with its reason, while version 2 serves on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import onnx
import typer
from numpy.typing import NDArray

import poseglass_models
from machine import processor
from poseglass import PoseClient
from poseglass_core.files import write_whole
from poseglass_core.manifest import METADATA_KEY
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_runtime.threads import available_threads
from serving import Server, running_server

NAME = "swapped"
BOX = (0.0, 0.0, 192.0, 192.0)


def version_file(weights: str, version: int, to: Path) -> Path:
    """Shipped weights under another name and version, put in place whole.

    Returns:
        The version's folder.
    """
    model = onnx.load(str(poseglass_models.resolve(weights)))
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = json.dumps({**json.loads(entry.value), "name": NAME, "version": version})
    folder = to / NAME / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / ".coming"))
    (folder / ".coming").rename(folder / "model.onnx")
    return folder


@dataclass
class Callers:
    """Threads that ask for one picture until they are stopped.

    Attributes:
        answers: hash of the file -> different answers that named it, each with how often.
        failures: what calls failed with.
    """

    address: str
    picture: NDArray[np.uint8]
    answers: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, count: int) -> list[threading.Thread]:
        """Begin."""
        threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in threads:
            thread.start()
        return threads

    def stop(self, threads: list[threading.Thread]) -> None:
        """End, when everything that was asked is answered."""
        self._stop.set()
        for thread in threads:
            thread.join()

    def _ask(self) -> None:
        with PoseClient(self.address, retries=0) as client:
            while not self._stop.is_set():
                try:
                    prediction = client.predict(self.picture, boxes=[BOX], model=NAME)
                except Exception as error:
                    with self._lock:
                        self.failures[f"{type(error).__name__}: {error}"] += 1
                    continue
                with self._lock:
                    self.answers[prediction.model.sha256, prediction.poses[0].points.tobytes()] += 1


def reload(server: Server) -> list[Any]:
    """Have the server look at its models again; what it says of them."""
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = pose_pb2_grpc.AdminServiceStub(channel)  # type: ignore[no-untyped-call]
        return list(stub.Reload(pb.ReloadRequest(), timeout=120).models)


def main(
    reloads: Annotated[int, typer.Option(min=2)] = 100,
    callers: Annotated[int, typer.Option(min=1)] = 4,
    weights: Annotated[str, typer.Option(help="Two shipped names: versions 1 and 2.")] = "hourglass-s,cnn",
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure, and print what happened."""
    first, second = weights.split(",")
    picture = np.random.default_rng(0).integers(0, 255, (192, 192, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        root, aside = Path(folder) / "models", Path(folder) / "aside"
        version_file(first, 1, root)
        version_file(second, 2, aside)
        options = ["--models", str(root)]
        with running_server([], available_threads()[0], options) as server:
            load = Callers(server.address, picture)
            threads = load.run(callers)
            grew, began = [], time.monotonic()
            for i in range(reloads):
                if i % 2 == 0:
                    shutil.copytree(aside / NAME / "2", root / NAME / ".2")
                    (root / NAME / ".2").rename(root / NAME / "2")
                else:
                    shutil.rmtree(root / NAME / "2")
                reload(server)
                grew.append(server.memory())
            seconds = time.monotonic() - began
            version_file(second, 2, root)
            reload(server)
            (root / NAME / "3").mkdir()
            (root / NAME / "3" / "model.onnx").write_bytes(b"\0" * 100_000)
            said = {model.ref.version: model for model in reload(server)}
            with PoseClient(server.address) as client:
                serves_on = client.predict(picture, boxes=[BOX], model=NAME).model.version
            load.stop(threads)
            alive = server.process.poll() is None
    hashes = Counter(sha for sha, _ in load.answers)
    early, late = float(np.mean(grew[4:14])), float(np.mean(grew[-10:]))
    result = {
        "machine": processor(),
        "reloads": reloads,
        "seconds": seconds,
        "alive": alive,
        "answers": sum(load.answers.values()),
        "failures": dict(load.failures),
        "files": len(hashes),
        "different_answers_a_file": sorted(hashes.values()),
        "memory_mib": {"early": early, "late": late, "growth": late / early - 1},
        "damaged": {"state": pb.ModelState.Name(said[3].state), "reason": said[3].reason, "served_on": serves_on},
    }
    print(json.dumps(result, indent=2))
    if out is not None:
        write_whole(out, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
