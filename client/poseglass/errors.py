"""What the client raises; `statuses` has the map from gRPC's answers to it.

PoseglassError
├── InvalidRequest        a field of the request cannot be used; also a ValueError
├── MessageTooLarge       a picture or an answer exceeds the message limit
├── ModelNotFound         no such model or version
├── FailedPrecondition    understood, but not possible as things stand (no detector, no such device)
├── Unimplemented         the server does not have this feature
├── Unauthenticated       the server wants to know who is calling
├── PermissionDenied      it knows, and says no
├── Overloaded            the queue is full; try again after `retry_after`
├── DeadlineExceeded      no answer in time
├── Cancelled             the call was given up
├── Unavailable           nobody answers at that address
├── ServerError           the server failed, or answered with something that cannot be read
├── MissingExtra          a part of the package that is not installed
└── ClientClosed          the client was closed before the call
"""

from __future__ import annotations

from typing import Any


class PoseglassError(Exception):
    """Base of everything this package raises on purpose.

    Attributes:
        code: a gRPC status name such as "INVALID_ARGUMENT", also where no server was involved.
        transient: whether the same question may be answered a little later. The clients ask again by themselves.
        request_id: of the picture that failed, inside a stream.
        index: place of that picture among those given, from 0; None outside of streams.
    """

    code = "UNKNOWN"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.transient = False
        self.request_id = ""
        self.index: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Code and message as plain values."""
        return {"code": self.code, "message": str(self)}


class InvalidRequest(PoseglassError, ValueError):
    """A field of the request cannot be used.

    Attributes:
        field: its path in the wire contract's terms, e.g. `boxes[2].width`.
        reason: what is wrong and what would be right.
    """

    code = "INVALID_ARGUMENT"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field, self.reason = field, reason

    def to_json(self) -> dict[str, Any]:
        """Code, message, field and reason as plain values."""
        return {**super().to_json(), "field": self.field, "reason": self.reason}


class MessageTooLarge(PoseglassError):
    """A picture or an answer exceeds the message limit, which is set on both ends by the same name."""

    code = "RESOURCE_EXHAUSTED"


class ModelNotFound(PoseglassError):
    """No model of that name or version."""

    code = "NOT_FOUND"


class FailedPrecondition(PoseglassError):
    """A request that was understood and cannot be answered as things stand; the message says what would help."""

    code = "FAILED_PRECONDITION"


class Unimplemented(PoseglassError):
    """The server does not have this feature."""

    code = "UNIMPLEMENTED"


class Unauthenticated(PoseglassError):
    """The server wants to know who is calling."""

    code = "UNAUTHENTICATED"


class PermissionDenied(PoseglassError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"


class Overloaded(PoseglassError):
    """The server's queue is full.

    Attributes:
        retry_after: seconds to wait before trying again; None where the server did not say.
        transient: where it did.
    """

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.transient = retry_after is not None


class DeadlineExceeded(PoseglassError):
    """No answer in time."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(PoseglassError):
    """The call was given up before its answer came."""

    code = "CANCELLED"


class Unavailable(PoseglassError):
    """Nobody answers at that address.

    Attributes:
        transient: unless both ends disagree about TLS, which stays so.
    """

    code = "UNAVAILABLE"

    def __init__(self, message: str, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class ServerError(PoseglassError):
    """The server failed, or answered with something that cannot be read.

    Attributes:
        code: the gRPC status name.
        transient: where it ended a stream without a word that arrived.
    """

    def __init__(self, message: str, code: str = "INTERNAL", transient: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.transient = transient


class MissingExtra(PoseglassError):
    """A part of the package that is not installed.

    Attributes:
        extra: its name, e.g. "cpu".
    """

    code = "FAILED_PRECONDITION"

    def __init__(self, what: str, extra: str, otherwise: str = "") -> None:
        super().__init__(f'{what} is not installed here; install it with: pip install "poseglass[{extra}]"{otherwise}')
        self.extra = extra


class ClientClosed(PoseglassError):
    """The client was closed before the call."""

    code = "CANCELLED"

    def __init__(self) -> None:
        super().__init__("this client is closed; make calls inside its `with` block, or create a new one")


def too_large(detail: str, limit_mb: int | None = None) -> MessageTooLarge:
    """The error for a message over the limit, naming the setting on both ends."""
    limit = "" if limit_mb is None else f" of {limit_mb} MiB"
    return MessageTooLarge(
        f"{detail}; the limit{limit} is max_message_mb of the client and --max-message-mb of `poseglass serve` "
        "(and of `poseglass predict`): raise it on both ends, or send less"
    )
