"""A server of this project, started for a benchmark and stopped after it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from poseglass.bench.usage import process_cost


class ServerError(RuntimeError):
    """The server does not start; the message says what it said last."""


@dataclass(frozen=True)
class Server:
    """A server that answers calls.

    Attributes:
        address: HOST:PORT.
        process: it runs in.
    """

    address: str
    process: subprocess.Popen[str]

    def memory(self) -> float:
        """MiB that it holds."""
        cost = process_cost(self.process.pid)
        assert cost is not None
        return cost[1] / 2**20


@contextmanager
def running_server(models: Sequence[str], threads: int, options: Sequence[str] = ()) -> Iterator[Server]:
    """Serve models on a free port of this machine.

    Args:
        models: shipped names or files; none: all that are shipped.
        threads: of inference.
        options: further ones of `poseglass serve`.

    Yields:
        The server, once it answers calls.

    Raises:
        ServerError: it does not start.
    """
    command = [sys.executable, "-m", "poseglass", "serve", "--port", "0", "--device", "cpu", "--threads", str(threads)]
    command += [part for model in models for part in ("--model", model)]
    command += options
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        try:
            assert process.stdout is not None
            ready = re.match(r"serving on (\S+:\d+):", process.stdout.readline())
            if ready is None:
                process.wait()
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip().splitlines()
                raise ServerError(said[-1] if said else "the server stopped and said nothing")
            yield Server(ready[1], process)
        finally:
            process.terminate()
            process.communicate()
