"""Connections to the servers, as cheap as can be: bytes that were made before, and little parsing."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from peers.work import MODEL, Joints, pack
from poseglass.bench.records import OK, UNREADABLE, Answer
from poseglass_proto.oip import inference_pb2 as oip

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_MOST_BYTES = 32 << 20
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Connections(Protocol):
    """Ways to one server."""

    def message(self, picture: bytes, box: tuple[float, float, float, float]) -> bytes:
        """A request, ready to be sent."""
        ...

    async def ask(self, data: bytes, seconds: float) -> Answer:
        """Send a request and wait for its answer."""
        ...

    async def joints(self, data: bytes, seconds: float) -> Joints:
        """The same; raises RuntimeError where there is no answer."""
        ...

    async def close(self) -> None:
        """The end."""
        ...


class HttpConnections:
    """HTTP/1.1 connections that stay open: one for each request that is under way.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._free: list[_Http] = []

    def message(self, picture: bytes, box: tuple[float, float, float, float]) -> bytes:
        """A POST of `work.pack`."""
        body = pack(picture, box)
        head = (
            f"POST /inference HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def ask(self, data: bytes, seconds: float) -> Answer:
        """See `Connections`. What is no JSON with joints is `UNREADABLE`; a refusal is `HTTP nnn`."""
        try:
            status, body = await self._send(data, seconds)
        except TimeoutError:
            return Answer("DEADLINE_EXCEEDED", f"no answer within {seconds:g} s")
        except (OSError, ValueError) as error:
            return Answer("UNAVAILABLE", str(error) or type(error).__name__)
        if status != 200:
            return Answer(f"HTTP {status}", body[:200].decode(errors="replace"))
        try:
            return Answer(OK, people=float("joints" in json.loads(body)))
        except ValueError as error:
            return Answer(UNREADABLE, str(error))

    async def joints(self, data: bytes, seconds: float) -> Joints:
        """See `Connections`."""
        status, body = await self._send(data, seconds)
        if status != 200:
            raise RuntimeError(f"HTTP {status}: {body[:200].decode(errors='replace')}")
        answer = json.loads(body)
        return Joints(np.array(answer["joints"], np.float32), np.array(answer["scores"], np.float32))

    async def _send(self, data: bytes, seconds: float) -> tuple[int, bytes]:
        async with asyncio.timeout(seconds):
            connection = await self._connection()
            try:
                answer = await connection.send(data)
            except BaseException:
                connection.close()
                raise
        if connection.open:
            self._free.append(connection)
        return answer

    async def _connection(self) -> _Http:
        while self._free:
            if (connection := self._free.pop()).open:  # a server may close what was long idle
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(_Http, self._host, self._port)
        return connection

    async def close(self) -> None:
        """See `Connections`."""
        for connection in self._free:
            connection.close()


class _Http(asyncio.Protocol):
    """One connection with one request under way. Knows answers with a length, which is all that these servers send."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._data = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.open = transport, True

    async def send(self, data: bytes) -> tuple[int, bytes]:
        """A request; its status and body."""
        if not self.open:
            raise ConnectionResetError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            answer = parse(self._data)
        except ValueError as error:
            self._fail(error)
            self.close()
            return
        if answer is not None:
            self._data.clear()
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def close(self) -> None:
        """The end."""
        self.open = False
        self._transport.close()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def parse(data: bytes | bytearray) -> tuple[int, bytes] | None:
    """An HTTP/1.1 answer's status and body; None: more is to come.

    Raises:
        ValueError: it does not say how long it is, or is no such answer.
    """
    end = data.find(_END)
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    status, *headers = head.split(b"\r\n")
    lengths = [line[len(_LENGTH) :] for line in headers if line.startswith(_LENGTH)]
    if not status.startswith(b"http/1.1 ") or len(lengths) != 1:
        raise ValueError(f"not an HTTP/1.1 answer with a length: {head[:80]!r}")
    start = end + len(_END)
    if len(data) - start < int(lengths[0]):
        return None
    return int(status.split(b" ", 2)[1]), bytes(data[start : start + int(lengths[0])])


class OipConnections:
    """One gRPC channel for the Open Inference Protocol, as `poseglass bench` has one for ours.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        limits = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
        self._channel = grpc.aio.insecure_channel(
            address, options=[("grpc.enable_retries", 0), *((name, _MOST_BYTES) for name in limits)]
        )
        self._infer: Any = self._channel.unary_unary(_METHOD)

    def message(self, picture: bytes, box: tuple[float, float, float, float]) -> bytes:
        """A `ModelInfer` with two tensors, both as raw bytes: the picture's file and its box."""
        request = oip.ModelInferRequest(model_name=MODEL)
        request.inputs.add(name="picture", datatype="BYTES", shape=[1, 1])
        request.inputs.add(name="box", datatype="FP32", shape=[1, 4])
        request.raw_input_contents.append(len(picture).to_bytes(4, "little") + picture)
        request.raw_input_contents.append(np.array(box, "<f4").tobytes())
        return request.SerializeToString()

    async def ask(self, data: bytes, seconds: float) -> Answer:
        """See `Connections`."""
        try:
            response = oip.ModelInferResponse.FromString(await self._infer(data, timeout=seconds))
        except DecodeError as error:
            return Answer(UNREADABLE, str(error))
        except grpc.RpcError as error:
            return Answer(error.code().name, error.details() or "")
        return Answer(OK, people=float(len(response.outputs) == 2))

    async def joints(self, data: bytes, seconds: float) -> Joints:
        """See `Connections`."""
        try:
            response = oip.ModelInferResponse.FromString(await self._infer(data, timeout=seconds))
        except grpc.RpcError as error:
            raise RuntimeError(f"{error.code().name}: {error.details()}") from None
        tensors = {
            tensor.name: np.frombuffer(response.raw_output_contents[i], "<f4")
            if response.raw_output_contents
            else np.array(tensor.contents.fp32_contents, np.float32)
            for i, tensor in enumerate(response.outputs)
        }
        return Joints(tensors["joints"].reshape(-1, 2), tensors["scores"].ravel())

    async def close(self) -> None:
        """See `Connections`."""
        await self._channel.close()
