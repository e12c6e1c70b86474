"""Handlers of gRPC methods, as interceptors wrap them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

REFUSED = object()
"""What a guard answers in place of a request that the handler must not see."""

_ARITY = {False: "unary", True: "stream"}


def behaviour_of(handler: Any) -> Callable[..., Any]:
    """What a handler does with a request (or an iterator of them) and a context; a coroutine or a generator."""
    behave: Callable[..., Any] = getattr(handler, _kind(handler))
    return behave


def behaving(handler: Any, behave: Callable[..., Any], parse: Callable[[bytes], Any] | None = None) -> Any:
    """A handler of the same kind, with the same messages, that does something else; `parse` where it reads others."""
    return getattr(grpc, f"{_kind(handler)}_rpc_method_handler")(
        behave, parse or handler.request_deserializer, handler.response_serializer
    )


def guarded(handler: Any, guard: Callable[[Any, Any], Any], parse: Callable[[bytes], Any] | None = None) -> Any:
    """A handler behind a guard.

    Args:
        handler: of any kind.
        guard: given the request (or an iterator of them) and the context, it answers what the handler is to be given;
            or it sets the status of a refusal, and answers `REFUSED`.
        parse: of `behaving`.
    """
    inner = behaviour_of(handler)

    if inspect.isasyncgenfunction(inner):

        async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
            let_in = guard(request, context)
            if let_in is not REFUSED:
                async for answer in inner(let_in, context):
                    yield answer

        return behaving(handler, generate, parse)

    async def call(request: Any, context: Any) -> Any:
        let_in = guard(request, context)
        return None if let_in is REFUSED else await inner(let_in, context)

    return behaving(handler, call, parse)


def _kind(handler: Any) -> str:
    return f"{_ARITY[handler.request_streaming]}_{_ARITY[handler.response_streaming]}"
