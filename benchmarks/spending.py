"""What a program takes: processor time, wall time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """By a program from its beginning to its end, with the programs it started and waited for.

    Attributes:
        cpu_seconds: of all its threads.
        seconds: on the wall.
        peak_mb: MiB that it held at most, its own alone; no less than this process held when it began, as the system
            counts from before the program replaced it.
        output: what it printed.
    """

    cpu_seconds: float
    seconds: float
    peak_mb: float
    output: str


def spend(arguments: Sequence[str]) -> Spent:
    """Run a program of this Python to its end.

    Args:
        arguments: of Python.

    Raises:
        RuntimeError: it failed; says what it said last.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {output.strip()[-2000:]}")
    return Spent(usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss / 1024, output)
