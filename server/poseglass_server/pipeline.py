"""A bounded queue of pictures, and the threads that do the work for each of them, off the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from poseglass_server.drainrate import DrainRate
from poseglass_server.errors import Expired, Overloaded
from poseglass_server.fairness import FairQueue
from poseglass_server.observer import Observer
from poseglass_server.tickets import EXPIRED, Ticket

Answer = TypeVar("Answer")

Work = Callable[[Ticket], Answer]
"""One picture's work; blocking. It calls `Ticket.check` between its steps, and runs networks through the ticket."""

DEFAULT_QUEUE = 64
"""Pictures. A longer queue answers nobody sooner; it only lets them wait longer before they are told to come again."""


class Pipeline:
    """Does pieces of work in threads: in turns between callers, first come first served for each.

    The threads decode and crop; while a network has their crops they wait, so there are more of them than processors.

    Args:
        workers: pictures worked on at once; it bounds the decoded ones in memory.
        queue: pictures that may wait besides those; streams bound theirs themselves.
        observer: is told what happens.
    """

    def __init__(self, workers: int, queue: int = DEFAULT_QUEUE, observer: Observer | None = None) -> None:
        self._observer = observer or Observer()
        self._bound, self._rate = queue, DrainRate(workers)
        self._changed = threading.Condition()
        self._waiting: FairQueue[_Task[Any]] = FairQueue()
        self._bounded = 0  # of those that wait
        self._working = 0
        self._closed = False
        for i in range(workers):
            threading.Thread(target=self._serve, name=f"poseglass-job-{i}", daemon=True).start()

    async def run(
        self, work: Work[Answer], caller: Hashable = None, deadline: float | None = None, bounded: bool = True
    ) -> Answer:
        """Do a piece of work; cancelling the awaiting task drops what is left of it.

        Args:
            work: what to do.
            caller: who takes turns with others.
            deadline: of `time.monotonic`; work that has not begun by then never does.
            bounded: whether it counts for the bound; a stream's does not, which has a bound of its own.

        Raises:
            Overloaded: the queue is full, or so long that the deadline would pass.
            Expired: the deadline passed first; raised when it passes, not when the work's turn comes.
            Exception: whatever the work raised.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        task = _Task(work, Ticket(caller, deadline), bounded, answer)
        self._admit(task)
        try:
            async with asyncio.timeout_at(deadline):  # the loop's clock is time.monotonic
                return await answer
        except TimeoutError:
            raise Expired(EXPIRED) from None
        finally:
            task.ticket.leave()
            self._forget(task)
            # A failed future holds its exception, that its frames, and this one the future: without this, refused
            # requests would stay in memory until the garbage collector comes by.
            del task, answer

    def close(self) -> None:
        """Drop what has not begun; what runs ends by itself."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.take().cancel()
            self._changed.notify_all()

    def _admit(self, task: _Task[Any]) -> None:
        task.ticket.check()
        with self._changed:
            ahead = self._waiting.ahead_of(task.ticket.caller)
            delay = self._rate.retry_delay(ahead)
            if self._rate.until_done(ahead) > task.ticket.remaining:
                self._observer.refused("deadline")
                raise Overloaded(
                    f"{ahead} pictures come first, and the deadline would pass before this one is done; allow more "
                    f"time, or try again in {delay:.2g} s",
                    delay,
                )
            if task.bounded and self._bounded >= self._bound and not self._make_room(task.ticket.caller, delay):
                self._observer.refused("queue")
                raise self._full(delay)
            self._waiting.put(task.ticket.caller, task)
            self._bounded += task.bounded
            self._tell()
            self._changed.notify()

    def _make_room(self, caller: Hashable, delay: float) -> bool:
        """Turn away the last picture of the caller with the most, for one who has clearly fewer."""
        greedy = self._waiting.longest()
        last = self._waiting.last_of(greedy)
        if not last.bounded or self._waiting.of(greedy) <= self._waiting.of(caller) + 1:
            return False
        self._take_out(last)
        self._observer.refused("evicted")
        last.fail(self._full(delay))
        return True

    def _full(self, delay: float) -> Overloaded:
        return Overloaded(
            f"the queue is full: {self._bound} pictures wait; try again in {delay:.2g} s, or ask another server", delay
        )

    def _forget(self, task: _Task[Any]) -> None:
        """What nobody waits for does not take up room."""
        with self._changed:
            self._take_out(task)

    def _take_out(self, task: _Task[Any]) -> None:
        if self._waiting.remove(task.ticket.caller, task):
            self._bounded -= task.bounded
            self._tell()

    def _tell(self) -> None:
        self._observer.queue(len(self._waiting), self._working)

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            began = time.perf_counter()
            task.do()
            with self._changed:
                self._working -= 1
                self._rate.took(time.perf_counter() - began)
                self._tell()
            del task  # its picture must not live until the next one comes along

    def _next(self) -> _Task[Any] | None:
        """The next piece of work; waits for one. None: no more will come."""
        with self._changed:
            while not self._closed:
                if self._waiting:
                    task = self._waiting.take()
                    self._bounded -= task.bounded
                    self._working += 1
                    self._tell()
                    return task
                self._changed.wait()
        return None


@dataclass(eq=False)
class _Task(Generic[Answer]):
    """A piece of work on its way through the queue and a thread, and the future of its answer."""

    work: Work[Answer]
    ticket: Ticket
    bounded: bool
    answer: asyncio.Future[Answer]

    def do(self) -> None:
        """In a thread: work, unless nobody waits any more."""
        try:
            self.ticket.check()
            self.ticket.waited += time.perf_counter() - self.ticket.arrived
            answer = self.work(self.ticket)
        except Exception as error:
            self.fail(error)
        else:
            self._settle(lambda: self.answer.set_result(answer))

    def fail(self, error: Exception) -> None:
        """The awaiting task is told of an error; from any thread."""
        self._settle(lambda: self.answer.set_exception(error))

    def cancel(self) -> None:
        """The awaiting task is cancelled; from any thread."""
        self._settle(self.answer.cancel)

    def _settle(self, how: Callable[[], Any]) -> None:
        def settle() -> None:
            if not self.answer.done():
                how()

        loop = self.answer.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle)
