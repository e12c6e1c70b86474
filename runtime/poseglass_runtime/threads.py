"""How many threads this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_threads(cgroup: Path = CGROUP) -> tuple[int, str]:
    """Threads to compute with, and where the number came from.

    The host's core count is the wrong answer in a container: the least of the processor affinity and the cgroup's quota
    (version 2 or 1), rounded up, is what gets scheduled.
    """
    count, source = len(os.sched_getaffinity(0)), "processor affinity"
    quota = _quota(cgroup)
    if quota is not None and math.ceil(quota) < count:
        count, source = max(math.ceil(quota), 1), f"cgroup quota of {quota:g} processors"
    return count, source


def _quota(cgroup: Path) -> float | None:
    """Processors that the cgroup grants; None where it sets no limit."""
    try:
        if (cgroup / "cpu.max").exists():
            granted, period = (cgroup / "cpu.max").read_text().split()
        else:
            granted = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        return None if granted in {"max", "-1"} else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
