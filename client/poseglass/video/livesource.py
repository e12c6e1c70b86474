"""Which live source a text means: a camera by number, a network address, or standard input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from poseglass.errors import InvalidRequest

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "tcp", "srt")

LONGEST = 60
"""Characters that a folder's name takes over from an address."""


class Kind(Enum):
    """What sort of source it is."""

    CAMERA = "camera"
    STREAM = "stream"
    PIPE = "pipe"


@dataclass(frozen=True)
class LiveSource:
    """A source that gives its frames once.

    Attributes:
        kind: what sort it is.
        address: a camera's number, a URL, or the number of an open file (0 is standard input).
    """

    kind: Kind
    address: str

    def __str__(self) -> str:
        """For people and files: without what may be a password."""
        if self.kind is Kind.CAMERA:
            return f"camera {self.address}"
        if self.kind is Kind.PIPE:
            return "standard input" if self.address == "0" else f"pipe {self.address}"
        parts = urlsplit(self.address)
        return parts._replace(netloc=_host(parts), query=_told(parts.query)).geturl()

    @property
    def name(self) -> str:
        """For a folder."""
        if self.kind is not Kind.STREAM:
            return f"{self.kind.value}-{self.address}" if self.kind is Kind.CAMERA else "stdin"
        parts = urlsplit(self.address)
        return re.sub(r"[^A-Za-z0-9.]+", "-", _host(parts) + parts.path).strip("-.")[:LONGEST] or parts.scheme


def live_source(text: str) -> LiveSource | None:
    """The live source that an argument means; None: it is one of files.

    Args:
        text: a number or `/dev/videoN` (a camera), a URL, or `-`; a file or folder of that name comes first.

    Raises:
        InvalidRequest: a URL that cannot be one.
    """
    if text == "-":
        return LiveSource(Kind.PIPE, "0")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return _stream(text)
    number = re.fullmatch(r"(?:/dev/video)?([0-9]{1,3})", text)
    if number is None or (text == number[1] and Path(text).exists()):
        return None
    return LiveSource(Kind.CAMERA, str(int(number[1])))


def only_live_source(texts: Sequence[str]) -> LiveSource | None:
    """The live source of a command line; None: all of it are files.

    Raises:
        InvalidRequest: it stands beside others, or is a URL that cannot be one.
    """
    found = next((source for text in texts if (source := live_source(text)) is not None), None)
    if found is not None and len(texts) > 1:
        raise InvalidRequest("", f"{found}: a live source stands alone; start a run for each")
    return found


def _stream(url: str) -> LiveSource:
    try:
        parts = urlsplit(url)
        known, named = parts.scheme in SCHEMES, bool(parts.netloc)
    except ValueError as error:
        raise InvalidRequest("", f"a source's address cannot be read ({error})") from None
    if not known:
        raise InvalidRequest(
            "", f"{parts.scheme}://: no such kind of stream; there are {', '.join(SCHEMES)}, and files"
        )
    if not named:
        raise InvalidRequest("", f"{url}: names no host; write {parts.scheme}://HOST[:PORT]/PATH")
    return LiveSource(Kind.STREAM, url)


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _told(query: str) -> str:
    """A query with nothing but small numbers, such as a channel's: anything longer may be a secret."""
    told = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        told.append(part if re.fullmatch(r"[0-9]{1,2}", value) else f"{name}=…" if equals else part and "…")
    return "&".join(told)
