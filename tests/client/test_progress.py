"""Progress is for people who wait: on a terminal, after a while, and never in the results."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import time
from poseglass.commands import console
console.PATIENCE = {patience}
with console.Meter(4, "pictures") as meter:
    for row in range(4):
        time.sleep(0.1)
        with meter.aside():
            print("row", row, flush=True)
        meter.advance()
"""


def shown(patience: float, terminal: bool) -> tuple[str, str]:
    """(stdout, stderr) of a short run."""
    if not terminal:
        done = subprocess.run([sys.executable, "-c", SCRIPT.format(patience=patience)], capture_output=True, check=True)
        return done.stdout.decode(), done.stderr.decode()
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    command = [sys.executable, "-c", SCRIPT.format(patience=patience)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        said = os.read(ours, 1 << 16)
    except (BlockingIOError, OSError):  # nothing was written
        said = b""
    os.close(ours)
    return done.stdout.decode(), said.decode()


ROWS = "row 0\nrow 1\nrow 2\nrow 3\n"


def test_a_terminal_sees_progress_after_a_while():
    results, said = shown(patience=0.05, terminal=True)
    assert results == ROWS
    assert "pictures" in said


def test_a_quick_run_shows_none():
    assert shown(patience=60, terminal=True) == (ROWS, "")


def test_without_a_terminal_there_is_none():
    assert shown(patience=0.05, terminal=False) == (ROWS, "")
