"""Requests that are no messages of the contract: refused like any other bad input.

gRPC itself answers them with UNKNOWN, the name of a Python class, and a traceback in the log for each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from poseglass_server.errors import refuse


class RefuseMalformed(grpc.aio.ServerInterceptor):
    """Turns what cannot be parsed into INVALID_ARGUMENT, for calls with one request."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, its parser made to return what went wrong instead of raising it."""
        handler: Any = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler
        parse, behave = handler.request_deserializer, handler.unary_unary

        def parse_or_error(data: bytes) -> Any:
            try:
                return parse(data)
            except DecodeError as error:
                return error.with_traceback(None)

        async def behave_or_refuse(request: Any, context: Any) -> Any:
            if isinstance(request, DecodeError):
                refuse(context, request)
                return None
            return await behave(request, context)

        return grpc.unary_unary_rpc_method_handler(behave_or_refuse, parse_or_error, handler.response_serializer)
