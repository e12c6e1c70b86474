"""A network stream or a pipe, frame by frame, through PyAV."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from poseglass.errors import InvalidRequest, PoseglassError, Unavailable
from poseglass.video.clock import Clock
from poseglass.video.livereading import ARRIVAL, OWN, POLL
from poseglass.video.livesource import SCHEMES, Kind, LiveSource
from poseglass.video.reading import DEFAULT_RATE, ContainerReader, Decoded, pyav
from poseglass.video.refusals import said

PATIENCE = 10.0
"""Seconds without a sign of life after which a network stream is given up."""

RELAYS = ",".join((*SCHEMES, "httpproxy", "tls", "crypto", "srtp", "data"))
"""Protocols that a playlist may lead to: none that reaches into this machine."""

_NO_TIMES = 0x80  # AVFMT_NOTIMESTAMPS
_TIMED_OUT = "Immediate exit requested"


class StreamReader(ContainerReader):
    """Reads a network stream or a pipe.

    Args:
        source: which.
        over: whether all is over; a pipe is then at its end.
        patience: seconds without a sign of life after which a network stream is given up.

    Raises:
        Unavailable: nobody answers at the address, or not in time.
        InvalidRequest: it gives no video, or nothing.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, source: LiveSource, over: Callable[[], bool], patience: float = PATIENCE) -> None:
        self.started: datetime | None = None
        self._patience = patience
        container = _piped(source, over) if source.kind is Kind.PIPE else _streamed(source, patience)
        super().__init__(container, str(source))
        self.ends = container.duration is not None
        raw = container.format.flags & _NO_TIMES or container.format.name.endswith("_pipe")
        self.times = ARRIVAL if raw else OWN
        if raw:
            self._clock = Arrivals()
        self._zero = 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """What the stream says of its picture, and at which of its own times the first frame came."""
        return {**super().facts, **({"first_time": self._zero} if self.times == OWN else {})}

    def __iter__(self) -> Iterator[Decoded]:
        """Every frame that decodes, in the order of presentation, with times from 0.

        Raises:
            Unavailable, InvalidRequest: not one frame came.
        """
        try:
            for frame in super().__iter__():
                self._zero = self._zero if frame.index else frame.time
                frame.time -= self._zero
                self.counts.first_time, self.counts.last_time = 0.0, frame.time
                yield frame
        except InvalidRequest:
            if not self._why_broken():
                raise
            raise Unavailable(f"{self.name}: not one picture came ({self._why_broken()})") from None
        self.counts.broken_off = self._why_broken()

    def _frames(self) -> Iterator[Any]:
        for frame in super()._frames():
            self.started = self.started or datetime.now(UTC)
            yield frame

    def _why_broken(self) -> str:
        return _late(self._patience) if self.counts.broken_off == _TIMED_OUT else self.counts.broken_off


class Arrivals(Clock):
    """Gives frames the time at which they arrive."""

    def __init__(self) -> None:
        super().__init__(DEFAULT_RATE)

    def timed(self, frames: Iterable[Any], base: Any) -> Iterator[tuple[Any, float]]:  # noqa: ARG002
        """Frames with their times in seconds, each greater than the one before."""
        last = -math.inf
        for frame in frames:
            last = max(time.monotonic(), math.nextafter(last, math.inf))
            yield frame, last


class _Pipe:
    """An open file as PyAV reads one, which ends when all is over, also where nothing comes."""

    def __init__(self, number: int, over: Callable[[], bool]) -> None:
        self._number, self._over = number, over
        self.came = 0

    def read(self, size: int) -> bytes:
        while not self._over():
            if select.select([self._number], [], [], POLL)[0]:
                data = os.read(self._number, size)
                self.came += len(data)
                return data
        return b""


def _piped(source: LiveSource, over: Callable[[], bool]) -> Any:
    av, number = pyav(), int(source.address)
    if os.isatty(number):
        raise InvalidRequest(
            "", f"{source}: is a terminal; pipe a video in, as in: ffmpeg ... -f mpegts - | poseglass video - ..."
        )
    pipe = _Pipe(number, over)
    try:
        return av.open(pipe, options={"protocol_whitelist": "pipe"})
    except (av.FFmpegError, OSError) as error:
        if not pipe.came:
            raise InvalidRequest("", f"{source}: nothing came; check the program before the pipe") from None
        raise InvalidRequest(
            "",
            f"{source}: is no video that can be read as it comes ({said(error)}); pipe MPEG-TS, Matroska, NUT or MJPEG",
        ) from None


def _streamed(source: LiveSource, patience: float) -> Any:
    av = pyav()
    options = {"protocol_whitelist": RELAYS}
    if source.address.lower().startswith("rtsp"):
        options["rtsp_flags"] = "prefer_tcp"  # over UDP, packets are lost without a word
    try:
        return av.open(source.address, options=options, timeout=(patience, patience))
    except av.FFmpegError as error:
        raise _refused(source, said(error), patience) from None


def _refused(source: LiveSource, why: str, patience: float) -> PoseglassError:
    """Why a stream does not open, and what would help."""
    if why == _TIMED_OUT:
        return Unavailable(f"{source}: {_late(patience)}; check the address, and that it is sending")
    if "Protocol not found" in why:
        return InvalidRequest(
            "",
            f"{source}: PyAV's FFmpeg has no such protocol here; let another take it: "
            "ffmpeg -i URL -c copy -f mpegts - | poseglass video - ...",
        )
    if "Invalid data" in why:
        return InvalidRequest("", f"{source}: is no video that FFmpeg can read; check the address in a player")
    return Unavailable(f"{source}: does not open ({why}); check the address, its path and its password in a player")


def _late(patience: float) -> str:
    return f"nothing came for {patience:g} s"
