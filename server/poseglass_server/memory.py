"""Room for decoded pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from poseglass_server.tickets import Ticket

Reserve = Callable[[int], None]
"""Told how many pixels a picture has, before memory is taken for them; waits until there is room."""


class PictureMemory:
    """Bounds the pixels of all pictures that are decoded and not done with.

    Many threads work on pictures, so that their crops can share batches; as many of the largest pictures at once would
    take gigabytes.

    Args:
        pixels: of all pictures together; a single one that is larger has them for itself.
    """

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, ticket: Ticket) -> Iterator[Reserve]:
        """Room for one picture, until the end of the block.

        Args:
            ticket: who waits.

        Yields:
            What reserves it; it raises `Expired` where the caller stops waiting first.
        """
        taken = 0

        def reserve(pixels: int) -> None:
            nonlocal taken
            with self._changed:
                while self._taken and self._taken + pixels > self._pixels:
                    ticket.check()
                    self._changed.wait(timeout=0.1)  # the ticket is looked at again, too
                self._taken += pixels
                taken += pixels

        try:
            yield reserve
        finally:
            if taken:
                with self._changed:
                    self._taken -= taken
                    self._changed.notify_all()
