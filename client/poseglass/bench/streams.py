"""Load through `PredictStream`: each stream keeps a number of pictures under way, and sends one for each answer."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from poseglass.bench.connections import Connections
from poseglass.bench.loads import PAUSE
from poseglass.bench.messages import Message
from poseglass.bench.records import CANCELLED, UNKNOWN, Answer, Records
from poseglass.exchange import STREAM_GRACE

_ENDED = Answer(UNKNOWN, "the server ended the stream before it had answered every picture")
_SILENT = Answer("DEADLINE_EXCEEDED", "the server left a picture of the stream unanswered for longer than its deadline")


@dataclass
class StreamCount:
    """What became of the streams themselves.

    Attributes:
        opened: how many there were.
        broken: code -> how many ended before their time.
    """

    opened: int = 0
    broken: Counter[str] = field(default_factory=Counter)


async def streams(
    connections: Connections,
    messages: Iterator[Message],
    count: int,
    in_flight: int,
    begin: float,
    end: float,
    timeout: float,
    records: Records,
) -> StreamCount:
    """Keep `count` streams busy; one that breaks is followed by a new one.

    Args:
        connections: opens them.
        messages: without end; each says its own deadline.
        count: of streams.
        in_flight: pictures of each that are sent and not answered.
        begin, end: times of the event loop; none is sent before or after.
        timeout: seconds that a picture may take; what the server leaves unanswered long after ends the stream.
        records: takes a row a picture; it is due when the stream has room for it.
    """
    loop = asyncio.get_running_loop()
    counted = StreamCount()

    async def busy() -> None:
        await asyncio.sleep(begin - loop.time())
        while loop.time() < end:
            counted.opened += 1
            stream = _Stream(connections, messages, in_flight, timeout, records)
            broken = await stream.run(end)
            if broken is not None:
                counted.broken[broken.code] += 1
                await asyncio.sleep(PAUSE)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(busy())
    return counted


class _Stream:
    """One stream, from its opening to its end."""

    def __init__(
        self, connections: Connections, messages: Iterator[Message], in_flight: int, timeout: float, records: Records
    ) -> None:
        self._connections, self._messages, self._records = connections, messages, records
        self._timeout = timeout
        self._free = asyncio.Semaphore(in_flight)
        self._pending: deque[tuple[int, float]] = deque()  # kind, when it was sent
        self._time: Callable[[], float] = asyncio.get_running_loop().time
        self._given_up = False

    async def run(self, end: float) -> Answer | None:
        """Send until `end`, and read until everything is answered; returns why it broke, where it did."""
        call = self._connections.stream()
        helpers = [asyncio.create_task(self._write(call, end)), asyncio.create_task(self._watch(call))]
        broken: Answer | None = CANCELLED
        try:
            broken = await self._read(call)
            if broken is None and (self._pending or self._time() < end):
                broken = _ENDED
        finally:
            call.cancel()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            while broken is not None and self._pending:
                self._record(broken)
        return broken

    async def _read(self, call: Any) -> Answer | None:
        try:
            while (data := await call.read()) is not grpc.aio.EOF:
                if self._pending:  # a server that answers more than it was asked is not ours
                    self._record(self._connections.read(data))
                self._free.release()
        except grpc.RpcError as error:
            return self._connections.failed(error)
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            return _SILENT
        return None

    async def _write(self, call: Any, end: float) -> None:
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # it is over; the reader is told why
            while True:
                await self._free.acquire()
                sent = self._time()
                if sent >= end:
                    break
                message = next(self._messages)
                self._pending.append((message.kind, sent))
                await call.write(message.data)
            await call.done_writing()

    async def _watch(self, call: Any) -> None:
        """Gives the stream up where the server forgot a picture."""
        patience = self._timeout + STREAM_GRACE
        while not self._pending or self._time() < self._pending[0][1] + patience:
            await asyncio.sleep(PAUSE)
        self._given_up = True
        call.cancel()

    def _record(self, answer: Answer) -> None:
        kind, sent = self._pending.popleft()
        self._records.add(kind, sent, sent, self._time(), answer)
