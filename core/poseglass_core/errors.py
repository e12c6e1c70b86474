"""What is raised where input is wrong, anywhere in the project."""

from __future__ import annotations


class InvalidInput(ValueError):
    """Input that cannot be used, with what to do about it.

    Attributes:
        field: path of the offending field, in the wire contract's terms, e.g. `boxes[2].width`.
        reason: what is wrong and what would be right.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


class NotSupported(RuntimeError):
    """A request this server or model cannot answer in its present state; the message says why and what would help."""
