"""Raw calls: bytes out, `Answer` in. Nothing is tried again here, for that would hide what is to be measured."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from poseglass.bench.records import NO_TIMINGS, OK, UNKNOWN, UNREADABLE, Answer
from poseglass.errors import Overloaded, PoseglassError, ServerError
from poseglass.exchange import Exchange
from poseglass.statuses import from_rpc_error, from_status, mapped
from poseglass_proto.v1 import pose_pb2 as pb

_SERVICE = "/poseglass.v1.PoseService"


class Connections:
    """Channels to one server, taken in turn. Made and used inside one event loop.

    Args:
        exchange: settings of the connection.
        count: how many channels, each with a connection of its own.
    """

    def __init__(self, exchange: Exchange, count: int) -> None:
        self.address = exchange.address
        self._metadata = exchange.metadata
        self._channels = [exchange.open_channel(grpc.aio) for _ in range(count)]
        self._unary = self._in_turn(lambda channel: channel.unary_unary(f"{_SERVICE}/Predict"))
        self._streams = self._in_turn(lambda channel: channel.stream_stream(f"{_SERVICE}/PredictStream"))

    def _in_turn(self, method: Callable[[grpc.aio.Channel], Any]) -> Iterator[Any]:
        """A method of each channel, over and over."""
        return itertools.cycle([method(channel) for channel in self._channels])

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def ask(self, data: bytes, seconds: float) -> Answer:
        """One `Predict`.

        Args:
            data: a serialized request.
            seconds: until it is given up.
        """
        try:
            return self.read(await self._predict(data, seconds))
        except grpc.RpcError as error:
            return self.failed(error)

    async def check(self, data: bytes, seconds: float) -> None:
        """One `Predict` whose answer does not matter, as long as there is one.

        Args:
            data: a serialized request.
            seconds: until it is given up.

        Raises:
            PoseglassError: there is none.
        """
        with mapped(self.address):
            await self._predict(data, seconds)

    def _predict(self, data: bytes, seconds: float) -> Any:
        return next(self._unary)(data, timeout=seconds, metadata=self._metadata())

    def stream(self) -> Any:
        """A new `PredictStream`, of bytes both ways."""
        return next(self._streams)(metadata=self._metadata())

    def read(self, data: bytes) -> Answer:
        """A serialized response as an answer; a picture that failed inside a stream, too."""
        try:
            response = pb.PredictResponse.FromString(data)
        except DecodeError as error:
            return Answer(UNREADABLE, str(error) or "it cannot be parsed")
        if response.HasField("error"):
            return refusal(from_status(response.error, self.address))
        timings, model = response.timings, response.model
        known = response.HasField("timings")
        return Answer(
            OK,
            timings=(timings.decode, timings.queue, timings.inference, timings.total) if known else NO_TIMINGS,
            people=len(response.persons),
            origin=(model.name, model.version, model.sha256, response.provider),
        )

    def failed(self, error: grpc.RpcError) -> Answer:
        """A call that failed as an answer."""
        return refusal(from_rpc_error(error, self.address))


def refusal(error: PoseglassError) -> Answer:
    """An error as an answer."""
    if isinstance(error, ServerError) and error.transient:  # gRPC lost what the server said
        return Answer(UNKNOWN, str(error))
    if isinstance(error, Overloaded) and error.retry_after is not None:
        return Answer(error.code, str(error), retry=error.retry_after)
    return Answer(error.code, str(error))
