"""What became of every request: columns of numbers that grow while the load runs."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OK = "OK"
NOT_SENT, UNREADABLE, UNKNOWN = "NOT_SENT", "UNREADABLE", "UNKNOWN"
"""The generator was too late to send it at all; the answer was no `PredictResponse`; the stream ended, and the server's
reason did not arrive. All other codes are gRPC's."""

NO_TIMINGS = (math.nan,) * 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came back with.

    Attributes:
        code: name of a gRPC status, or `UNREADABLE`.
        message: what the server said with it; empty where it is OK.
        retry: seconds after which the server wants to be asked again; NaN where it did not say.
        timings: the server's own milliseconds: decode, queue, inference, total; NaN where there are none.
        people: in the answer.
        origin: name, version and hash of the model, and the provider; empty where it failed.
    """

    code: str
    message: str = ""
    retry: float = math.nan
    timings: tuple[float, float, float, float] = NO_TIMINGS
    people: float = math.nan
    origin: tuple[str, int, str, str] = ("", 0, "", "")


CANCELLED = Answer("CANCELLED", "the run was interrupted")
LATE = Answer(NOT_SENT, "the generator came to it too late, or had too many requests under way")


@dataclass(frozen=True)
class Table:
    """Requests, a row each, in the order in which they ended.

    Attributes:
        at: [N] seconds since measuring began, at which each was due.
        sent: [N] likewise, when it was sent.
        done: [N] likewise, when its answer was there.
        kind: [N] which picture.
        code: [N] index into `codes`.
        retry: [N] seconds; NaN: not said.
        timings: [N, 4] the server's milliseconds: decode, queue, inference, total.
        people: [N] in the answer; NaN: it failed.
        origin: [N] index into `origins`.
        codes: names.
        messages: code -> what was said the first time.
        origins: (name, version, hash, provider) of what answered.
    """

    at: NDArray[np.float64]
    sent: NDArray[np.float64]
    done: NDArray[np.float64]
    kind: NDArray[np.int64]
    code: NDArray[np.int64]
    retry: NDArray[np.float64]
    timings: NDArray[np.float64]
    people: NDArray[np.float64]
    origin: NDArray[np.int64]
    codes: tuple[str, ...]
    messages: dict[str, str]
    origins: tuple[tuple[str, int, str, str], ...]

    @property
    def latency(self) -> NDArray[np.float64]:
        """[N] seconds from when each was due to its answer."""
        return self.done - self.at


_WIDTH = 12


class Records:
    """Takes one row a request; cheap, for it happens while the load runs.

    Args:
        begin: time of the event loop at which measuring begins; a row's times are relative to it.
    """

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._rows = array("d")
        self._codes: dict[str, int] = {}
        self._origins: dict[tuple[str, int, str, str], int] = {}
        self._messages: dict[str, str] = {}

    def add(self, kind: int, at: float, sent: float, done: float, answer: Answer) -> None:
        """One request.

        Args:
            kind: which picture.
            at: when it was due, by the event loop's clock.
            sent: when it was sent.
            done: when it was answered.
            answer: with what.
        """
        code = self._codes.setdefault(answer.code, len(self._codes))
        origin = self._origins.setdefault(answer.origin, len(self._origins))
        if answer.message:
            self._messages.setdefault(answer.code, answer.message)
        begin = self._begin
        times = (at - begin, sent - begin, done - begin)
        self._rows.extend((*times, kind, code, origin, answer.retry, answer.people, *answer.timings))

    def table(self) -> Table:
        """All rows so far."""
        rows = np.array(self._rows).reshape(-1, _WIDTH)
        at, sent, done, kind, code, origin, retry, people = rows.T[:8]
        return Table(
            at=at,
            sent=sent,
            done=done,
            kind=kind.astype(np.int64),
            code=code.astype(np.int64),
            retry=retry,
            timings=rows[:, 8:],
            people=people,
            origin=origin.astype(np.int64),
            codes=tuple(self._codes),
            messages=dict(self._messages),
            origins=tuple(self._origins),
        )
