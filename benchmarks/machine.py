"""What a figure was measured on."""

from __future__ import annotations

import os

from poseglass.bench import machine


def processor() -> str:
    """The processor's name, and how many of them the machine has."""
    return f"{machine.processor()}, {os.cpu_count()} processors"
