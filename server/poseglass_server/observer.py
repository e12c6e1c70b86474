"""What the server tells of itself, to whoever listens."""

from __future__ import annotations


class Observer:
    """Hears of everything that is worth counting, from several threads; this one forgets it at once."""

    def batch(self, model: str, size: int, seconds: float) -> None:
        """A network ran so many crops in so many seconds."""

    def stages(self, decode: float, queue: float, inference: float, total: float) -> None:
        """A picture was answered; seconds of its stages."""

    def queue(self, waiting: int, working: int) -> None:
        """So many pictures wait for a thread, and so many have one."""

    def refused(self, reason: str) -> None:
        """A picture was turned away before any work: "queue" (full), "deadline" (it would pass) or "evicted"."""
