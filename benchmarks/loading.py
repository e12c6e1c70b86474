"""`poseglass bench` in a process of its own, for benchmarks that put a server under load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from serving import Server


def load(server: Server, options: Sequence[str]) -> list[dict[str, Any]]:
    """Put a server under load.

    Args:
        server: its process' costs are measured too.
        options: of `poseglass bench`.

    Returns:
        The steps of its JSON document.

    Raises:
        RuntimeError: nothing was answered; says what it said.
    """
    return started(server, options).steps()


def started(server: Server, options: Sequence[str]) -> Load:
    """The same, without waiting for its end."""
    command = [sys.executable, "-m", "poseglass", "bench", "--server", server.address, "--json"]
    command += ["--server-pid", str(server.process.pid), *options]
    return Load(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


class Load:
    """A load that is under way.

    Args:
        process: that makes it.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def under_way(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    def steps(self) -> list[dict[str, Any]]:
        """Wait for its end, and give the steps that it measured.

        Raises:
            RuntimeError: nothing was answered.
        """
        out, complaints = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"poseglass bench: {complaints.strip()}")
        document: dict[str, Any] = json.loads(out)
        steps: list[dict[str, Any]] = document["steps"]
        return steps
