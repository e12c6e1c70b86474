"""A video file, frame by frame: upright pixels, true times, and a tally of what the file promised and what came.

The decoder's order is the order of presentation. A frame's time is that of its presentation, `pts * time_base`, so that
a variable frame rate needs no care anywhere else; times may begin below zero or far above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from poseglass.errors import InvalidRequest, MissingExtra
from poseglass.video.clock import Clock
from poseglass.video.counts import Counts
from poseglass.video.orientation import Image, turned, upright
from poseglass.video.refusals import check_file, said, why_not_open

DEFAULT_RATE = 25.0
"""Frames a second, where neither times nor a rate are in the file: what raw streams are taken to have everywhere."""

MOST_LOST = 10_000
"""Packets in a row that belong to nothing known, after which a file is given up."""

_ATTACHED_PICTURE = "attached_pic"


@dataclass(frozen=True)
class Selection:
    """Which of a file's frames are wanted.

    Attributes:
        every: each frame whose index this divides.
        start: seconds; frames before it are left out. None: from the first.
        end: seconds; frames at it or later are left out, and not decoded. None: to the last.

    Raises:
        InvalidRequest: it selects nothing, or is no selection; the message names the option.
    """

    every: int = 1
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InvalidRequest("--every", f"must be a whole number of at least 1, not {self.every}")
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise InvalidRequest(f"--{name}", f"must be a number of seconds, not {value}")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise InvalidRequest("--end", f"must be later than --start ({self.start:g}), not {self.end:g}")

    def holds(self, index: int, time: float) -> bool:
        """Whether a frame is wanted."""
        return index % self.every == 0 and (self.start is None or time >= self.start) and not self.over(time)

    def over(self, time: float) -> bool:
        """Whether this frame and all later ones are not wanted."""
        return self.end is not None and time >= self.end


class Decoded:
    """One decoded frame; its pixels are converted when asked for, so that frames passed over cost little.

    Args:
        matrix: the display matrix; None: pixels are stored as they are shown.

    Attributes:
        index: among all decoded frames, from 0.
        time: seconds of presentation; greater than the frame's before.
    """

    def __init__(self, index: int, time: float, frame: Any, matrix: bytes | None) -> None:
        self.index, self.time, self._frame, self._matrix = index, time, frame, matrix

    def image(self) -> Image:
        """The pixels, uint8 [height, width, 3] RGB, upright; alpha is left aside, deeper colours are rounded."""
        pixels: Image = self._frame.to_ndarray(format="rgb24")
        return pixels if self._matrix is None else upright(pixels, self._matrix)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright picture."""
        stored = (int(self._frame.height), int(self._frame.width))
        return stored[::-1] if self._matrix is not None and turned(self._matrix) else stored


