"""The access log: a line for each call that failed and, at level DEBUG, for each that did not.

A line says who asked for what and what became of it; never a picture, a joint or a token.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from poseglass_server.errors import Context
from poseglass_server.logs import fields
from poseglass_server.observer import Method

LINES = 5
"""Of one method and code, each `WINDOW_S`; what is beyond is summed up in one line, so that overload, or somebody who
knocks without end, does not drown the log."""

WINDOW_S = 1.0

LONGEST_VALUE = 256
"""Characters of what a caller gave."""

logger = logging.getLogger("poseglass.access")


class AccessLog:
    """Logs calls; used in the event loop."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Method, str]] = Counter()

    def call(
        self,
        method: Method,
        code: str,
        seconds: float,
        context: Context,
        reason: Callable[[], Any],
        request: Any = None,
        answer: Any = None,
    ) -> None:
        """Tell of a call, or of one picture of a stream.

        Args:
            method: what was asked for.
            code: name of its gRPC code.
            seconds: it took.
            context: of the call.
            reason: gives what the caller was told of a failure.
            request, answer: messages, where there is one.
        """
        level = logging.DEBUG if code == "OK" else logging.INFO
        if not logger.isEnabledFor(level) or (code != "OK" and not self._has_room(method, code)):
            return
        logger.log(
            level,
            "%s",
            "answered" if code == "OK" else _text(reason()) or "ended by the caller, or without a reason",
            extra=fields(
                **_request_fields(request),
                method=f"/{method.service}/{method.name}",
                code=code,
                peer=context.peer(),
                milliseconds=round(1e3 * seconds, 2),
                **_model_fields(answer, request),
            ),
        )

    def _has_room(self, method: Method, code: str) -> bool:
        """Whether a line more may be written; counts those that may not."""
        key = (method, code)
        self._counts[key] += 1
        if self._counts[key] == 1:
            asyncio.get_running_loop().call_later(WINDOW_S, self._sum_up, key)
        return self._counts[key] <= LINES

    def _sum_up(self, key: tuple[Method, str]) -> None:
        more = self._counts.pop(key) - LINES
        if more > 0:
            method, code = key
            logger.info(
                "%d more within %g s",
                more,
                WINDOW_S,
                extra=fields(method=f"/{method.service}/{method.name}", code=code, count=more),
            )


def _request_fields(request: Any) -> dict[str, Any]:
    """The caller's name for its request, of either contract."""
    if not isinstance(request, Message):
        return {}
    return {"request_id": _text(getattr(request, "request_id", "") or getattr(request, "id", ""))}


def _model_fields(answer: Any, request: Any) -> dict[str, Any]:
    """The model that answered; where none did, the one that was asked for."""
    for message in (answer, request):
        model = getattr(message, "model", None) or getattr(message, "model_name", "")
        if isinstance(model, Message):  # of our contract; in requests and in the other one it is a name
            if model.name:  # type: ignore[attr-defined]
                return {"model": model.name, "version": str(model.version)}  # type: ignore[attr-defined]
        elif model:
            version = getattr(message, "version", 0) or getattr(message, "model_version", "")
            return {"model": _text(model), "version": _text(version)}
    return {}


def _text(value: Any) -> str:
    """A caller's text, or bytes, or number, cut where it is long."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = str(value or "")
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
