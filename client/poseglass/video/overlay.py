"""The video with poses drawn on it: its times, upright, and its sound."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from poseglass.errors import Cancelled, InvalidRequest
from poseglass.video.annotate import draw_rows, people_in
from poseglass.video.following import LAG, Ask
from poseglass.video.reading import VideoReader, pyav
from poseglass.video.table import PoseTable
from poseglass.video.whole import whole_file
from poseglass_core.drawing import Image

CLOCK = 90_000
"""Ticks a second of the written video: fine enough for any frame rate."""

SUFFIXES = (".mp4", ".mkv", ".mov")
"""Of containers that keep a variable frame rate."""

MPEG4_CLOCK = 45_000
"""Likewise, in MPEG-4, which admits no more than 65,535."""

QUALITY = "20"
"""Constant rate factor: hardly to be told from the source."""


def write_overlay(
    table: PoseTable,
    source: Path,
    path: Path,
    smoothed: bool | None = None,
    heatmaps: Ask | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write the source video with the table's rows drawn on it; H.264, with AAC where the sound cannot be copied.

    Only frames that have rows are written, each at its own time; times below zero are moved up to it, with the sound.
    Frames whose rows say that nobody is there are written too.

    Args:
        table: rows of that video.
        source: the video.
        path: of the new one, in .mp4, .mkv or .mov; it is written whole or not at all.
        smoothed: draw the filtered joints; None: where there are any.
        heatmaps: gives poses with heatmaps for the boxes of a frame's rows; None: none are drawn.
        stop: set from another thread: give up at the next frame.

    Raises:
        Cancelled: `stop` was set.
        InvalidRequest: the suffix is of no such container, the source cannot be read, or frames of the table are not in
            it; the message says which.
        ValueError: smoothed joints are wanted, and there are none.
        MissingExtra: PyAV is not installed.
        OSError: it cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequest("--overlay", f"{path.name} must end in one of {', '.join(SUFFIXES)}")
    if path.resolve() == source.resolve():
        raise InvalidRequest("--overlay", f"would overwrite {source}; choose another name")
    if smoothed and table.smoothed is None:
        raise ValueError("the table has no smoothed joints: smooth it first")
    smoothed = table.smoothed is not None if smoothed is None else smoothed
    if not len(table):
        raise InvalidRequest("--overlay", f"{source}: no frame of it is in the result, so there is nothing to draw on")
    av = pyav()
    with whole_file(path) as temporary:
        try:
            with VideoReader(source) as reader, _Output(temporary, source, reader, table) as output:
                for time, picture in _annotated(_with_rows(reader, table, source), table, smoothed, heatmaps):
                    if stop is not None and stop.is_set():
                        raise Cancelled("stopped; run the same command again to go on")
                    output.add(time, picture)
                output.finish(whole=_nothing_left(reader))
        except av.FFmpegError as error:
            if isinstance(error, OSError) and error.errno:  # such as a full disk
                raise
            raise OSError(0, f"the video cannot be encoded ({error})", str(path)) from None


def _annotated(
    frames: Iterator[tuple[float, Image, slice]], table: PoseTable, smoothed: bool, heatmaps: Ask | None
) -> Iterator[tuple[float, Image]]:
    """(time, picture) of every frame; as many as are looked at side by side in the first pass are drawn at once."""

    def drawn(image: Image, rows: slice) -> Image:
        boxes = [table.pose(row).box for row in people_in(table, rows)] if heatmaps is not None else []
        found = heatmaps(image, boxes) if heatmaps is not None and boxes else []
        return draw_rows(image, table, rows, smoothed, found)

    waiting: deque[tuple[float, Future[Image]]] = deque()

    def oldest() -> tuple[float, Image]:
        time, picture = waiting.popleft()
        return time, picture.result()

    with ThreadPoolExecutor(LAG, "poseglass-draw") as pool:
        for time, image, rows in frames:
            if len(waiting) == LAG:
                yield oldest()
            waiting.append((time, pool.submit(drawn, image, rows)))
        while waiting:
            yield oldest()


def _with_rows(reader: VideoReader, table: PoseTable, source: Path) -> Iterator[tuple[float, Image, slice]]:
    """(time, pixels, rows) of every frame that has rows."""
    wanted = table.frames()
    rows = next(wanted, None)
    for frame in reader:
        if rows is None:
            return
        if frame.index != rows.index:
            continue
        yield frame.time, frame.image(), rows.rows
        if (rows := next(wanted, None)) is None:
            return
    if rows is not None:
        raise InvalidRequest(
            "", f"{source}: has no frame {rows.index}, which the result has rows of; is it the same video?"
        )


def _nothing_left(reader: VideoReader) -> bool:
    """Whether the last frame with rows is about the video's last: then all of the sound belongs to it."""
    counts = reader.counts
    return counts.ended or counts.promised is None or counts.decoded >= counts.promised - 1


