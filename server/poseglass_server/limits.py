"""What one caller may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from poseglass_runtime.images import DEFAULT_MAX_PIXELS
from poseglass_server.errors import MessageTooLarge

DEFAULT_MAX_MESSAGE_MB = 32
"""MiB; the client's option of the same name has the same default."""


@dataclass(frozen=True)
class Limits:
    """Bounds on requests; each is named in the error that it causes.

    Attributes:
        max_message_mb: size of a message, both ways, in MiB.
        max_pixels: width x height of a picture.
        max_boxes: people a picture.
        stream_in_flight: pictures of one stream that are received and not yet answered; more wait unread.
        max_streams: streams that one caller has open.
        max_requests: other calls that one caller has in progress.
        max_connection_age: seconds after which a connection takes no new calls, so that its client looks again where
            servers are; what is under way on it ends by itself. None: as long as the client likes.
    """

    max_message_mb: int = DEFAULT_MAX_MESSAGE_MB
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_boxes: int = 100
    stream_in_flight: int = 8
    max_streams: int = 100
    max_requests: int = 256
    max_connection_age: float | None = None

    @property
    def max_message_bytes(self) -> int:
        """`max_message_mb` in bytes."""
        return self.max_message_mb * 1024 * 1024

    def check_message(self, message: Message, remedy: str) -> None:
        """Refuse a message that is too large.

        Args:
            message: a request.
            remedy: what its sender can do, besides raising the limit.

        Raises:
            MessageTooLarge: it is over `max_message_mb`.
        """
        if message.ByteSize() > self.max_message_bytes:
            raise MessageTooLarge(
                f"the message has {message.ByteSize():,} bytes, the limit is {self.max_message_mb} MiB; {remedy}, or "
                "raise max_message_mb on both ends (poseglass serve --max-message-mb)"
            )
