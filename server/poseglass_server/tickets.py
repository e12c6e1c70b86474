"""Who waits for a piece of work, and for how long."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field

from poseglass_server.errors import Expired

EXPIRED = "the deadline passed before the picture was done; allow more time, or send fewer pictures at once"


@dataclass(eq=False)
class Ticket:
    """A caller's claim to work; passed from the event loop to the threads that do it.

    Attributes:
        caller: whose turn it is; equal for all that shares a turn.
        deadline: of `time.monotonic`; None: there is none.
        arrived: of `time.perf_counter`, when the claim was made.
        waited: seconds that were spent in queues so far.
    """

    caller: Hashable
    deadline: float | None = None
    arrived: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    _left: bool = field(default=False, init=False)
    _waiting: threading.Event | None = field(default=None, init=False)

    @property
    def dead(self) -> bool:
        """Whether nobody waits any more: the caller left, or the deadline passed."""
        return self._left or self.remaining <= 0

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; infinite where there is none."""
        return math.inf if self.deadline is None else self.deadline - time.monotonic()

    def check(self) -> None:
        """Nothing more is done for a caller who no longer waits.

        Raises:
            Expired: nobody waits any more.
        """
        if self.dead:
            raise Expired(EXPIRED)

    def leave(self) -> None:
        """The caller waits no longer: whoever is in `wait` for it is woken."""
        self._left = True
        waiting = self._waiting
        if waiting is not None:
            waiting.set()

    def wait(self, done: threading.Event) -> None:
        """Wait for an event in a thread, as long as the caller does.

        Raises:
            Expired: the deadline passed or the caller left first.
        """
        self._waiting = done
        try:
            self.check()  # after the event can be found by `leave`
            done.wait(None if self.deadline is None else max(self.remaining, 0))
            self.check()
        finally:
            self._waiting = None
