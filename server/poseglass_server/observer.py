"""What the server tells of itself, to whoever listens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method of a service that this server has.

    Attributes:
        service: full name.
        name: of the method.
        streaming_requests, streaming_answers: whether there may be many of them in a call.
    """

    service: str
    name: str
    streaming_requests: bool = False
    streaming_answers: bool = False


UNKNOWN_METHOD = Method("unknown", "unknown")
"""Stands for all that callers ask for and this server does not have: what they write is no label."""


class Observer:
    """Hears of everything that is worth counting, from several threads; this one forgets it at once."""

    def batch(self, model: str, size: int, seconds: float) -> None:
        """A network ran so many crops in so many seconds."""

    def stages(self, decode: float, queue: float, inference: float, total: float) -> None:
        """A picture was answered; seconds of its stages."""

    def queue(self, waiting: int, working: int) -> None:
        """So many pictures wait for a thread, and so many have one."""

    def refused(self, reason: str) -> None:
        """A picture was turned away before any work: "queue" (full), "deadline" (it would pass) or "evicted"."""

    def call_began(self, method: Method) -> None:
        """A call came in."""

    def call_ended(self, method: Method, code: str, seconds: float) -> None:
        """A call is over; the name of its gRPC code, and how long it took."""

    def stream_picture(self, code: str) -> None:
        """A picture of a stream was answered, with an error of its own or with the code OK."""
