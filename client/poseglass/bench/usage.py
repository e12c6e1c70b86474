"""What processes cost: processor seconds and memory, of this one and, through /proc, of another with its children."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from poseglass.errors import InvalidRequest

PROC = Path("/proc")


@dataclass(frozen=True)
class Sample:
    """Processes at one moment.

    Attributes:
        at: time of the event loop's clock.
        generator_cpu: seconds that this process has computed, all its threads together.
        server_cpu: seconds that the server's processes have computed; None where nobody asked, or they are gone.
        server_rss: bytes of memory that they hold, likewise.
    """

    at: float
    generator_cpu: float
    server_cpu: float | None = None
    server_rss: int | None = None


class Gauge:
    """Takes samples.

    Args:
        pid: of the server on this machine; None: of this process alone.

    Raises:
        InvalidRequest: there is no such process, or this system does not tell.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        if pid is None:
            return
        if not (PROC / "self" / "stat").exists():
            raise InvalidRequest("--server-pid", "needs /proc, which this system does not have; leave it out")
        if not (PROC / str(pid) / "stat").exists():
            raise InvalidRequest("--server-pid", f"no process on this machine has the number {pid}")

    def sample(self, at: float) -> Sample:
        """Look now.

        Args:
            at: what time it is.
        """
        own = time.process_time()
        if self._pid is None:
            return Sample(at, own)
        family = [found for pid in descendants(self._pid) if (found := process_cost(pid)) is not None]
        if not family:
            return Sample(at, own)
        return Sample(at, own, sum(cpu for cpu, _ in family), sum(rss for _, rss in family))


def process_cost(pid: int) -> tuple[float, int] | None:
    """A process' processor seconds, with those of its children that have ended, and its resident bytes.

    Returns:
        None where it has ended.
    """
    try:
        text = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    ticks = sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """A process and all that it has begun; itself alone where the system does not keep lists of children."""
    found = [pid]
    for parent in found:  # which grows meanwhile
        for task in sorted((PROC / str(parent) / "task").glob("*/children")):
            try:
                found += map(int, task.read_text("ascii").split())
            except OSError:
                continue
    return found
