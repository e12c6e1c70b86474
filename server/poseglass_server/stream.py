"""Many requests in flight, answered in the order they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from poseglass_server.errors import ShuttingDown

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def answer_in_order(
    requests: AsyncIterator[Request],
    answer: Callable[[Request], Coroutine[Any, Any, Answer]],
    write: Callable[[Answer], Awaitable[None]],
    in_flight: int,
    stop_reading: asyncio.Event,
) -> None:
    """Answer a stream.

    A caller who does not read its answers stops being read from: what is neither read nor answered stays in the
    transport, whose flow control holds the caller back.

    Args:
        requests: what comes in.
        answer: one request's work; failures that concern it alone are part of its answer.
        write: sends an answer; waits while the caller is slow.
        in_flight: requests that are read and whose answer is not yet written.
        stop_reading: when set, what was read is still answered, and nothing more is read.

    Raises:
        ShuttingDown: `stop_reading` ended the stream before the caller did.
    """
    places = asyncio.Semaphore(in_flight)
    answers: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
    tasks: set[asyncio.Task[Answer]] = set()

    async def read() -> None:
        try:
            await places.acquire()
            async for request in requests:
                task = asyncio.create_task(answer(request))
                tasks.add(task)
                answers.put_nowait(task)
                await places.acquire()
        finally:
            answers.put_nowait(None)

    reader = asyncio.create_task(read())
    stopper = asyncio.create_task(stop_reading.wait())
    stopper.add_done_callback(lambda _: reader.cancel())
    try:
        while (task := await answers.get()) is not None:
            await write(await task)
            tasks.discard(task)
            places.release()
        await asyncio.wait({reader})
        if reader.cancelled():
            raise ShuttingDown(
                "the server is shutting down; it read nothing after the last answer, send the rest again"
            )
        reader.result()
    finally:
        for leftover in (reader, stopper, *tasks):
            leftover.cancel()
