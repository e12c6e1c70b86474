"""What every live source gives: frames, once, with times from the first one on.

Times are the stream's own where its container has any; else they say when a frame arrived here, by a clock that is
never set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from poseglass.video.counts import Counts
from poseglass.video.livesource import LiveSource
from poseglass.video.orientation import Image

POLL = 0.1
"""Seconds after which whoever waits looks whether all is over."""

OWN, ARRIVAL = "presentation", "arrival"
"""Where times come from."""


class LiveFrame(Protocol):
    """A captured frame; its pixels are converted when asked for.

    Attributes:
        index: among all captured frames, from 0.
        time: seconds since the first one; greater than the frame's before.
    """

    index: int
    time: float

    def image(self) -> Image:
        """uint8 [height, width, 3] RGB, upright."""
        ...


class LiveReader(AbstractContextManager["LiveReader"], Protocol):
    """Gives the frames of a live source, once.

    Attributes:
        counts: what has come so far.
        started: when the first frame came, in UTC; None before it has.
        times: `OWN` or `ARRIVAL`.
        ends: whether it is a recording that is sent, and will come to an end.
    """

    counts: Counts
    started: datetime | None
    times: str
    ends: bool

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the picture: container, codec, rate, size."""
        ...

    def __iter__(self) -> Iterator[LiveFrame]: ...


Open = Callable[[LiveSource, Callable[[], bool]], LiveReader]
"""Opens a source; the second argument says whether all is over, so that nothing need be waited for."""
