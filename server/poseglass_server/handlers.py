"""Handlers of gRPC methods, as interceptors wrap them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

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


def _kind(handler: Any) -> str:
    return f"{_ARITY[handler.request_streaming]}_{_ARITY[handler.response_streaming]}"
