"""What runs networks: a few threads, and batches made of whatever waits when one of them is free."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from poseglass_server.fairness import FairQueue
from poseglass_server.observer import Observer
from poseglass_server.tickets import Ticket

Item = TypeVar("Item")
Result = TypeVar("Result")


class Closed(RuntimeError):
    """The runners have stopped."""


class Runners:
    """Threads in which all networks of a process run, so that together they use the processors once.

    They are never idle while something waits: a batch is a free thread's share of what waits, up to the lane's maximum.
    Lanes (networks) take turns, and in a lane its callers do. A single item that finds nothing else about, or about to
    come, runs *alone*, where its lane can: no other batch begins until it is done, so it may take all processors, and
    is answered the soonest. Any other batch has to keep to its thread's share of them, and so has an item that came
    while another ran: there will be more, and side by side they cost less than one after the other.

    Args:
        count: batches that run at once.
        observer: is told of batches.
    """

    def __init__(self, count: int = 1, observer: Observer | None = None) -> None:
        self.observer = observer or Observer()
        self._changed = threading.Condition()
        self._lanes: deque[Lane[Any, Any]] = deque()  # those with something waiting; whose turn it is stands first
        self._expected: set[Ticket] = set()
        self._count, self._running = count, 0
        self._alone = False  # the one that runs
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"poseglass-run-{i}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: Lane[Any, Any], units: Sequence[_Unit[Any, Any]]) -> None:
        """Have units run.

        Raises:
            Closed: no more are taken.
        """
        with self._changed:
            if self._closed:
                raise Closed("the server has stopped")
            if not lane.waiting:
                self._lanes.append(lane)
                lane.since = time.monotonic()
            for unit in units:
                unit.met_another = self._running > 0
                lane.waiting.put(unit.submission.ticket.caller, unit)
                self._expected.discard(unit.submission.ticket)
            self._changed.notify(len(units))

    @contextmanager
    def expecting(self, ticket: Ticket) -> Iterator[None]:
        """Until this ends or they come, a ticket's first units are expected, and nothing begins alone before them."""
        with self._changed:
            self._expected.add(ticket)
        try:
            yield
        finally:
            with self._changed:
                self._expected.discard(ticket)

    def close(self) -> None:
        """Run what runs to its end and no more; what waits fails with `Closed`."""
        with self._changed:
            self._closed = True
            left = [lane.waiting.take() for lane in self._lanes for _ in range(len(lane.waiting))]
            self._lanes.clear()
            self._changed.notify_all()
        for unit in left:
            unit.submission.fail(Closed("the server has stopped"))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self._run(*batch)
            del batch  # its pictures must not live until the next one comes along

    def _run(self, lane: Lane[Item, Result], units: list[_Unit[Item, Result]], alone: bool) -> None:
        began = time.perf_counter()
        try:
            results = lane.run([unit.item for unit in units], alone)
        except Exception as error:
            self._ended()
            for unit in units:
                unit.submission.fail(error)
            return
        seconds = time.perf_counter() - began
        self._ended()  # before anybody is answered: what a caller submits next has not met its own last batch
        self.observer.batch(lane.name, len(units), seconds)
        for submission in {unit.submission for unit in units}:
            submission.ran += seconds
        for unit, result in zip(units, results, strict=True):
            unit.submission.take(unit.index, result)

    def _ended(self) -> None:
        with self._changed:
            self._running -= 1
            if self._alone:
                self._alone = False
                self._changed.notify_all()

    def _next(self) -> tuple[Lane[Any, Any], list[_Unit[Any, Any]], bool] | None:
        """The next batch, and whether it runs alone; waits for one. None: no more will come."""
        with self._changed:
            while not self._closed:
                batch, soonest = (None, None) if self._alone else self._ripe()
                if batch is not None:
                    lane, units = batch
                    others = self._running or self._lanes or self._expected
                    self._alone = lane.alone and len(units) == 1 and not units[0].met_another and not others
                    self._running += 1
                    return *batch, self._alone
                self._changed.wait(soonest)  # while this holds no lane, whose network may be retired meanwhile
        return None

    def _ripe(self) -> tuple[tuple[Lane[Any, Any], list[_Unit[Any, Any]]] | None, float | None]:
        """A batch that can run now; or None, and after how many seconds one can (None: when something comes)."""
        soonest = None
        for _ in range(len(self._lanes)):
            lane = self._lanes.popleft()
            wait = lane.unripe_for()
            units = [] if wait > 0 else lane.batch(self._count - self._running)
            if lane.waiting:
                self._lanes.append(lane)
            if units:
                return (lane, units), None
            if wait > 0:
                soonest = wait if soonest is None else min(soonest, wait)
        return None, soonest


