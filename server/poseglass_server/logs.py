"""How the server's log is written: as text for people, or as JSON, an object a line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class LogFormat(StrEnum):
    """What a line of the log looks like."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def set_up_logging(log_format: LogFormat, level: LogLevel) -> None:
    """Write the log of this process to its standard error.

    Args:
        log_format: of the lines.
        level: of the server's own; libraries have nothing to tell below INFO.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    least = logging.getLevelNamesMapping()[level.value.upper()]
    logging.basicConfig(level=max(least, logging.INFO), handlers=[handler])
    logging.getLogger("poseglass").setLevel(least)
    logging.captureWarnings(True)


def fields(**values: Any) -> dict[str, Any]:
    """What a record carries besides its message, for `extra`; what is empty is left out.

    Args:
        values: that JSON knows.
    """
    return {_FIELDS: {name: value for name, value in values.items() if value not in ("", None)}}


_FIELDS = "poseglass_fields"


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, the record's own fields, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; what is not ASCII is escaped, so nothing that a caller gave can end it."""
        entry = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    """A line of text; the lines of an exception follow it, indented.

    What starts at the beginning of a line is thus always the server's own.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, with what cannot be printed escaped."""
        own = getattr(record, _FIELDS, {})
        words = [_time(record), record.levelname, f"{record.name}:", record.getMessage()]
        words += [f"{name}={_quoted(value)}" for name, value in own.items()]
        lines = [_escaped(" ".join(words))]
        if record.exc_info:
            lines += [f"    {_escaped(line)}" for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(lines)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(value: Any) -> str:
    """A field's value as one word, in quotes where it would not be one."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    plain = text and not any(character.isspace() or character in "\"'=" for character in text)
    return text if plain or not isinstance(value, str) else json.dumps(text)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
