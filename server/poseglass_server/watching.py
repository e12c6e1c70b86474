"""Every call of every service, as it is counted and logged."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from poseglass_proto.oip import inference_pb2
from poseglass_proto.v1 import pose_pb2
from poseglass_server.access import AccessLog
from poseglass_server.errors import Context
from poseglass_server.handlers import behaving, behaviour_of
from poseglass_server.observer import UNKNOWN_METHOD, Method, Observer

METHODS = {
    f"/{service.full_name}/{method.name}": Method(
        service.full_name, method.name, method.client_streaming, method.server_streaming
    )
    for module in (pose_pb2, inference_pb2, health_pb2, reflection_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""By what a call asks for. It is a closed list: names that callers make up must not become labels."""

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class Watch:
    """Tells the observer and the access log of calls, and of the pictures of streams.

    Args:
        observer: counts them.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer, self._access = observer, AccessLog()

    def began(self, method: Method) -> None:
        """A call came in."""
        self._observer.call_began(method)

    def ended(self, method: Method, code: str, began: float, context: Context, request: Any, answer: Any) -> None:
        """A call is over.

        Args:
            method: what was asked for.
            code: name of its gRPC code.
            began: of `time.perf_counter`.
            context: of the call.
            request, answer: its messages; None for a stream's.
        """
        seconds = time.perf_counter() - began
        self._observer.call_ended(method, code, seconds)
        self._access.call(method, code, seconds, context, context.details, request, answer)

    def unknown(self) -> None:
        """A call asked for what this server does not have."""
        self._observer.call_began(UNKNOWN_METHOD)
        self._observer.call_ended(UNKNOWN_METHOD, "UNIMPLEMENTED", 0.0)

    def picture(self, method: Method, began: float, context: Context, request: Any, answer: Any) -> None:
        """A picture of a stream was answered; its answer has an `error`, of code 0 where it has none."""
        code = _CODES.get(answer.error.code, "UNKNOWN")
        self._observer.stream_picture(code)
        seconds = time.perf_counter() - began
        self._access.call(method, code, seconds, context, lambda: answer.error.message, request, answer)


class Watcher(grpc.aio.ServerInterceptor):
    """Stands before all other interceptors, so that what they refuse is seen too.

    Args:
        watch: is told.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, watched."""
        asked: Any = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            self._watch.unknown()
            return None
        return _watched(handler, METHODS.get(asked, UNKNOWN_METHOD), self._watch)


def _watched(handler: Any, method: Method, watch: Watch) -> Any:
    inner = behaviour_of(handler)

    if inspect.isasyncgenfunction(inner):

        async def generate(request: Any, context: Context) -> AsyncIterator[Any]:
            began, code = time.perf_counter(), None
            watch.began(method)
            try:
                async for answer in inner(request, context):
                    yield answer
            except BaseException as error:
                code = _code_of(context, error)
                raise
            finally:
                watch.ended(method, code or _code_of(context), began, context, None, None)

        return behaving(handler, generate)

    async def call(request: Any, context: Context) -> Any:
        began, code, answer = time.perf_counter(), None, None
        watch.began(method)
        try:
            answer = await inner(request, context)
        except BaseException as error:
            code = _code_of(context, error)
            raise
        finally:
            watch.ended(method, code or _code_of(context), began, context, request, answer)
        return answer

    return behaving(handler, call)


def _code_of(context: Context, error: BaseException | None = None) -> str:
    """Name of the code that a call ends with, or would if its caller had not left."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        remaining = context.time_remaining()
        return "DEADLINE_EXCEEDED" if remaining is not None and remaining <= 0 else "CANCELLED"
    code: Any = context.code()  # what it was set to: a code, or its number; 0 where it was not
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0
    if error is not None and number == 0:
        return "UNKNOWN"  # as gRPC answers
    return _CODES.get(number, "UNKNOWN")
