"""What the client raises, and the one map from gRPC's answers to it.

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

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2


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


_SIMPLE: dict[int, type[PoseglassError]] = {
    code_pb2.NOT_FOUND: ModelNotFound,
    code_pb2.FAILED_PRECONDITION: FailedPrecondition,
    code_pb2.UNIMPLEMENTED: Unimplemented,
    code_pb2.UNAUTHENTICATED: Unauthenticated,
    code_pb2.PERMISSION_DENIED: PermissionDenied,
    code_pb2.CANCELLED: Cancelled,
}


_NO_SUCH_METHOD = re.compile(r"method not found|unknown (?:service|method)|^$", re.IGNORECASE)
"""What gRPC itself says, in Python, Java, Go and C++, where a server does not have the service at all."""


def from_status(status: status_pb2.Status, address: str = "") -> PoseglassError:
    """The error that a `google.rpc.Status` stands for: the only place that knows.

    Args:
        status: code, message and details, from a failed call or from one picture's `error` inside a stream.
        address: of the server, for messages about the connection.
    """
    code, message = status.code, status.message
    if code == code_pb2.INVALID_ARGUMENT:
        bad = _detail(status, error_details_pb2.BadRequest)
        if bad is not None and bad.field_violations:
            first, *others = bad.field_violations
            rest = "".join(f"; {other.field}: {other.description}" for other in others)
            return InvalidRequest(first.field, first.description + rest)
        return InvalidRequest("", message)
    if code == code_pb2.RESOURCE_EXHAUSTED:
        # gRPC itself answers with this code, too, where a message is over the limit, on either end.
        info = _detail(status, error_details_pb2.ErrorInfo)
        if "message larger than max" in message or (info is not None and info.reason == "MESSAGE_TOO_LARGE"):
            return too_large(f"a message exceeds what one end takes ({message})")
        retry = _detail(status, error_details_pb2.RetryInfo)
        return Overloaded(message, None if retry is None else retry.retry_delay.ToTimedelta().total_seconds())
    if code == code_pb2.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"no answer in time ({message}); give a longer timeout")
    if code == code_pb2.UNAVAILABLE:
        return _unavailable(message, f" at {address}" if address else "")
    if code == code_pb2.UNIMPLEMENTED and _NO_SUCH_METHOD.search(message):
        return Unimplemented(f"the server{f' at {address}' if address else ''} is not a Poseglass server ({message})")
    if code in _SIMPLE:
        return _SIMPLE[code](message)
    name = code_pb2.Code.Name(code) if code in code_pb2.Code.values() else str(code)
    return ServerError(f"the server failed ({name}: {message})", name)


_DISAGREE = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted here, or has expired: give the authority that signed "
    "it (ca_file, --tls-ca)",
    "Hostname Verification": "its certificate is for another name: use the name that is in it as the address, or give "
    "it (server_name, --tls-server-name)",
    "WRONG_VERSION_NUMBER": "it does not speak TLS: leave tls (--tls) out, or start it with a certificate",
}
"""What gRPC says where the two ends disagree about TLS -> what that means. Asking again does not help."""


def _unavailable(message: str, where: str) -> Unavailable:
    for sign, meaning in _DISAGREE.items():
        if sign in message:
            return Unavailable(f"the server{where} cannot be talked to ({message}); {meaning}", transient=False)
    # All that a server which wants TLS, or a certificate, lets a stranger see.
    remedy = "check the address, or run `poseglass serve` there"
    if "Socket closed" in message:
        remedy += "; or it wants TLS (tls, --tls), or a certificate (--tls-cert)"
    return Unavailable(f"no server answers{where} ({message}); {remedy}")


_LOST = "Internal error from Core"
"""What `grpc.aio` may say instead of the server's own status when a write meets the end of a call (grpc/grpc#36066)."""


def from_rpc_error(error: grpc.RpcError, address: str = "") -> PoseglassError:
    """The error that a failed call stands for.

    Args:
        error: of `grpc` or `grpc.aio`.
        address: of the server.
    """
    call: Any = error
    if call.details() == _LOST:
        return ServerError("the server ended the stream while a picture was on its way to it", transient=True)
    status = status_pb2.Status(code=call.code().value[0], message=call.details() or "")
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                rich = status_pb2.Status.FromString(value)
            except DecodeError:  # details from a stranger; code and message still say enough
                continue
            if rich.code == status.code:
                status = rich
    return from_status(status, address)


@contextmanager
def mapped(address: str) -> Iterator[None]:
    """Lets no `grpc.RpcError` out."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, address) from None


Detail = TypeVar("Detail", error_details_pb2.BadRequest, error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)


def _detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    """The first detail of that kind; None where there is none that can be read."""
    for packed in status.details:
        found = kind()
        if packed.Is(kind.DESCRIPTOR):
            try:
                packed.Unpack(found)
            except DecodeError:
                continue
            return found
    return None
