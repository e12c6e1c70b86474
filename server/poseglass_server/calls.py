"""Calls in progress, and how they end when the server does."""

from __future__ import annotations

import asyncio

from poseglass_server.errors import Context, ShuttingDown


class Calls:
    """Counts the calls that work is done for, until their answers are sent.

    Attributes:
        count: calls in progress.
        stop_reading: set when streams should answer what they have read and end.
    """

    def __init__(self) -> None:
        self.stop_reading = asyncio.Event()
        self.count = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self, context: Context) -> None:
        """Count a call until it is over.

        Raises:
            ShuttingDown: no more calls are let in.
        """
        if self._closing:
            raise ShuttingDown("the server is shutting down; send the call to another one, or again later")
        self.count += 1
        self._idle.clear()
        context.add_done_callback(self._leave)  # type: ignore[arg-type]

    def _leave(self, ctx: Context) -> None:  # noqa: ARG002 - the callback's signature
        self.count -= 1
        if self.count == 0:
            self._idle.set()

    async def close(self, grace: float) -> None:
        """Let nobody in and wait for those inside.

        A stream may send for half of the time: one that ends by itself is answered whole, one that never ends is told
        to go elsewhere while there is time to answer what was read.

        Args:
            grace: seconds to wait at most.
        """
        self._closing = True
        timer = asyncio.get_running_loop().call_later(grace / 2, self.stop_reading.set)
        try:
            await asyncio.wait_for(self._idle.wait(), grace)
        except TimeoutError:
            pass
        finally:
            timer.cancel()
