"""Who comes in: tokens, the admin right, and how much of the server one caller may take up.

One interceptor looks at every call of every service, so that a service added later is behind it too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextvars import ContextVar
from typing import Any

import grpc
from grpc_health.v1 import health

from poseglass_server.admin import check_admin
from poseglass_server.errors import Context, Forbidden, Overloaded, Unauthenticated, refuse
from poseglass_server.handlers import REFUSED, guarded
from poseglass_server.limits import Limits
from poseglass_server.tokens import Identity, Tokens

OPEN_SERVICES = frozenset({health.SERVICE_NAME})
"""Need no token: load balancers and orchestrators have none."""

RETRY_S = 0.5
"""After which a caller who has too much in progress should come again; when its own calls end, only it knows."""

logger = logging.getLogger("poseglass.server")

_caller: ContextVar[str | None] = ContextVar("caller", default=None)


def caller_of(context: Context) -> Hashable:
    """Who calls, for turns and limits: the name of the call's token; without one, the connection."""
    return _caller.get() or context.peer()


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Refuses calls before anything of them is read, where their token does not let them in.

    Args:
        tokens: who may come in; None: everybody, and operators from this machine only.
        admin_services: full names of the services that only operators may call.
        limits: how many calls one caller may have in progress.
    """

    def __init__(self, tokens: Tokens | None, admin_services: Sequence[str], limits: Limits) -> None:
        self._tokens, self._admin_services = tokens, frozenset(admin_services)
        self._requests = Places(limits.max_requests, "requests", "--max-requests")
        self._streams = Places(limits.max_streams, "streams", "--max-streams")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, made to count itself; or one that refuses."""
        method: Any = handler_call_details.method
        service = method[1:].rpartition("/")[0]
        if self._tokens is not None and service not in OPEN_SERVICES:
            try:
                identity = _identify(self._tokens, handler_call_details.invocation_metadata)
                _caller.set(identity.name)
                if service in self._admin_services and not identity.admin:
                    raise Forbidden(f"the token of {identity.name!r} has no admin right; use one that has")
            except (Unauthenticated, Forbidden) as error:
                return _refusing(error.with_traceback(None))
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        checks: list[Callable[[Context], None]] = []
        if service in self._admin_services:
            checks.append(lambda context: self._admit_operator(method, context))
        streaming = handler.request_streaming or handler.response_streaming
        if streaming or service not in OPEN_SERVICES:  # a health check is short, and must not be refused
            places = self._streams if streaming else self._requests
            checks.append(places.take)
        return _checked(handler, checks)

    def _admit_operator(self, method: str, context: Context) -> None:
        if self._tokens is None:
            check_admin(context)
        logger.info("%s is called by %s (%s)", method, _caller.get() or "this machine", context.peer())


class Places:
    """Calls in progress of each caller, up to a limit.

    Args:
        most: calls of one caller.
        what: they are called in the refusal.
        option: of `poseglass serve` that sets the limit.
    """

    def __init__(self, most: int, what: str, option: str) -> None:
        self._most, self._what, self._option = most, what, option
        self._taken: Counter[Hashable] = Counter()

    def take(self, context: Context) -> None:
        """Count a call until its answer is sent.

        Raises:
            Overloaded: its caller has as many as may be.
        """
        caller = caller_of(context)
        if self._taken[caller] >= self._most:
            raise Overloaded(
                f"{self._most} {self._what} of one caller are in progress, the server's limit ({self._option}); wait "
                f"for some of them, or try again in {RETRY_S:g} s",
                RETRY_S,
            )
        self._taken[caller] += 1
        context.add_done_callback(lambda _: self._leave(caller))  # type: ignore[arg-type]

    def _leave(self, caller: Hashable) -> None:
        self._taken[caller] -= 1
        if self._taken[caller] <= 0:
            del self._taken[caller]


def _identify(tokens: Tokens, metadata: Any) -> Identity:
    """Whose token a call carries.

    Raises:
        Unauthenticated: it carries none, or none of these.
    """
    given = [value for key, value in metadata or () if key == "authorization"]
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "this server wants a token: send the metadata 'authorization: Bearer TOKEN' once, or give it to the client "
            "(token, --token-file)"
        )
    identity = tokens.find(token.strip())
    if identity is None:
        raise Unauthenticated("the token is not known to this server; ask its operator for one")
    return identity


def _refusing(error: Exception) -> Any:
    async def behave(requests: AsyncIterator[bytes], context: Context) -> None:  # noqa: ARG001 - none is read
        refuse(context, error)

    # Whatever the method is: a handler for streams begins before a message has come.
    return grpc.stream_stream_rpc_method_handler(behave)


def _checked(handler: Any, checks: Sequence[Callable[[Context], None]]) -> Any:
    """A handler, after some checks; each refuses by what it raises."""

    def guard(request: Any, context: Context) -> Any:
        try:
            for check in checks:
                check(context)
        except (Forbidden, Overloaded) as error:
            refuse(context, error)
            return REFUSED
        return request

    return guarded(handler, guard) if checks else handler
