"""From what went wrong to what the caller is told: one map, with google.rpc details."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from poseglass_core.errors import InvalidInput, NotSupported
from poseglass_server.logs import fields

logger = logging.getLogger("poseglass.server")

Context = grpc.aio.ServicerContext[Any, Any]
"""Of a call, whatever its messages."""

LONGEST_TEXT = 900
"""Bytes of an error's text. It travels in HTTP/2 headers, thrice, and clients refuse headers of more than 8 KB."""


class UnknownModel(LookupError):
    """A model, or a version of one, that is not loaded.

    Attributes:
        field: `model` or `version`, or `name` in a GetModelRequest.
        reason: what is wrong, and what there is.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


class Expired(RuntimeError):
    """The deadline passed, or the caller left, before the work was done."""


class Overloaded(RuntimeError):
    """There is no room for more work now.

    Attributes:
        retry_s: seconds after which there should be.
    """

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.retry_s = retry_s


class MessageTooLarge(RuntimeError):
    """A message over `max_message_mb`."""


class ShuttingDown(RuntimeError):
    """The server takes no new work."""


class NotReady(RuntimeError):
    """A model that this server knows and does not serve now: it is refused, or still being loaded."""


class Unauthenticated(RuntimeError):
    """A call without a token that lets it in."""


class Forbidden(RuntimeError):
    """What this caller may not do."""


class Unimplemented(RuntimeError):
    """A method that this server does not have, and why."""


def to_status(error: Exception, request_id: str) -> status_pb2.Status:
    """What a caller is told of a failure.

    Args:
        error: anything. What is not one of the known kinds is logged with its traceback, and its text stays here.
        request_id: the caller's; stands in the log and in the answer, so that the two can be brought together.
    """
    detail: Message | None = None
    match error:
        case InvalidInput():
            code = grpc.StatusCode.INVALID_ARGUMENT
            detail = _bad_request(error.field, error.reason)
        case DecodeError():
            code = grpc.StatusCode.INVALID_ARGUMENT
            error = RuntimeError(
                "the message is not what poseglass/v1/pose.proto (or the Open Inference Protocol) says; generate the "
                "client from it"
            )
        case UnknownModel():
            code = grpc.StatusCode.NOT_FOUND
            detail = _bad_request(error.field, error.reason)
        case NotSupported():
            code = grpc.StatusCode.FAILED_PRECONDITION
            violation = error_details_pb2.PreconditionFailure.Violation(
                type="NOT_SUPPORTED", description=_shortened(str(error))
            )
            detail = error_details_pb2.PreconditionFailure(violations=[violation])
        case Expired():
            code = grpc.StatusCode.DEADLINE_EXCEEDED
        case MessageTooLarge():
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            detail = error_details_pb2.ErrorInfo(
                reason="MESSAGE_TOO_LARGE", domain="poseglass", metadata={"setting": "max_message_mb"}
            )
        case Overloaded():
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(int(1e9 * error.retry_s))
            detail = retry
        case ShuttingDown() | NotReady():
            code = grpc.StatusCode.UNAVAILABLE
        case Unauthenticated():
            code = grpc.StatusCode.UNAUTHENTICATED
        case Forbidden():
            code = grpc.StatusCode.PERMISSION_DENIED
        case Unimplemented():
            code = grpc.StatusCode.UNIMPLEMENTED
        case _:
            name = request_id[:256] or uuid.uuid4().hex
            logger.error("request %r failed", name, exc_info=error, extra=fields(request_id=name))
            code = grpc.StatusCode.INTERNAL
            detail = error_details_pb2.RequestInfo(request_id=name)
            error = RuntimeError(f"the server failed; its log has the reason under request {name!r}")
    status = status_pb2.Status(code=code.value[0], message=_shortened(str(error)))
    if detail is not None:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def refuse(context: Context, error: Exception, request_id: str = "") -> None:
    """Give a call a failure's status, with details in its trailing metadata; what it then returns is not sent.

    `context.abort` would do it by raising an exception that gRPC keeps: in its frames the request would stay in memory
    until the garbage collector comes by.
    """
    status = rpc_status.to_status(to_status(error, request_id))
    context.set_code(status.code)
    context.set_details(status.details)
    context.set_trailing_metadata(status.trailing_metadata)


def _bad_request(field: str, reason: str) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=_shortened(reason))
    return error_details_pb2.BadRequest(field_violations=[violation])


def _shortened(text: str) -> str:
    """A text with its middle cut out where it is too long: what is wrong stands first and the remedy last."""
    data = text.encode("utf-8", "replace")
    if len(data) <= LONGEST_TEXT:
        return data.decode()
    half = LONGEST_TEXT // 2
    return f"{data[:half].decode('utf-8', 'ignore')} ... {data[-half:].decode('utf-8', 'ignore')}"
