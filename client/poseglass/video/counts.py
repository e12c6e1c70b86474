"""What a video promised, what came, and whether the two agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

TOLERANCE_FRAMES, TOLERANCE_SECONDS = 2.0, 1.0
"""How much shorter than promised a stream may be, where the container states no number of frames: that many of its mean
periods, which leaves room for a last frame that lasts longer, and never more than that many seconds."""


@dataclass
class Counts:
    """A tally that grows while a file is read.

    Attributes:
        promised: frames, as the container says; None: it does not.
        promised_seconds: length of the stream, as the container says; None: it does not.
        decoded: frames that came.
        hidden: frames that the container holds and hides (edit lists): they are promised, and never come.
        selected: decoded frames that are wanted (`--every`, `--start`, `--end`).
        dropped: wanted frames of a live source that nobody had time for; they have no rows.
        written: frames that have rows in the result.
        with_people: of those, frames with somebody.
        corrupt_packets: packets that were damaged or did not decode; they were passed over.
        damaged_frames: frames that came, and that the decoder calls damaged.
        repaired_times: frames whose time the file does not say, or says wrongly.
        first_time, last_time: seconds, of the first and last decoded frame.
        broken_off: what ended the file or stream before its end; empty: nothing.
        ended: whether it was read to its end (or break); not so where `--end` was reached.
    """

    promised: int | None = None
    promised_seconds: float | None = None
    decoded: int = 0
    hidden: int = 0
    selected: int = 0
    dropped: int = 0
    written: int = 0
    with_people: int = 0
    corrupt_packets: int = 0
    damaged_frames: int = 0
    repaired_times: int = 0
    first_time: float | None = None
    last_time: float | None = None
    broken_off: str = ""
    ended: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, with `disagreements`."""
        return {**asdict(self), "disagreements": self.disagreements()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Counts:
        """What `to_json` gave."""
        return cls(**{name: value for name, value in values.items() if name != "disagreements"})

    def disagreements(self) -> list[str]:
        """What does not add up, a line each; none: all is well.

        Frames that the container promises are compared only where the file was read to its end.
        """
        lines = []
        if self.broken_off:
            lines.append(f"the picture breaks off after {self.decoded} frames ({self.broken_off})")
        if self.ended and self.promised is not None and self.promised != self.decoded + self.hidden:
            hidden = f", {self.hidden} of them hidden" if self.hidden else ""
            lines.append(f"the container promises {self.promised} frames{hidden}, and {self.decoded} decode")
        if self.ended and self.promised is None and self._too_short():
            lines.append(
                f"the container promises {self.promised_seconds:.1f} s, and frames end at {self.reached:.1f} s"
            )
        if self.corrupt_packets:
            lines.append(f"{self.corrupt_packets} packets are corrupt")
        if self.written + self.dropped != self.selected:
            dropped = f", {self.dropped} were dropped" if self.dropped else ""
            lines.append(f"{self.selected} frames were to be written{dropped}, and {self.written} are in the result")
        return lines

    @property
    def reached(self) -> float:
        """Seconds from the first decoded frame to the last."""
        return 0.0 if self.first_time is None or self.last_time is None else self.last_time - self.first_time

    def _too_short(self) -> bool:
        if self.promised_seconds is None:
            return False
        tolerance = TOLERANCE_SECONDS
        if self.decoded > 1:
            # One period more, for which the last frame is shown.
            tolerance = min(tolerance, (TOLERANCE_FRAMES + 1) * self.reached / (self.decoded - 1))
        return self.reached < self.promised_seconds - tolerance
