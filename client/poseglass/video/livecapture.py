"""Capture in a thread of its own: frames wait in a short line until somebody has time to look at them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from poseglass.video.counts import Counts
from poseglass.video.following import LAG
from poseglass.video.livecamera import CameraReader
from poseglass.video.livereading import POLL, LiveFrame, LiveReader, Open
from poseglass.video.livesource import Kind, LiveSource
from poseglass.video.livestream import StreamReader
from poseglass.video.reading import Selection

OLDEST, NEVER = "oldest", "never"
"""What is dropped where looking is slower than the source."""

ROOM = 8
"""Frames that may wait: enough for what a network sends in one burst, and too few for any of them to get old."""

FAREWELL = 2.0
"""Seconds that a source has to end; one that hangs in a driver or a socket is then left to the end of the process."""


def open_live(source: LiveSource, over: Callable[[], bool]) -> LiveReader:
    """Open a live source; see `Open`.

    Raises:
        Unavailable: no such camera, nobody at the address, or no answer in time.
        InvalidRequest: it gives no video, or nothing.
        MissingExtra: PyAV is not installed.
    """
    return CameraReader(source) if source.kind is Kind.CAMERA else StreamReader(source, over)


class Capture:
    """Captures a live source, from entering it to leaving it.

    Everything about the source happens in one thread; everything else may be called from any other.

    Args:
        source: which.
        opened: opens it.
        enough: set: capture no more.
        selection: `every`, and `end` in seconds after the first frame.
        drop: `OLDEST`, `NEVER`, or None: never where the source waits (a pipe) or comes to an end, else the oldest.

    Attributes:
        facts: what is known of the picture, once the first frame has come.
    """

    def __init__(
        self, source: LiveSource, opened: Open, enough: threading.Event, selection: Selection, drop: str | None = None
    ) -> None:
        self.source, self._opened, self._enough, self._selection = source, opened, enough, selection
        self._drop = drop
        self.facts: dict[str, Any] = {}
        self._reader: LiveReader | None = None
        self._waiting: deque[LiveFrame] = deque()
        self._looked_at = 0
        self._counts = Counts()
        self._error: Exception | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="poseglass-capture", daemon=True)

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(FAREWELL)

    @property
    def counts(self) -> Counts:
        """Of the frames that were captured and not refused, so far."""
        with self._changed:
            return replace(self._counts)

    @property
    def error(self) -> Exception | None:
        """What ended the source, if it did not end by itself."""
        return self._error

    @property
    def drop(self) -> str:
        """What is dropped."""
        if self._drop is not None:
            return self._drop
        return NEVER if self.comes_to_an_end else OLDEST

    @property
    def comes_to_an_end(self) -> bool:
        """Whether the source is a pipe, or a recording that is sent, and so waits for whoever reads it."""
        return self.source.kind is Kind.PIPE or (self._reader is not None and self._reader.ends)

    @property
    def times(self) -> str:
        """Where times come from."""
        return "" if self._reader is None else self._reader.times

    @property
    def started(self) -> datetime:
        """When the first frame came."""
        begun = None if self._reader is None else self._reader.started
        return begun or datetime.now(UTC)

    def first(self) -> bool:
        """Wait for the first frame, which stays in the line; whether there is one."""
        with self._changed:
            while not (self._waiting or self._over()):
                self._changed.wait(POLL)
            return bool(self._waiting)

    def frames(self) -> Iterator[LiveFrame | None]:
        """Frames in order, to the last that was captured; None now and then, where nothing is to be done."""
        while True:
            with self._changed:
                if not self._may_go():
                    if not self._waiting and self._over():
                        self._closed = True
                        return
                    self._changed.wait(POLL)
                frame = None
                if self._may_go():
                    frame, self._looked_at = self._waiting.popleft(), self._looked_at + 1
                    self._changed.notify_all()
            yield frame

    def looked(self) -> None:
        """One of those frames has been looked at."""
        with self._changed:
            self._looked_at -= 1
            self._changed.notify_all()

    def _may_go(self) -> bool:
        """Whether a frame waits, and no more are being looked at than the pipeline needs, for they would get old."""
        return bool(self._waiting) and self._looked_at <= LAG

    def _over(self) -> bool:
        return self._ended or self._closed or self._enough.is_set()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            with self._opened(self.source, self._over) as reader:
                self._reader = reader
                self._read(reader)
        except Exception as caught:
            error = caught
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _read(self, reader: LiveReader) -> None:
        for frame in reader:
            self.facts = self.facts or reader.facts
            if self._selection.over(frame.time) or not self._put(frame, reader.counts):
                return
        with self._changed:
            self._count(reader.counts)

    def _put(self, frame: LiveFrame, counts: Counts) -> bool:
        """Let a frame join the line; whether any more are wanted."""
        with self._changed:
            while self.drop == NEVER and len(self._waiting) >= ROOM and not self._over():
                self._changed.wait(POLL)
            if self._over():
                return False
            if self._selection.holds(frame.index, frame.time):
                if len(self._waiting) >= ROOM:
                    self._waiting.popleft()
                    self._counts.dropped += 1
                self._waiting.append(frame)
                self._counts.selected += 1
            self._count(counts)
            self._changed.notify_all()
        return True

    def _count(self, counts: Counts) -> None:
        self._counts = replace(counts, selected=self._counts.selected, dropped=self._counts.dropped)
