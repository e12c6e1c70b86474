"""Which picture of a stream is sent when, and which answer is whose: the state of one stream, without transport.

Pictures are numbered as they are read and given out in that order. A server answers those of one call in the order in
which they were sent. The two differ once a picture is sent again: because the server had no time for it, or because the
call broke and what it had not answered goes into the next call. Both clients drive this: one from threads, under a
lock, the other from tasks.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from poseglass.errors import Cancelled, DeadlineExceeded, MessageTooLarge, PoseglassError, ServerError, Unavailable
from poseglass.exchange import STREAM_GRACE, Exchange
from poseglass.retrying import Attempts
from poseglass_proto.v1 import pose_pb2 as pb

SETTLED = 10.0
"""Seconds after which a call that breaks has worked: the next one is the first attempt again."""

LAST_WORDS = 1.0
"""Seconds to wait for the end of a call in which everything was answered."""


@dataclass(order=True)
class Slot:
    """A picture that was read and whose answer was not yet dealt with.

    Attributes:
        number: its place among the pictures.
        request: None where it could not be made.
        attempts: from when it is first sent.
        failure: how the last one of these ended.
        answer: None until it is there.
    """

    number: int
    request: pb.PredictRequest = field(default_factory=pb.PredictRequest, compare=False)
    attempts: Attempts | None = field(default=None, compare=False)
    failure: PoseglassError | None = field(default=None, compare=False)
    answer: pb.PredictResponse | PoseglassError | None = field(default=None, compare=False)

    def error(self) -> PoseglassError:
        """The error that is its answer, and says whose it is."""
        assert isinstance(self.answer, PoseglassError)
        self.answer.index = self.number
        return self.answer


class StreamState:
    """The state of one stream.

    Args:
        exchange: reads answers, and says how often what is tried again.
        seconds: that a picture may take from when it is first sent, all attempts together.
        in_flight: pictures that may be read and not yet dealt with.
        clock: seconds.
    """

    def __init__(
        self, exchange: Exchange, seconds: float, in_flight: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._exchange, self._seconds, self._in_flight, self._clock = exchange, seconds, in_flight, clock
        self._slots: deque[Slot] = deque()  # in the caller's order
        self._waiting: list[Slot] = []  # to be sent; a heap
        self._sent: deque[Slot] = deque()  # over the call under way, in the order of the answers to come
        self._count = 0
        self._read_all = False
        self._source_error: BaseException | None = None
        self._failure: BaseException | None = None
        self._hold = -math.inf  # nothing is sent before
        self._alone = 0  # pictures that are sent one at a time, because one of them broke a call
        self._call, self._opened = 0, 0.0
        self._tries: Attempts | None = None  # to mend the stream; None: it works

    # What is read.

    @property
    def full(self) -> bool:
        """Whether no more pictures should be read now."""
        return len(self._slots) >= self._in_flight

    def add(self, request: pb.PredictRequest | PoseglassError) -> None:
        """One more picture, or why it cannot be sent."""
        slot = Slot(self._count)
        self._count += 1
        self._slots.append(slot)
        if isinstance(request, PoseglassError):
            slot.answer = request
        else:
            slot.request = request
            heapq.heappush(self._waiting, slot)

    def end(self, error: BaseException | None = None) -> None:
        """No more pictures; `error` is what their source raised."""
        self._read_all = True
        self._source_error = error

    # What is sent and received.

    def begin(self) -> int:
        """A call begins; its number."""
        self._call, self._opened = self._call + 1, self._clock()
        return self._call

    def due(self, call: int) -> float | None:
        """Seconds until a picture may be sent over a call; infinite: not before something changes; None: never more."""
        self._expire()
        if call != self._call or self.over:
            return None
        if not self._waiting or (self._alone and self._sent):
            return math.inf
        return max(self._hold - self._clock(), 0.0)

    def take(self) -> pb.PredictRequest:
        """The picture that is due, to be sent now."""
        slot = heapq.heappop(self._waiting)
        if slot.attempts is None:
            slot.attempts = self._exchange.attempts(self._clock() + self._seconds)
        else:
            slot.request.timeout_ms = max(1, round(slot.attempts.remaining() * 1e3))
        self._sent.append(slot)
        return slot.request

    def received(self, response: pb.PredictResponse) -> None:
        """The call's next answer."""
        if not self._sent:
            self.fail(ServerError("the server answered a picture that it was not sent"))
            return
        slot = self._sent.popleft()
        self._tries = None
        self._alone = max(self._alone - 1, 0)
        failure = self._exchange.failure(response)
        if failure is None:
            slot.answer = response
            return
        assert slot.attempts is not None
        try:
            pause = slot.attempts.pause(failure)
        except PoseglassError as last:
            slot.answer = last
            return
        # What is too much for a server now is so for the pictures behind it, too.
        self._hold = max(self._hold, self._clock() + pause)
        self._again(slot, failure)

    def broken(self, error: PoseglassError) -> float | None:
        """The call is over; what it left unanswered is for the next one.

        Args:
            error: why.

        Returns:
            Seconds to wait before the next one; None: there is none, as `error` ends the stream, or nothing is left.
        """
        self._call += 1
        if self.over:
            return None
        if isinstance(error, Cancelled):  # not by this side: a server that goes away may cancel its calls first
            error = Unavailable(f"the server cancelled the stream ({error})")
        unanswered, self._sent = list(self._sent), deque()
        if isinstance(error, MessageTooLarge) and unanswered:
            self._find_culprit(unanswered, error)
            return 0.0
        for slot in unanswered:
            self._again(slot, error)
        now = self._clock()
        if self._tries is None or now - self._opened > SETTLED:
            self._tries = self._exchange.attempts(now + self._seconds)
        try:
            return self._tries.pause(error)
        except PoseglassError as last:
            self.fail(last)
            return None

    def _find_culprit(self, unanswered: list[Slot], error: MessageTooLarge) -> None:
        """A message over the limit, either way, ends a call for all; sent one at a time, they show whose it is."""
        if len(unanswered) == 1:
            unanswered[0].answer = error
            self._alone = 0
            return
        self._alone = len(unanswered)
        for slot in unanswered:
            self._again(slot, error)

    def _again(self, slot: Slot, failure: PoseglassError) -> None:
        slot.failure = failure
        heapq.heappush(self._waiting, slot)

    def _expire(self) -> None:
        """A picture that waits to be sent again until its time is over will not be: its error is its answer."""
        while self._waiting and (slot := self._waiting[0]).attempts is not None and slot.attempts.remaining() <= 0:
            heapq.heappop(self._waiting)
            slot.answer = DeadlineExceeded(f"no answer within {self._seconds:g} s; the last try: {slot.failure}")

    def fail(self, error: BaseException) -> None:
        """Nothing is sent or received any more; the answers that are there are given out before `error` is raised."""
        self._failure = self._failure or error

    @property
    def over(self) -> bool:
        """Whether nothing is to be sent or received any more."""
        return self._failure is not None or (self._read_all and not self._waiting and not self._sent)

    # What is given out.

    def head(self) -> Slot | None:
        """The oldest picture, where its answer is there.

        Raises:
            BaseException: what broke the stream, or what the source of the pictures raised, after the answers before.
        """
        self._expire()
        if self._slots and self._slots[0].answer is not None:
            return self._slots[0]
        if self._failure is not None:
            raise self._failure
        if self._source_error is not None and not self._slots:
            raise self._source_error
        return None

    def done(self) -> None:
        """The oldest picture was dealt with."""
        self._slots.popleft()

    @property
    def finished(self) -> bool:
        """Whether every picture was dealt with."""
        return self._read_all and not self._slots

    def patience(self) -> float:
        """Seconds to wait for the oldest picture's answer; none: `silent`."""
        if not self._slots or (attempts := self._slots[0].attempts) is None:
            return math.inf
        if self._waiting and self._waiting[0] is self._slots[0]:  # `head` ends this wait
            return max(attempts.remaining(), 1e-3)
        return attempts.deadline + STREAM_GRACE - self._clock()

    def silent(self) -> DeadlineExceeded:
        """The error where patience is at its end."""
        where, seconds = self._exchange.address, self._seconds
        return DeadlineExceeded(f"the server at {where} is silent for longer than the timeout of {seconds:g} s")


def ended() -> ServerError:
    """The error for a call that was over too early."""
    return ServerError("the server ended the stream before it had answered every picture")


def left() -> Cancelled:
    """The error for a stream that its caller left, who will not see it."""
    return Cancelled("the stream was left")
