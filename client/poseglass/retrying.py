"""When a call that failed is made again.

gRPC could repeat calls itself, by a `retryPolicy` in the service config, and does not here: it knows nothing of the
delay that a busy server asks for (`google.rpc.RetryInfo`), it never repeats a call of more than 256 KiB, and it tells
nobody what it tried. Asking for poses changes nothing on the server, and a second reload does no more than the first,
so that any call may be repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from poseglass.errors import Overloaded, PoseglassError

DEFAULT_RETRIES = 5
"""Together about one and a half seconds, three at most: enough for a connection that broke, and for another replica.
The restart of the only server takes longer."""

INITIAL = 0.1
LONGEST = 2.0
"""Seconds: bounds of the wait before the first repetition, and before any. It doubles in between."""

SPREAD = 0.25
"""Share of the server's own delay by which a wait exceeds it at most: who was refused together comes back apart."""


class Attempts:
    """The attempts of one call: whether to ask once more, and after how long.

    Args:
        retries: how often to ask again; None: as often as there is time.
        deadline: of all attempts together (`time.monotonic`).
        clock: seconds.
        draw: a number from 0 to 1.
    """

    def __init__(
        self,
        retries: int | None,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.deadline = deadline
        self._retries, self._clock, self._draw = retries, clock, draw
        self._began = clock()
        self._failures: list[str] = []

    def remaining(self) -> float:
        """Seconds that are left: the timeout of the next attempt."""
        return max(self.deadline - self._clock(), 0.0)

    def pause(self, error: PoseglassError) -> float:
        """Seconds to wait before the next attempt.

        Args:
            error: how the last one failed.

        Raises:
            PoseglassError: `error`, with what was tried: asking again would not help, or is not allowed any more, or
                would come too late.
        """
        self._failures.append(error.code)
        if error.transient and (self._retries is None or len(self._failures) <= self._retries):
            wait = self._wait(error)
            if wait < self.remaining():
                return wait
        self._say_what_was_tried(error)
        raise error

    def _wait(self, error: PoseglassError) -> float:
        if isinstance(error, Overloaded) and error.retry_after is not None:
            return error.retry_after + self._draw() * max(SPREAD * error.retry_after, INITIAL)
        # The whole range from 0 ("full jitter"): callers that a server lost together must not return together.
        doublings = min(len(self._failures) - 1, 16)
        return self._draw() * min(LONGEST, INITIAL * 2.0**doublings)

    def _say_what_was_tried(self, error: PoseglassError) -> None:
        times = len(self._failures)
        if times < 2:
            return
        before = [code for code in dict.fromkeys(self._failures) if code != error.code]
        others = f", {' and '.join(before)} before" if before else ""
        error.args = (f"{error} (asked {times} times in {self._clock() - self._began:.1f} s{others})",)
