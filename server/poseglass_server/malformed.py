"""Requests that are no messages of the contract: refused like any other bad input.

gRPC itself answers them with UNKNOWN, the name of a Python class, and a traceback in the log for each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from poseglass_server.errors import Context, refuse
from poseglass_server.handlers import REFUSED, behaving, behaviour_of, guarded


class RefuseMalformed(grpc.aio.ServerInterceptor):
    """Turns what cannot be parsed into INVALID_ARGUMENT; it ends a stream.

    Args:
        alone: methods, as `/service/method`, that answer each request of a stream by itself: they are given the
            DecodeError in place of one that cannot be parsed.
    """

    def __init__(self, alone: Collection[str] = ()) -> None:
        self._alone = frozenset(alone)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, its parser made to return what went wrong instead of raising it."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        parse = handler.request_deserializer

        def parse_or_error(data: bytes) -> Any:
            try:
                return parse(data)
            except DecodeError as error:
                return error.with_traceback(None)

        if handler_call_details.method in self._alone:
            return behaving(handler, behaviour_of(handler), parse_or_error)
        return guarded(handler, _unless_malformed, parse_or_error)


def _unless_malformed(request: Any, context: Context) -> Any:
    """What a handler is given: a request that could be parsed, or those of a stream before the first that could not."""
    if isinstance(request, DecodeError):
        refuse(context, request)
        return REFUSED
    return _until_malformed(request, context) if isinstance(request, AsyncIterator) else request


async def _until_malformed(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, DecodeError):
            refuse(context, request)
            return
        yield request
