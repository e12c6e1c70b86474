"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name, and how many of them the machine has."""
    source = Path("/proc/cpuinfo")
    lines = source.read_text("utf-8").splitlines() if source.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} processors"
