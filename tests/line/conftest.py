"""A served model, as a user would serve it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest


@pytest.fixture(scope="session")
def serving():
    """A context manager: the address of `poseglass serve` with one model; it has to end as it should."""

    @contextmanager
    def serve(model):
        command = [sys.executable, "-m", "poseglass", "serve", "--model", str(model), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield re.search(r"127\.0\.0\.1:\d+", server.stdout.readline())[0]
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0

    return serve
