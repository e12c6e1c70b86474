"""Values as callers give them, checked: the right type, or an `InvalidRequest` that names the field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from poseglass.errors import InvalidRequest

MAX_TIMEOUT = 1_000_000
"""Seconds; the wire contract counts milliseconds in 32 bits."""


def text(field: str, value: Any) -> str:
    """Text that can be sent.

    Raises:
        InvalidRequest: not text, or with half a character (such as a file name that is not UTF-8 has).
    """
    if not isinstance(value, str):
        raise InvalidRequest(field, f"must be text, not {said(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(field, f"must be text that UTF-8 can say, not {value!a}") from None
    return value


def flag(field: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidRequest(field, f"must be True or False, not {said(value)}")
    return bool(value)


def whole(field: str, value: Any, low: int, high: int | None, meaning: str) -> int:
    """A whole number from `low` to `high`; `meaning` says so in words."""
    right = isinstance(value, Integral) and not isinstance(value, bool)
    if not right or value < low or (high is not None and value > high):
        raise InvalidRequest(field, f"must be {meaning}, not {said(value)}")
    return int(value)


def number(field: str, value: Any, meaning: str = "a finite number") -> float:
    """A finite number; `meaning` says more of it."""
    try:
        result = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        result = math.nan
    if not math.isfinite(result):
        raise InvalidRequest(field, f"must be {meaning}, not {said(value)}")
    return result


def seconds(field: str, value: Any) -> float:
    """A time to wait."""
    meaning = f"a positive number of seconds, at most {MAX_TIMEOUT:,}"
    result = number(field, value, meaning)
    if not 0 < result <= MAX_TIMEOUT:
        raise InvalidRequest(field, f"must be {meaning}, not {said(value)}")
    return result


def choice(field: str, value: Any, choices: Mapping[str, Any], meaning: str) -> Any:
    """One of several, by name in any case, or by a member of an enumeration; `choices` is keyed by lower-case names."""
    name = value.name if isinstance(value, Enum) else value
    if not isinstance(name, str) or name.lower() not in choices:
        raise InvalidRequest(field, f"must be {meaning}, not {said(value)}")
    return choices[name.lower()]


def several(field: str, value: Any, meaning: str) -> list[Any]:
    """The items of a list or another iterable that is not text, bytes or a mapping."""
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping) or not isinstance(value, Iterable):
        raise InvalidRequest(field, f"must be {meaning}, not {said(value)}")
    try:
        return list(value)
    except TypeError:  # an array without dimensions calls itself iterable
        raise InvalidRequest(field, f"must be {meaning}, not {said(value)}") from None


def path(value: str | Path) -> Path:
    """A path as written by a person: `~` is the home folder.

    Raises:
        InvalidRequest: it is empty, or a URL.
    """
    if not str(value):
        raise InvalidRequest("image", "the path is empty; give the path of a picture")
    plain = Path(value)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(value)) and not plain.exists():
        raise InvalidRequest("image", f"{value}: URLs are not fetched; download the picture and give its path")
    try:
        return plain.expanduser()
    except RuntimeError:  # nobody of that name has a home: then it may be a file
        return plain


def said(value: Any) -> str:
    """A value in a message: short, and of its type where it does not show that itself."""
    shown = repr(value) if value is None or isinstance(value, str | bool | int | float) else type(value).__name__
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
