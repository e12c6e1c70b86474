"""What the figures were measured on, and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """This machine and this program, as plain values."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "usable_processors": _usable(),
        "load_average": _load_average(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("poseglass", "grpcio", "protobuf", "numpy")},
    }


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _usable() -> int | None:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _load_average() -> float | None:
    """Of the last minute, before the run: what else the machine was doing."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