class Lane(Generic[Item, Result]):
    """One network's queue.

    Args:
        runners: run it.
        run: a batch of items to their results, in the same order; called in the runners' threads, and told whether the
            batch runs alone.
        most: items a batch.
        delay: seconds that an item may wait for others to fill its batch; 0: a free thread takes what there is.
        name: for the observer.
        alone: whether a single item takes all processors; else one that runs is no reason for others to wait.
    """

    def __init__(
        self,
        runners: Runners,
        run: Callable[[list[Item], bool], Sequence[Result]],
        most: int,
        delay: float = 0.0,
        name: str = "",
        alone: bool = True,
    ) -> None:
        if most < 1:
            raise ValueError(f"most must be at least 1, not {most}")
        self.waiting: FairQueue[_Unit[Item, Result]] = FairQueue()
        self.run, self.name, self.alone = run, name, alone
        self.since = 0.0  # of `time.monotonic`: when what waits began to
        self._runners, self._most, self._delay = runners, most, delay

    def submit(self, items: Sequence[Item], ticket: Ticket) -> list[Result]:
        """Have items run, with whatever else waits, and wait for their results.

        Args:
            items: at least one; a batch may hold some of them and another the rest.
            ticket: whose they are. What nobody waits for any more is not run.

        Raises:
            Expired: the deadline passed or the caller left first.
            Closed: the server stopped.
            Exception: whatever `run` raised.
        """
        began = time.perf_counter()
        submission: _Submission[Result] = _Submission(ticket, len(items))
        try:
            self._runners.put(self, [_Unit(item, submission, i) for i, item in enumerate(items)])
            ticket.wait(submission.done)
            return submission.collect()
        finally:
            ticket.waited += max(time.perf_counter() - began - submission.ran, 0.0)
            del submission  # a failed one holds its exception, that this frame, and this frame the submission

    def unripe_for(self) -> float:
        """Seconds until a batch should be made of what waits; 0: now."""
        if self._delay <= 0 or len(self.waiting) >= self._most:
            return 0.0
        return max(self.since + self._delay - time.monotonic(), 0.0)

    def batch(self, free: int) -> list[_Unit[Item, Result]]:
        """Take the next batch off the queue, less what nobody waits for; empty where nothing is left.

        Args:
            free: threads that can run one now, and share what waits.
        """
        self.since = 0.0  # what is left has waited for this batch to fill, and does not wait again
        share = min(math.ceil(len(self.waiting) / free), self._most)
        units: list[_Unit[Item, Result]] = []
        while self.waiting and len(units) < share:
            unit = self.waiting.take()
            if not unit.submission.ticket.dead:
                units.append(unit)
        return units


@dataclass(eq=False, slots=True)
class _Submission(Generic[Result]):
    """Items that were submitted together, and their results as they come."""

    ticket: Ticket
    count: int
    done: threading.Event = field(default_factory=threading.Event)
    ran: float = 0.0
    results: dict[int, Result] = field(default_factory=dict)
    error: Exception | None = None

    def take(self, index: int, result: Result) -> None:
        self.results[index] = result
        if len(self.results) == self.count:
            self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done.set()

    def collect(self) -> list[Result]:
        if self.error is not None:
            raise self.error
        return [self.results[i] for i in range(self.count)]


@dataclass(eq=False, slots=True)
class _Unit(Generic[Item, Result]):
    item: Item
    submission: _Submission[Result]
    index: int
    met_another: bool = False  # a batch that ran when this one came
