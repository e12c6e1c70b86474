"""A camera, picture by picture, through OpenCV."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from poseglass.errors import Unavailable
from poseglass.video.counts import Counts
from poseglass.video.livereading import ARRIVAL, LiveFrame
from poseglass.video.livesource import LiveSource
from poseglass.video.orientation import Image

MOST_LOST = 100
"""Pictures in a row that a camera announces and does not give, after which it is given up."""


class CameraReader:
    """Reads a camera.

    Args:
        source: the camera.
        camera: opens one; as `cv2.VideoCapture`.

    Raises:
        Unavailable: it does not open; the message says which there are.
    """

    def __init__(self, source: LiveSource, camera: Callable[[int], Any] = cv2.VideoCapture) -> None:
        self.counts, self.times, self.ends = Counts(), ARRIVAL, False
        self.started: datetime | None = None
        self._size: tuple[int, int] | None = None
        with _silent_opencv():
            self._camera = camera(int(source.address))
        if not self._camera.isOpened():
            self._camera.release()
            raise Unavailable(
                f"{source}: does not open; check that it is plugged in, that no other program has it, and that you may "
                f"read /dev/video{source.address}. Here are: {_cameras()}"
            )

    @property
    def facts(self) -> dict[str, Any]:
        """What the camera says of its picture."""
        rate = float(self._camera.get(cv2.CAP_PROP_FPS))
        size = {} if self._size is None else {"height": self._size[0], "width": self._size[1]}
        return {"container": "camera", "codec": None, "rate": rate if rate > 0 else None, **size}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._camera.release()

    def __iter__(self) -> Iterator[LiveFrame]:
        """Every picture, with the moment at which it was there; ends when the camera does."""
        counts, zero, lost = self.counts, 0.0, 0
        while lost < MOST_LOST and self._camera.grab():
            moment = time.monotonic()
            whole, pixels = self._camera.retrieve()
            if not whole or pixels is None:
                counts.corrupt_packets, lost = counts.corrupt_packets + 1, lost + 1
                continue
            lost = 0
            if counts.last_time is None:
                self.started, self._size, zero = datetime.now(UTC), pixels.shape[:2], moment
                counts.first_time = counts.last_time = 0.0
            else:
                counts.last_time = max(moment - zero, math.nextafter(counts.last_time, math.inf))
            index, counts.decoded = counts.decoded, counts.decoded + 1
            yield Captured(index, counts.last_time, pixels)
        counts.broken_off = "the camera gives no more pictures"


class Captured:
    """One picture of a camera.

    Attributes:
        index: among all, from 0.
        time: seconds since the first one.
    """

    def __init__(self, index: int, time: float, pixels: Image) -> None:
        self.index, self.time, self._pixels = index, time, pixels

    def image(self) -> Image:
        """uint8 [height, width, 3] RGB."""
        return np.asarray(cv2.cvtColor(self._pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _cameras() -> str:
    found = sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: (len(path.name), path.name))
    return ", ".join(str(path) for path in found) or "no cameras at all"


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Without OpenCV's own words about a camera that does not open: ours say more."""
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)
