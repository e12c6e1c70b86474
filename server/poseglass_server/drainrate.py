"""How long the queue is in time: who would wait in vain, and when to come again."""

from __future__ import annotations

SHARE = 0.1
"""Of the newest picture in the running means."""

LEAST_S = 0.02
LONGEST_S = 30.0
"""Seconds; bounds of what a caller is told to wait."""


class DrainRate:
    """How fast a queue empties, from the time that each piece of work takes; not thread-safe.

    While all workers are busy, they finish `workers / seconds a picture` pictures a second (Little's law). The time a
    picture takes grows with what else runs, so it is measured, and forgets.

    Args:
        workers: pieces of work that run at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._seconds = 0.0

    def took(self, seconds: float) -> None:
        """One piece of work is done."""
        self._seconds = seconds if self._seconds == 0 else self._seconds + SHARE * (seconds - self._seconds)

    def until_begun(self, ahead: int) -> float:
        """Seconds until work begins that has so many pieces before it; 0 where nothing has been measured."""
        return ahead * self._seconds / self._workers

    def until_done(self, ahead: int) -> float:
        """Seconds until it is done; 0 where nothing is before it: workers are free, and may be quicker than usual."""
        return self.until_begun(ahead) + self._seconds if ahead else 0.0

    def retry_delay(self, waiting: int) -> float:
        """Seconds after which somebody who finds so many waiting should ask again: when those have begun."""
        return min(max(self.until_begun(waiting), LEAST_S), LONGEST_S)
