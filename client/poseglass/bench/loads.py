"""Two ways to put a server under load, one request a call: arrivals that wait for nobody, and callers that wait.

All times are of the running event loop's clock. A request is late from the moment it was due, not from the moment it
was sent: a server that stalls, or a generator that does, must not hide the requests that would have come meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from poseglass.bench.messages import MOST_MIB, Message
from poseglass.bench.records import CANCELLED, LATE, Answer, Records
from poseglass.options import MIB

Ask = Callable[[bytes, float], Awaitable[Answer]]
"""Sends a serialized request and gives its answer; the second argument is the seconds it may take."""

PAUSE = 0.1
"""Seconds before a caller asks a server again at which nobody answered."""

MOST_UNDER_WAY = MOST_MIB * MIB
"""Bytes of requests that are sent and not answered; what is due beyond is not sent, as memory would not hold it."""


async def open_loop(
    ask: Ask, messages: Sequence[Message], schedule: Sequence[float], begin: float, timeout: float, records: Records
) -> None:
    """Send requests when they are due, whatever became of the others; returns when the last is answered.

    Args:
        ask: sends one.
        messages: one an arrival.
        schedule: seconds after `begin`, not falling.
        begin: time of the event loop.
        timeout: seconds that a request may take, from when it was due.
        records: takes a row a request.
    """
    loop = asyncio.get_running_loop()
    under_way = 0

    async def one(message: Message, at: float) -> None:
        nonlocal under_way
        sent = loop.time()
        left = at + timeout - sent
        if left <= 0 or under_way + len(message.data) > MOST_UNDER_WAY:
            records.add(message.kind, at, sent, sent, LATE)
            return
        under_way += len(message.data)
        try:
            answer = await ask(message.data, left)
        except asyncio.CancelledError:
            records.add(message.kind, at, sent, loop.time(), CANCELLED)
            raise
        finally:
            under_way -= len(message.data)
        records.add(message.kind, at, sent, loop.time(), answer)

    async with asyncio.TaskGroup() as group:
        for message, after in zip(messages, schedule, strict=True):
            at = begin + after
            # Also where it is due already, so that the others are sent and answered meanwhile.
            await asyncio.sleep(max(at - loop.time(), 0))
            group.create_task(one(message, at))


async def callers(
    ask: Ask, messages: Iterator[Message], count: int, begin: float, end: float, timeout: float, records: Records
) -> None:
    """Keep so many requests under way: each caller sends its next one when it is answered.

    Args:
        ask: sends one.
        messages: without end.
        count: of callers.
        begin, end: times of the event loop; none is sent before or after.
        timeout: seconds that a request may take.
        records: takes a row a request.
    """
    loop = asyncio.get_running_loop()

    async def caller() -> None:
        await asyncio.sleep(begin - loop.time())
        while (sent := loop.time()) < end:
            message = next(messages)
            answer = CANCELLED
            try:
                answer = await ask(message.data, timeout)
            finally:
                records.add(message.kind, sent, sent, loop.time(), answer)
            if answer.code == "UNAVAILABLE":
                await asyncio.sleep(PAUSE)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(caller())
