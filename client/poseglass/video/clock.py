"""Times that rise, from time stamps that may not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Clock:
    """Gives every frame of a stream its time of presentation.

    Presentation stamps are believed unless they have gone back more often than the decoder's own: some containers (AVI)
    and raw streams have none worth the name. A stamp that is missing, that does not rise, or that leaps beyond the one
    after it is replaced: the frame follows the one before it by one period at most.

    Args:
        rate: frames a second that the file states.

    Attributes:
        repaired: frames whose presentation stamp was not taken.
    """

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate
        self._last: float | None = None
        self._stamps: dict[str, int | None] = {"pts": None, "dts": None}
        self._faults = {"pts": 0, "dts": 0}
        self.repaired = 0

    def timed(self, frames: Iterable[Any], base: Any) -> Iterator[tuple[Any, float]]:
        """Frames with their times in seconds; reads one frame ahead, since only the next stamp exposes a leap.

        Args:
            frames: in the order of presentation, with `pts`, `dts` and `time_base`.
            base: of frames that have none.
        """
        held: tuple[Any, float | None, bool] | None = None
        for frame in frames:
            stamp, own = self._stamp(frame.pts, frame.dts)
            # One division of whole numbers: the same float wherever it is computed.
            unit = frame.time_base or base
            time = None if stamp is None else stamp * unit.numerator / unit.denominator
            if held is not None:
                yield held[0], self._rise(held[1], held[2], time)
            held = frame, time, own
        if held is not None:
            yield held[0], self._rise(held[1], held[2], None)

    def _stamp(self, pts: int | None, dts: int | None) -> tuple[int | None, bool]:
        """The better of a frame's two stamps, and whether it is that of presentation."""
        for name, stamp in (("pts", pts), ("dts", dts)):
            last = self._stamps[name]
            if stamp is not None:
                self._faults[name] += last is not None and stamp <= last
                self._stamps[name] = stamp
        if pts is None or (dts is not None and self._faults["pts"] > self._faults["dts"]):
            return dts, dts == pts
        return pts, True

    def _rise(self, time: float | None, own: bool, following: float | None) -> float:
        """A time after the last one.

        Args:
            time: that the stamp says.
            own: whether it is the presentation stamp.
            following: what the next frame's stamp says.
        """
        last = self._last
        leaps = time is not None and following is not None and following < time and (last is None or following > last)
        sound = time is not None and (last is None or time > last) and not leaps
        self.repaired += not (sound and own)
        if time is None or not sound:
            room = self._period
            if following is not None and last is not None and following > last:
                room = min(room, (following - last) / 2)
            start = 0.0 if following is None else following - self._period
            time = start if last is None else last + room
        self._last = time
        return time