class _Output:
    """The file that is written: pictures as they come, and sound copied up to them.

    Args:
        path: of the file.
        source: that the sound is copied from.
        reader: of the pictures.
        table: first and last times are read off it.
    """

    def __init__(self, path: Path, source: Path, reader: VideoReader, table: PoseTable) -> None:
        self._av = pyav()
        self._first, self._last = float(table.time[0]), float(table.time[-1])
        self._shift = max(0.0, -float(table.time.min()))
        self._tick = -1
        self._picture: Any = None
        self._rate = Fraction(reader.facts["rate"] or 25).limit_denominator(1001)
        # The table of contents in front, so that the file plays while it is still on its way.
        options = {"movflags": "+faststart"} if path.suffix != ".mkv" else {}
        self._file = self._av.open(str(path), "w", options=options)
        self._sound = _Sound(self._av, source, self._file, self._shift)

    def __enter__(self) -> _Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sound.close()
        self._file.close()

    def add(self, time: float, picture: Image) -> None:
        """One more frame, and the sound until then."""
        if self._picture is None:
            self._picture = _picture_stream(self._av, self._file, picture.shape[:2], self._rate)
            self._sound.until(self._first, keep=self._first <= self._sound.start)
        frame = self._av.VideoFrame.from_ndarray(_fitted(picture, (self._picture.height, self._picture.width)))
        # Two frames never share a tick: players would drop one.
        self._tick = max(round((time + self._shift) * CLOCK), self._tick + 1)
        frame.pts, frame.time_base = self._tick, Fraction(1, CLOCK)
        self._file.mux(self._picture.encode(frame))
        self._sound.until(time)

    def finish(self, whole: bool) -> None:
        """Everything is in; the rest of the sound where the video is whole."""
        self._file.mux(self._picture.encode(None))
        self._sound.until(float("inf") if whole else self._last + 1 / float(self._rate))
        self._sound.flush()


def _picture_stream(av: Any, file: Any, size: tuple[int, int], rate: Fraction) -> Any:
    try:
        av.codec.Codec("libx264", "w")
    except av.codec.codec.UnknownCodecError:  # builds of FFmpeg differ
        stream, clock = file.add_stream("mpeg4", rate=rate), MPEG4_CLOCK
        stream.codec_context.qmax = 4
    else:
        # Without B-frames times are written in their own order, which every container can hold. Without the tree of
        # macroblocks the same pictures make the same bytes; with it, of a hundred small videos ten came out otherwise.
        options = {"preset": "veryfast", "crf": QUALITY, "bf": "0", "mbtree": "0"}
        stream, clock = file.add_stream("libx264", rate=rate, options=options), CLOCK
    height, width = size
    # 4:2:0 halves both sides of the colour planes.
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    stream.codec_context.time_base = stream.time_base = Fraction(1, clock)
    return stream


def _fitted(picture: Image, size: tuple[int, int]) -> Image:
    """A picture of the stream's size: one row or column more, or scaled where the source changes its size midway."""
    below, right = size[0] - picture.shape[0], size[1] - picture.shape[1]
    if not (0 <= below <= 1 and 0 <= right <= 1):
        return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    if below or right:
        picture = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")
    return np.ascontiguousarray(picture)


class _Sound:
    """The first sound of a file, copied packet by packet, or encoded anew where the container cannot hold it.

    Args:
        av: PyAV.
        source: with or without sound.
        file: that is written.
        shift: seconds that all times are moved by.
    """

    def __init__(self, av: Any, source: Path, file: Any, shift: float) -> None:
        self._av, self._file, self._shift = av, file, shift
        self._source = av.open(f"file:{source}", options={"protocol_whitelist": "file"})
        self._stream = next((s for s in self._source.streams.audio if s.codec_context is not None), None)
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        self.start = 0.0
        if self._stream is None:
            return
        self.start = float((self._stream.start_time or 0) * self._stream.time_base)
        self._packets = self._source.demux(self._stream)
        self._copied = self._stream.codec_context.codec.canonical_name in file.supported_codecs
        if self._copied:
            self._out = file.add_stream_from_template(self._stream)
        else:
            self._out = file.add_stream("aac", rate=self._stream.rate)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def until(self, time: float, keep: bool = True) -> None:
        """Copy what sounds before a time; where not to be kept, pass it over."""
        while (packet := self._next()) is not None:
            if packet.pts is not None and float(packet.pts * packet.time_base) > time:
                self._waiting = packet
                return
            if keep and packet.pts is not None:
                self._write(packet)

    def _next(self) -> Any:
        """The next packet; None after the last, or where the sound breaks off."""
        packet, self._waiting = self._waiting, None
        try:
            return packet or next(self._packets, None)
        except (self._av.FFmpegError, IndexError):
            self._packets = iter(())
            return None

    def _write(self, packet: Any) -> None:
        if self._copied:
            move = round(self._shift / packet.time_base)
            packet.pts += move
            packet.dts = packet.pts if packet.dts is None else packet.dts + move
            packet.stream = self._out
            self._file.mux(packet)
            return
        try:
            frames = packet.decode()
        except self._av.FFmpegError:  # a damaged packet is a moment of silence
            return
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts + round(self._shift / frame.time_base)
            self._file.mux(self._out.encode(frame))

    def flush(self) -> None:
        """What the encoder still holds."""
        if self._stream is not None and not self._copied:
            self._file.mux(self._out.encode(None))
