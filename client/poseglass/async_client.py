"""The client for asyncio: the same calls, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Unpack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from poseglass import exchange as settings
from poseglass.convert import ModelInfo, to_model_info, to_model_request
from poseglass.errors import Cancelled, ClientClosed, PoseglassError, mapped
from poseglass.exchange import (
    DEFAULT_ADDRESS,
    DEFAULT_IN_FLIGHT,
    DEFAULT_MAX_MESSAGE_MB,
    DEFAULT_TIMEOUT,
    Exchange,
    StreamItem,
    get_model_request,
)
from poseglass.options import ImageLike, PredictOptions
from poseglass.streaming import Pending, ended, silent
from poseglass_core.poses import Prediction
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc


class AsyncPoseClient:
    """`PoseClient` for asyncio; its methods take and raise the same.

        async with AsyncPoseClient("127.0.0.1:50051") as client:
            prediction = await client.predict("me.jpg")

    Belongs to the event loop of its first call. A cancelled task cancels its call.

    Args:
        address: "HOST:PORT".
        timeout: seconds a call may take unless it says otherwise.
        max_message_mb: MiB a message may have, either way; the server's is `--max-message-mb`.

    Raises:
        InvalidRequest: a setting that cannot be.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_message_mb: int = DEFAULT_MAX_MESSAGE_MB,
    ) -> None:
        self._exchange = Exchange(address, timeout, max_message_mb)
        self._channel: Any = None  # made inside the event loop, which a constructor may be outside of
        self._poses: Any = None
        self._health: Any = None
        self._streams: set[Any] = set()
        self._closed = False

    async def __aenter__(self) -> AsyncPoseClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._closed = True
        for call in self._streams.copy():  # the channel overlooks streams that wait for the caller's next picture
            call.cancel()
        if self._channel is not None:
            await self._channel.close()

    async def predict(
        self, image: ImageLike, *, timeout: float | None = None, **options: Unpack[PredictOptions]
    ) -> Prediction:
        """Find the poses in one picture; see `PoseClient.predict`."""
        deadline = time.monotonic() + self._exchange.timeout(timeout)
        self._connect()
        request = await asyncio.to_thread(self._exchange.request, image, options)  # it may read a file
        response = await self._call(self._poses.Predict, request, deadline)
        return await self._prediction(response, request, deadline)

    def stream(
        self,
        images: Iterable[StreamItem] | AsyncIterable[StreamItem],
        *,
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> AsyncIterator[Prediction | PoseglassError]:
        """Find the poses in many pictures, one answer a picture, in order; see `PoseClient.stream`.

        Args:
            images: iterable or asynchronous iterable; read lazily in a task of its own. A plain iterable that waits
                holds the event loop up.
            timeout: seconds for each picture from when it is sent; default the client's.
            in_flight: pictures sent and not yet answered.
            **options: as for `predict`, for every picture.
        """
        seconds = self._exchange.stream_settings(images, timeout, in_flight, options)
        return self._stream(images, seconds, in_flight, options)

    async def _stream(
        self,
        images: Iterable[StreamItem] | AsyncIterable[StreamItem],
        seconds: float,
        in_flight: int,
        options: PredictOptions,
    ) -> AsyncIterator[Prediction | PoseglassError]:
        self._connect()
        call = self._poses.PredictStream()
        free = asyncio.Semaphore(in_flight)
        slots: asyncio.Queue[Pending | PoseglassError | None] = asyncio.Queue()

        async def send() -> None:
            """Puts a slot a picture into `slots`, and None behind the last, whatever happens."""
            pictures = _each(images)
            try:
                while True:
                    await free.acquire()
                    try:
                        picture = await anext(pictures)
                    except StopAsyncIteration:
                        break
                    try:
                        request = await asyncio.to_thread(self._exchange.stream_request, picture, options, seconds)
                    except PoseglassError as error:
                        slots.put_nowait(error)
                        continue
                    slots.put_nowait(Pending(request, time.monotonic()))
                    await call.write(request)
                with suppress(asyncio.InvalidStateError):  # the server may have ended it already
                    await call.done_writing()
            finally:
                slots.put_nowait(None)

        self._streams.add(call)
        # Nothing will be sent any more once the call is over, so nobody should wait for another slot then.
        call.add_done_callback(lambda _: slots.put_nowait(None))
        sender = asyncio.create_task(send())
        try:
            with self._mapped():
                while (slot := await slots.get()) is not None:
                    self._check_open()  # reading a call that was cancelled here would never end
                    if isinstance(slot, Pending):
                        response = await self._receive(call, slot, seconds)
                        deadline = time.monotonic() + seconds
                        failure = self._exchange.failure(response)
                        yield failure or await self._prediction(response, slot.request, deadline)
                    else:
                        yield slot
                    free.release()
                if not sender.done():  # the call was over first
                    self._check_open()
                    await self._receive(call, Pending(pb.PredictRequest(), time.monotonic()), seconds)
                await sender  # raises what `images` raised, or why it could not send
        finally:
            sender.cancel()
            call.cancel()
            self._streams.discard(call)
            await asyncio.gather(sender, return_exceptions=True)

    async def models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """The models that the server has; see `PoseClient.models`."""
        deadline = time.monotonic() + self._exchange.timeout(timeout)
        self._connect()
        return self._exchange.models(await self._call(self._poses.ListModels, pb.ListModelsRequest(), deadline))

    async def model(self, name: str = "", version: int = 0, *, timeout: float | None = None) -> ModelInfo:
        """One model; see `PoseClient.model`."""
        deadline = time.monotonic() + self._exchange.timeout(timeout)
        self._connect()
        request = to_model_request(name, version)
        return to_model_info(await self._call(self._poses.GetModel, request, deadline))

    async def health(self, *, timeout: float | None = None) -> bool:
        """Whether the server says that it is serving; see `PoseClient.health`."""
        deadline = time.monotonic() + self._exchange.timeout(timeout)
        self._connect()
        response = await self._call(self._health.Check, health_pb2.HealthCheckRequest(), deadline)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def _receive(self, call: Any, slot: Pending, seconds: float) -> pb.PredictResponse:
        patience = slot.sent + seconds + settings.STREAM_GRACE - time.monotonic()
        try:
            response = await asyncio.wait_for(call.read(), max(patience, 0))
        except TimeoutError:
            raise silent(self._exchange.address, seconds) from None
        if response is grpc.aio.EOF:
            raise ended()
        return response  # type: ignore[no-any-return]

    async def _prediction(
        self, response: pb.PredictResponse, request: pb.PredictRequest, deadline: float
    ) -> Prediction:
        skeleton = self._exchange.skeleton(response)
        if skeleton is None:
            model = await self._call(self._poses.GetModel, get_model_request(response), deadline)
            skeleton = self._exchange.learn(model, response)
        return self._exchange.prediction(response, request, skeleton)

    async def _call(self, method: Any, request: Any, deadline: float) -> Any:
        with self._mapped():
            return await method(request, timeout=max(deadline - time.monotonic(), 0))

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Lets no error of gRPC out, and says so where this client was closed meanwhile."""
        try:
            with mapped(self._exchange.address):
                yield
        except (asyncio.CancelledError, asyncio.InvalidStateError, Cancelled, grpc.aio.UsageError):
            # The channel's end cancels what waits for it; a task that was cancelled itself stays so.
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise ClientClosed from None

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed

    def _connect(self) -> None:
        self._check_open()
        if self._channel is None:
            options = self._exchange.channel_options()
            self._channel = grpc.aio.insecure_channel(self._exchange.address, options=options)
            self._poses = pose_pb2_grpc.PoseServiceStub(self._channel)  # type: ignore[no-untyped-call]
            self._health = health_pb2_grpc.HealthStub(self._channel)


async def _each(images: Iterable[StreamItem] | AsyncIterable[StreamItem]) -> AsyncIterator[StreamItem]:
    """Both kinds of iterable as one."""
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        for image in images:
            yield image
