"""The one map from gRPC's answers to the client's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from poseglass.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    PoseglassError,
    ServerError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    too_large,
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
        return Unavailable(f"the server{f' at {address}' if address else ''} is there, but not ready: {message}")
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


def _unavailable(message: str, address: str) -> Unavailable:
    where = f" at {address}" if address else ""
    for sign, meaning in _DISAGREE.items():
        if sign in message:
            return Unavailable(f"the server{where} cannot be talked to ({message}); {meaning}", transient=False)
    remedy = "check the address, or run `poseglass serve` there"
    # "Socket closed" is all that a server which wants TLS, or a certificate, lets a stranger see; and of a name's
    # addresses only one is told of, not always the one that such a server listens on.
    if "Socket closed" in message or ("ipv6:" in message and "[" not in address):
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
    plain = status = status_pb2.Status(code=call.code().value[0], message=call.details() or "")
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                rich = status_pb2.Status.FromString(value)
            except DecodeError:  # details from a stranger; code and message still say enough
                continue
            if rich.code == status.code:
                status = rich
    if status is plain and status.code == code_pb2.UNAVAILABLE:  # of this end, or of a proxy: the server gives details
        return _unavailable(status.message, address)
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