class ContainerReader:
    """Reads an open container from where it stands.

    Args:
        container: of PyAV; it is the reader's to close.
        name: to call it by in messages.

    Attributes:
        counts: what was promised, and what has come so far.
        size: (height, width) of the first frame, upright; None before it has come.

    Raises:
        InvalidRequest: it has no picture in it; the message names it and says what would help.
    """

    def __init__(self, container: Any, name: str) -> None:
        self.name, self.counts = name, Counts()
        self.size: tuple[int, int] | None = None
        self._av, self._container = pyav(), container
        try:
            self._stream = self._video_stream()
        except InvalidRequest:
            self._container.close()
            raise
        # What a damaged frame decodes to depends on how its slices were shared out, and must not on the machine; and
        # frame threads can lock up where reading ends early.
        self._stream.codec_context.thread_count = 1
        self._clock = Clock(float(self._stream.guessed_rate or self._stream.average_rate or DEFAULT_RATE))
        self.counts.promised = self._promised()
        self.counts.promised_seconds = self._promised_seconds()

    @property
    def expected(self) -> int | None:
        """About how many frames will come; None: nobody knows."""
        rate, seconds = self._stream.average_rate, self.counts.promised_seconds
        guess = None if rate is None or seconds is None else round(float(rate) * seconds)
        return self.counts.promised or guess

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says of its picture: container, codec, frames a second, size once a frame has come."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        size = {} if self.size is None else {"height": self.size[0], "width": self.size[1]}
        return {
            "container": self._container.format.name,
            "codec": self._stream.codec_context.name,
            "rate": None if rate is None else float(rate),
            **size,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._container.close()

    def __iter__(self) -> Iterator[Decoded]:
        """Every frame that decodes, in the order of presentation; what is damaged is counted and passed over.

        Raises:
            InvalidRequest: not one frame decodes.
        """
        counts, matrix = self.counts, None
        for frame, time in self._clock.timed(self._frames(), self._stream.time_base):
            index, counts.decoded = counts.decoded, counts.decoded + 1
            counts.damaged_frames += bool(frame.is_corrupt)
            counts.repaired_times = self._clock.repaired
            counts.first_time = time if counts.first_time is None else counts.first_time
            counts.last_time = time
            if index == 0 or frame.key_frame:  # it changes nowhere else, and asking costs as much as converting pixels
                matrix = display_matrix(frame)
            decoded = Decoded(index, time, frame, matrix)
            self.size = self.size or decoded.size
            yield decoded
        counts.ended = True
        if not counts.decoded:
            raise InvalidRequest(
                "", f"{self.name}: no frame of it decodes; it may be cut off before the first one: check that it plays"
            )

    def _frames(self) -> Iterator[Any]:
        """What the decoder gives, over all breaks."""
        broken = self._av.FFmpegError
        for packet in self._packets():
            try:
                frames = self._stream.decode(None) if packet is None else packet.decode()
            except broken:
                self.counts.corrupt_packets += 1
                continue
            if packet is not None:
                self.counts.hidden += bool(packet.is_discard)
                self.counts.corrupt_packets += bool(packet.is_corrupt)
            yield from frames

    def _packets(self) -> Iterator[Any]:
        """What the container gives; last, None or an empty packet, which drains the decoder."""
        packets, lost = self._container.demux(self._stream), 0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:  # a damaged table of contents announced a stream that PyAV does not know
                self.counts.corrupt_packets += 1
                packets, lost = self._container.demux(self._stream), lost + 1
                if lost < MOST_LOST:
                    continue
                self.counts.broken_off = "nothing but damaged packets"
            except self._av.FFmpegError as error:
                self.counts.broken_off = said(error)
            else:
                lost = 0
                yield packet
                continue
            yield None
            return

    def _video_stream(self) -> Any:
        """The first moving picture; a cover picture is none."""
        for stream in self._container.streams.video:
            if _ATTACHED_PICTURE not in str(stream.disposition):
                if stream.codec_context is None:
                    raise InvalidRequest(
                        "", f"{self.name}: its codec is unknown here; re-encode it, for example to H.264"
                    )
                return stream
        what = "only sound" if self._container.streams.audio else "no video stream"
        raise InvalidRequest("", f"{self.name}: there is {what} in it; leave it out, or give the file with the picture")

    def _promised(self) -> int | None:
        """Frames, as the container says; None where it does not."""
        if self._stream.frames:
            return int(self._stream.frames)
        tags = {key.upper(): value for key, value in self._stream.metadata.items()}
        said = next((value for key, value in tags.items() if key.startswith("NUMBER_OF_FRAMES")), "")
        return int(said) if said.isdigit() else None

    def _promised_seconds(self) -> float | None:
        """Length of the stream, as the container says; None where it does not."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        parts = self._stream.metadata.get("DURATION", "").split(":")
        try:
            hours, minutes, seconds = (float(part) for part in parts)
        except ValueError:
            return None
        # Matroska's tag is the time at which the last frame ends.
        first = float((self._stream.start_time or 0) * self._stream.time_base)
        return 3600 * hours + 60 * minutes + seconds - first


def display_matrix(frame: Any) -> bytes | None:
    """What the file says of how a frame is to be turned; None: nothing."""
    return next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)


class VideoReader(ContainerReader):
    """Reads one file from its beginning.

        with VideoReader(Path("walk.mp4")) as reader:
            for frame in reader:
                print(frame.index, frame.time, frame.image().shape)
        print(reader.counts)

    Args:
        path: the file.

    Raises:
        InvalidRequest: it is no video, or has no picture in it; the message names it and says what would help.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path, av = path, pyav()
        check_file(path)
        try:
            # As a URL, for a name with a colon is no protocol; and a playlist must not reach out of this machine.
            container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
        except av.FFmpegError as error:
            raise InvalidRequest("", f"{path}: {why_not_open(path, error)}") from None
        super().__init__(container, str(path))


def pyav() -> Any:
    """PyAV, imported late, silent about damaged packets, which are counted instead.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import av
        import av.logging
    except ModuleNotFoundError:
        raise MissingExtra("reading videos (av)", "video") from None
    av.logging.set_level(av.logging.PANIC)
    return av
