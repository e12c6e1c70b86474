"""Which other servers there are, how each may be laid out, and one of them running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from peers.work import HOST, READY, Settings
from serving import Server, ServerError

REPOSITORY = Path(__file__).resolve().parents[2]
_IMPORTED = ("core", "models", "runtime", "benchmarks")
"""Folders of this project that an application imports from."""

_SECONDS_TO_START = 120.0
_SECONDS_TO_STOP = 10.0
_ATTEMPTS = 3
"""Some servers give up their own workers when these are slow to begin."""

_SAID = "said.log"


@dataclass(frozen=True)
class Layout:
    """How a server shares the work out.

    Attributes:
        workers: processes that infer; 0: the one that takes requests does.
        threads: of each one's session.
        batch: most crops a run of the network.
        decoders: processes that decode and crop before them; 0: those that infer do.
    """

    workers: int
    threads: int
    batch: int = 8
    decoders: int = 0

    def __str__(self) -> str:
        workers = f"{self.workers} workers" if self.workers != 1 else "1 worker"
        infer = f"{workers if self.workers else 'no worker'} x {self.threads}, batch {self.batch}"
        return f"{self.decoders} decoders, {infer}" if self.decoders else infer


@dataclass(frozen=True)
class Peer:
    """Another server.

    Attributes:
        name: of its environment's folder, and its application is `NAME_app.py`.
        distribution: that pip installs.
        protocol: "http": the body that `work.pack` makes, to `/inference`; "oip": gRPC, Open Inference Protocol.
        layouts: that may suit it; the one that does most is measured.
    """

    name: str
    distribution: str
    protocol: str
    layouts: tuple[Layout, ...]

    def python(self, folder: Path) -> Path:
        """Where its Python is.

        Args:
            folder: of all environments.
        """
        return folder / self.name / "bin" / "python"

    def version(self, folder: Path) -> str:
        """What is installed there.

        Raises:
            ServerError: it is not; the message says how to install it.
        """
        script = f"import importlib.metadata as m; print(m.version({self.distribution!r}))"
        try:
            told = subprocess.run([self.python(folder), "-c", script], capture_output=True, text=True, check=False)
        except OSError:
            told = None
        if told is None or told.returncode:
            raise ServerError(
                f"{self.python(folder)}: no Python with {self.distribution}; benchmarks/peers.md says how to make it"
            )
        return told.stdout.strip()


def peers_for(processors: int) -> dict[str, Peer]:
    """All of them, by name.

    Args:
        processors: that the workers' threads share.
    """
    one, each = Layout(1, processors), Layout(processors, 1)
    # Where a batch runs no faster than its crops one by one, what gathers batches may cost more than it brings.
    single = Layout(processors, 1, batch=1)
    found = (
        Peer("mlserver", "mlserver", "oip", (Layout(0, processors), one, each, single)),
        Peer("litserve", "litserve", "http", (one, each, single)),
        Peer("mosec", "mosec", "http", (one, each, single, Layout(1, processors, decoders=processors))),
        Peer("pytriton", "nvidia-pytriton", "oip", (one, each)),
    )
    return {peer.name: peer for peer in found}


@contextmanager
def running_peer(peer: Peer, layout: Layout, folder: Path, model: Path) -> Iterator[Server]:
    """Serve a model on a free port of this machine.

    Args:
        peer: the server.
        layout: of its processes.
        folder: of all environments.
        model: the ONNX file.

    Yields:
        The server, once all its workers are ready.

    Raises:
        ServerError: it does not start.
    """
    with tempfile.TemporaryDirectory() as place:
        for attempt in range(1, _ATTEMPTS + 1):
            where = f"{place}/{attempt}"
            port, other = free_ports(2)
            settings = Settings(port, other, model=str(model.resolve()), folder=where, **asdict(layout))
            process = _begin(peer, folder, settings)
            try:
                if _started(process, settings):
                    yield Server(f"{HOST}:{settings.port}", process)
                    return
            finally:
                _stop(process)
        raise ServerError(f"{peer.name}, {layout}: it did not start ({_complaint(Path(settings.folder) / _SAID)})")


def _begin(peer: Peer, folder: Path, settings: Settings) -> subprocess.Popen[str]:
    place = Path(settings.folder)
    place.mkdir()
    paths = os.pathsep.join(str(REPOSITORY / name) for name in _IMPORTED)
    with (place / _SAID).open("wb") as said:
        return subprocess.Popen(
            [peer.python(folder).absolute(), "-m", f"peers.{peer.name}_app"],
            cwd=place,
            env={**os.environ, "PYTHONPATH": paths, **settings.environment()},
            stdout=said,
            stderr=said,
            text=True,
            start_new_session=True,
        )


def _complaint(said: Path) -> str:
    """The line of a server's output that tells most."""
    lines = said.read_text("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if "Error" in line or "Exception" in line]
    return (errors or lines or ["it said nothing"])[-1].strip()


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _started(process: subprocess.Popen[str], settings: Settings) -> bool:
    """Wait until all workers have said that they are ready, and the port is open."""
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end and process.poll() is None:
        if len(list(Path(settings.folder).glob(f"{READY}*"))) >= settings.processes:
            with suppress(OSError), socket.create_connection((HOST, settings.port), 1.0):
                return True
        time.sleep(0.1)
    return False


def _stop(process: subprocess.Popen[str]) -> None:
    """End a server and whatever it has begun."""
    process.terminate()  # alone: it may have to put things in order with its workers
    with suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_STOP)
    with suppress(ProcessLookupError):  # its workers may outlive it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
