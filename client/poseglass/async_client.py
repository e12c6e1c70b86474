"""The client for asyncio: the same calls, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Literal, Unpack, overload

import grpc

from poseglass.async_streaming import AsyncStream
from poseglass.connecting import ConnectionSettings
from poseglass.convert import ModelInfo, to_model_info, to_model_request
from poseglass.errors import Cancelled, ClientClosed, PoseglassError
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
from poseglass.services import HEALTH_REQUEST, Services, serving
from poseglass.statuses import mapped
from poseglass.stream_state import Slot, StreamState
from poseglass_core.poses import Prediction
from poseglass_proto.v1 import pose_pb2 as pb


class AsyncPoseClient:
    """`PoseClient` for asyncio; its methods take and raise the same.

        async with AsyncPoseClient("127.0.0.1:50051") as client:
            prediction = await client.predict("me.jpg")

    Belongs to the event loop of its first call. A cancelled task cancels its call.

    Args:
        address, timeout, max_message_mb, **settings: see `PoseClient`.

    Raises:
        InvalidRequest: a setting that cannot be.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_message_mb: int = DEFAULT_MAX_MESSAGE_MB,
        **settings: Unpack[ConnectionSettings],
    ) -> None:
        self._exchange = Exchange(address, timeout, max_message_mb, **settings)
        self._services: Services | None = None  # made inside the event loop, which a constructor may be outside of
        self._streams: set[AsyncStream] = set()
        self._closed = asyncio.Event()

    async def __aenter__(self) -> AsyncPoseClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._closed.set()
        for stream in self._streams.copy():  # the channel overlooks streams that wait for the caller's next picture
            stream.fail(ClientClosed())
        if self._services is not None:
            await self._services.channel.close()

    async def predict(
        self, image: ImageLike, *, timeout: float | None = None, **options: Unpack[PredictOptions]
    ) -> Prediction:
        """Find the poses in one picture; see `PoseClient.predict`."""
        deadline = self._exchange.deadline(timeout)
        poses = self._connect().poses
        request = await asyncio.to_thread(self._exchange.request, image, options)  # it may read a file
        response = await self._call(poses.Predict, request, deadline)
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
            timeout: seconds for each picture from when it is first sent; default the client's.
            in_flight: pictures sent and not yet answered.
            **options: as for `predict`, for every picture.
        """
        seconds = self._exchange.stream_settings(images, timeout, in_flight, options)
        return self._stream(images, seconds, in_flight, options)

    @overload
    def predict_many(
        self,
        items: Iterable[StreamItem] | AsyncIterable[StreamItem],
        *,
        on_error: Literal["raise"] = "raise",
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> AsyncIterator[Prediction]: ...

    @overload
    def predict_many(
        self,
        items: Iterable[StreamItem] | AsyncIterable[StreamItem],
        *,
        on_error: Literal["return"],
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> AsyncIterator[Prediction | PoseglassError]: ...

    def predict_many(
        self,
        items: Iterable[StreamItem] | AsyncIterable[StreamItem],
        *,
        on_error: Literal["raise", "return"] = "raise",
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> AsyncIterator[Prediction | PoseglassError]:
        """Find the poses in many pictures, each a prediction or an error; see `PoseClient.predict_many`.

        Args:
            items: as the `images` of `stream`.
            on_error: "raise" the first picture's that fails, or "return" it in its place.
            timeout: seconds for each picture from when it is first sent; default the client's.
            in_flight: pictures sent and not yet answered.
            **options: as for `predict`, for every picture.
        """
        raising = self._exchange.raising(on_error)
        answers = self.stream(items, timeout=timeout, in_flight=in_flight, **options)
        return _raised(answers) if raising else answers

    async def _stream(
        self,
        images: Iterable[StreamItem] | AsyncIterable[StreamItem],
        seconds: float,
        in_flight: int,
        options: PredictOptions,
    ) -> AsyncIterator[Prediction | PoseglassError]:
        exchange, poses = self._exchange, self._connect().poses
        stream = AsyncStream(
            images,
            lambda item: exchange.stream_request(item, options, seconds),
            lambda: poses.PredictStream(metadata=exchange.metadata()),
            StreamState(exchange, seconds, in_flight),
            exchange.address,
        )
        self._streams.add(stream)
        try:
            with self._mapped():
                async for slot in stream.answers():
                    yield await self._answer(slot, seconds)
        finally:
            await stream.stop()
            self._streams.discard(stream)

    async def models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """The models that the server has; see `PoseClient.models`."""
        deadline = self._exchange.deadline(timeout)
        response = await self._call(self._connect().poses.ListModels, pb.ListModelsRequest(), deadline)
        return self._exchange.models(response)

    async def model(self, name: str = "", version: int = 0, *, timeout: float | None = None) -> ModelInfo:
        """One model; see `PoseClient.model`."""
        deadline = self._exchange.deadline(timeout)
        poses, request = self._connect().poses, to_model_request(name, version)
        return to_model_info(await self._call(poses.GetModel, request, deadline))

    async def reload(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """Have the server look at its model repository again; see `PoseClient.reload`."""
        deadline = self._exchange.deadline(timeout)
        response = await self._call(self._connect().admin.Reload, pb.ReloadRequest(), deadline)
        return self._exchange.models(response)

    async def health(self, *, timeout: float | None = None) -> bool:
        """Whether the server says that it is serving; see `PoseClient.health`."""
        deadline = self._exchange.deadline(timeout)
        return serving(await self._call(self._connect().health.Check, HEALTH_REQUEST, deadline))

    async def _answer(self, slot: Slot, seconds: float) -> Prediction | PoseglassError:
        """What a stream says of one picture."""
        if isinstance(slot.answer, pb.PredictResponse):
            return await self._prediction(slot.answer, slot.request, self._exchange.deadline(seconds))
        return slot.error()

    async def _prediction(
        self, response: pb.PredictResponse, request: pb.PredictRequest, deadline: float
    ) -> Prediction:
        skeleton = self._exchange.skeleton(response)
        if skeleton is None:
            model = await self._call(self._connect().poses.GetModel, get_model_request(response), deadline)
            skeleton = self._exchange.learn(model, response)
        return self._exchange.prediction(response, request, skeleton)

    async def _call(self, method: Any, request: Any, deadline: float) -> Any:
        attempts = self._exchange.attempts(deadline)
        while True:
            self._check_open()
            try:
                with self._mapped():
                    return await method(request, timeout=attempts.remaining(), metadata=self._exchange.metadata())
            except PoseglassError as error:
                pause = attempts.pause(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), pause)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Lets no error of gRPC out, and says so where this client was closed meanwhile."""
        try:
            with mapped(self._exchange.address):
                yield
        except (asyncio.CancelledError, asyncio.InvalidStateError, Cancelled, grpc.aio.UsageError):
            # The channel's end cancels what waits for it; a task that was cancelled itself stays so.
            task = asyncio.current_task()
            if not self._closed.is_set() or (task is not None and task.cancelling()):
                raise
            raise ClientClosed from None

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClientClosed

    def _connect(self) -> Services:
        self._check_open()
        if self._services is None:
            self._services = Services(self._exchange.open_channel(grpc.aio))
        return self._services


async def _raised(answers: AsyncIterator[Prediction | PoseglassError]) -> AsyncIterator[Prediction]:
    """The answers until the first error, which is raised."""
    async with aclosing(answers) as each:  # type: ignore[type-var]
        async for answer in each:
            if isinstance(answer, PoseglassError):
                raise answer
            yield answer
