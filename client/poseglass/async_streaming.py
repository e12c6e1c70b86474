"""One stream of pictures, with tasks: what `streaming` does with threads."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import grpc

from poseglass.errors import Cancelled, PoseglassError
from poseglass.exchange import StreamItem
from poseglass.statuses import from_rpc_error
from poseglass.stream_state import LAST_WORDS, Slot, StreamState, ended, left
from poseglass_proto.v1 import pose_pb2 as pb


class AsyncStream:
    """Sends pictures, over one call after another where they break, and gives out their answers in order.

    Args:
        images: read in a task of its own.
        build: picture -> request, called in a thread; its PoseglassErrors take the picture's place.
        call: begins `PredictStream`.
        state: of the stream.
        address: of the server.
    """

    def __init__(
        self,
        images: Iterable[StreamItem] | AsyncIterable[StreamItem],
        build: Callable[[StreamItem], pb.PredictRequest],
        call: Callable[[], Any],
        state: StreamState,
        address: str,
    ) -> None:
        self._images, self._build, self._begin = images, build, call
        self._state, self._address = state, address
        self._change = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._call: Any = None

    async def answers(self) -> AsyncIterator[Slot]:
        """One a picture, in order.

        Raises:
            PoseglassError: the stream broke and cannot be mended. And whatever `images` raises.
        """
        self._tasks = [asyncio.create_task(self._guarded(work)) for work in (self._read, self._converse)]
        while (slot := await self._next()) is not None:
            yield slot
            self._state.done()
            self._changed()

    async def _next(self) -> Slot | None:
        """The oldest picture with its answer; None: there are no more."""
        state = self._state
        while (slot := state.head()) is None and not state.finished:
            patience = state.patience()
            if patience <= 0:
                raise state.silent()
            await self._wait(patience)
        return slot

    def fail(self, error: BaseException) -> None:
        """End the stream: `error` is raised after the answers that are there. One that is over stays as it is."""
        if self._state.over:
            return
        self._state.fail(error)
        self._changed()
        if self._call is not None:
            self._call.cancel()

    async def stop(self) -> None:
        """Read, send and receive no more."""
        self.fail(left())
        try:
            if self._tasks and self._state.finished:  # the server should not take this for a caller who left
                await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """What a task raises is raised in the caller's."""
        try:
            await work()
        except asyncio.CancelledError:
            self.fail(Cancelled("the call was cancelled"))
            raise
        except BaseException as error:
            self.fail(error)

    async def _read(self) -> None:
        state, end = self._state, None
        try:
            images = _each(self._images)
            while True:
                while state.full and not state.over:
                    await self._wait(math.inf)
                if state.over:
                    return
                try:
                    image = await anext(images)
                except StopAsyncIteration:
                    break
                state.add(await self._request(image))
                self._changed()
        except Exception as error:  # the caller's own: it is raised to the caller, after the answers
            end = error
        state.end(end)
        self._changed()

    async def _request(self, image: StreamItem) -> pb.PredictRequest | PoseglassError:
        try:
            return await asyncio.to_thread(self._build, image)  # it may read a file
        except PoseglassError as error:
            return error

    async def _converse(self) -> None:
        """Call after call, until all is answered or the stream cannot be mended."""
        pause: float | None = 0.0
        while pause is not None:
            until = asyncio.get_running_loop().time() + pause
            while (rest := until - asyncio.get_running_loop().time()) > 0 and not self._state.over:
                await self._wait(rest)
            if self._state.over:
                return
            error = await self._talk()
            pause = self._state.broken(error)
            self._changed()

    async def _talk(self) -> PoseglassError:
        """One call; why it ended."""
        number = self._state.begin()
        self._call = call = self._begin()
        sender = asyncio.create_task(self._send(call, number))
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                self._state.received(response)
                self._changed()
        except grpc.RpcError as error:
            return from_rpc_error(error, self._address)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        return ended()

    async def _send(self, call: Any, number: int) -> None:
        try:
            while True:
                while wait := self._state.due(number):
                    await self._wait(wait)
                if wait is None:
                    break
                request = self._state.take()
                self._changed()  # from now on there is a time to wait for its answer
                await call.write(request)
            await call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the call is over; reading it says why
        except Exception as error:
            self.fail(error)

    async def _wait(self, seconds: float) -> None:
        """Until something changes, for so long at most."""
        change = self._change
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await change.wait()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


async def _each(images: Iterable[StreamItem] | AsyncIterable[StreamItem]) -> AsyncIterator[StreamItem]:
    """Both kinds of iterable as one."""
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        for image in images:
            yield image
