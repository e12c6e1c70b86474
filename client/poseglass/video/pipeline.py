"""One video through the machine: decoding, looking and writing side by side, joined by short queues."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from poseglass.errors import Cancelled
from poseglass.video.following import LAG, Ask, Follower, FollowSettings, Plan, Seen, look, look_on, visible
from poseglass.video.segments import Passed, SegmentFrame
from poseglass.video.table import PoseTable, TableBuilder
from poseglass_core.skeleton import Skeleton

AHEAD = 4
"""Decoded frames that may wait: enough to even out slow ones, and few enough for 4K."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Machine:
    """What looks at frames; may be shared by several videos.

    Attributes:
        ask: finds poses.
        skeleton: of its model.
        settings: for following.
        looking: runs the looks; `LAG` threads a video that is under way keep it busy.
        stop: set: give up at the next frame.
    """

    ask: Ask
    skeleton: Skeleton
    settings: FollowSettings
    looking: Executor
    stop: threading.Event


def run_segments(
    frames: Iterable[SegmentFrame | Passed],
    machine: Machine,
    finish: Callable[[int, PoseTable], None],
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Look at all frames of a video that need it.

    Args:
        frames: in order; read in a thread of its own, a few ahead.
        machine: looks at them.
        finish: is given each segment's number and rows when it is complete, in order, in a thread of its own.
        progress: called once a frame.

    Raises:
        Cancelled: `machine.stop` was set. And whatever `frames`, the ask or `finish` raise.
    """
    # Whatever happens, nobody reads any more when this returns: the caller may close the file.
    with _Writer(finish) as writer, closing(ahead(frames, AHEAD)) as coming:
        number, builder = -1, TableBuilder(machine.skeleton)
        for frame, seen in _looked_at(coming, machine, progress):
            if frame.segment != number:
                writer.write(number, builder)
                number, builder = frame.segment, TableBuilder(machine.skeleton)
            builder.add(frame.index, frame.time, [visible(pose, machine.settings) for pose in seen.poses])
        writer.write(number, builder)


def _looked_at(
    frames: Iterator[SegmentFrame | Passed], machine: Machine, progress: Callable[[], None]
) -> Iterator[tuple[SegmentFrame, Seen]]:
    """Frames with what was seen in them, in order, `LAG` plans of them under way."""
    waiting: deque[tuple[list[SegmentFrame], Follower, Future[list[Seen]]]] = deque()
    follower, number = Follower(machine.settings), -1
    plan: Plan | None = None
    gathered: list[SegmentFrame] = []  # of that plan

    def begin() -> None:
        nonlocal plan, gathered
        if plan is not None:
            images = [frame.image for frame in gathered]
            answer = machine.looking.submit(look, machine.ask, images, plan, machine.settings)
            waiting.append((gathered, follower, answer))
        plan, gathered = None, []

    def oldest() -> Iterator[tuple[SegmentFrame, Seen]]:
        its_frames, its_follower, answer = waiting.popleft()
        seen = answer.result()
        if missed := its_follower.unknown():
            images = [frame.image for frame in its_frames]
            seen = look_on(machine.ask, images, seen, missed, machine.settings)
        its_follower.take(seen)
        for pair in zip(its_frames, seen, strict=True):
            progress()
            yield pair

    try:
        for frame in frames:
            if machine.stop.is_set():
                raise Cancelled("stopped; run the same command again to go on")
            if isinstance(frame, Passed):
                progress()
                continue
            if frame.segment != number:
                begin()  # what the segment before has left
                follower, number = Follower(machine.settings), frame.segment
            if plan is None:
                while waiting and (len(waiting) >= LAG or not follower.ready()):
                    yield from oldest()
                plan = follower.plan()
            gathered.append(frame)
            if len(gathered) == plan.count:
                begin()
        begin()
        while waiting:
            yield from oldest()
    finally:
        for _, _, answer in waiting:
            answer.cancel()


class _Writer:
    """Writes segments in a thread, one at a time; the next waits for the last, so that they cannot pile up.

    Args:
        finish: does it.
    """

    def __init__(self, finish: Callable[[int, PoseTable], None]) -> None:
        self._finish = finish
        self._thread = ThreadPoolExecutor(1, "poseglass-write")
        self._last: Future[None] | None = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None and self._last is not None:
            self._last.result()

    def write(self, number: int, builder: TableBuilder) -> None:
        """Write a segment, if it has rows.

        Raises:
            OSError: the one before could not be written.
        """
        if self._last is not None:
            self._last.result()
        if len(builder):
            self._last = self._thread.submit(lambda: self._finish(number, builder.build()))


class _End:
    """Behind the last item; `error` is what ended them."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, read in a thread of its own, at most `depth` before they are asked for.

    Raises:
        What `items` raises, after the items before it.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Item | _End) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
        return None

    def read() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as error:
            put(_End(error))
        else:
            put(_End())

    thread = threading.Thread(target=read, name="poseglass-decode", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()  # whoever closes the file next must not pull it from under the decoder
