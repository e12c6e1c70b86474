"""Load on a server, made in a process of its own: by `poseglass bench`, or by a program with its options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from serving import Server


def load(server: Server, options: Sequence[str]) -> list[dict[str, Any]]:
    """Put a server under the load of `poseglass bench`.

    Args:
        server: its process' costs are measured too.
        options: of `poseglass bench`.

    Returns:
        The steps of its JSON document, also where no request was answered.

    Raises:
        RuntimeError: nothing was measured; says what it said.
    """
    steps: list[dict[str, Any]] = measured(["-m", "poseglass", "bench", "--json"], server, options)["steps"]
    return steps


def measured(program: Sequence[str], server: Server, options: Sequence[str]) -> dict[str, Any]:
    """The JSON document of a program that puts a server under load.

    Args:
        program: arguments of Python; it is told the server's address and process.
        server: to load.
        options: further ones.

    Raises:
        RuntimeError: it printed no document with a step; says what it said.
    """
    command = [sys.executable, *program, "--server", server.address, "--server-pid", str(server.process.pid), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Exit code 1 with a document: nothing was answered, which is a result too.
    document: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    if not document.get("steps"):
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else "the load ended and said nothing")
    return document
