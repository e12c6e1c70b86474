"""Turns, batches and the queue's bound, without a server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseglass_server.batcher import Closed, Lane, Runners
from poseglass_server.errors import Expired, Overloaded
from poseglass_server.fairness import FairQueue
from poseglass_server.memory import PictureMemory
from poseglass_server.pipeline import Pipeline
from poseglass_server.tickets import Ticket

CALLERS = st.lists(st.integers(0, 4), max_size=60)


@given(CALLERS)
def test_callers_take_turns_and_keep_their_own_order(callers):
    queue: FairQueue[tuple[int, int]] = FairQueue()
    for number, caller in enumerate(callers):
        ahead = queue.ahead_of(caller)
        assert ahead <= len(queue)
        queue.put(caller, (caller, number))
    taken = [queue.take() for _ in callers]
    assert not queue
    for caller in set(callers):
        assert [n for c, n in taken if c == caller] == [n for n, c in enumerate(callers) if c == caller]
    had: Counter[int] = Counter()
    waiting = Counter(callers)
    for caller, _ in taken:  # nobody is two turns before somebody who still waits
        had[caller] += 1
        waiting[caller] -= 1
        assert all(had[caller] <= had[other] + 1 for other, left in waiting.items() if left)


@given(CALLERS, st.integers(0, 4))
def test_what_is_ahead_is_what_is_taken_before(callers, caller):
    queue: FairQueue[int] = FairQueue()
    for other in callers:
        queue.put(other, 0)
    ahead = queue.ahead_of(caller)
    queue.put(caller, 1)
    assert next(i for i in range(len(queue)) if queue.take() == 1) == ahead


def test_items_leave_out_of_turn():
    queue: FairQueue[str] = FairQueue()
    for item in "abc":
        queue.put("x", item)
    queue.put("y", "d")
    assert queue.remove("x", "b")
    assert not queue.remove("x", "b")
    assert not queue.remove("z", "b")
    assert (queue.longest(), queue.last_of("x"), len(queue)) == ("x", "c", 3)
    assert [queue.take() for _ in range(3)] == ["a", "d", "c"]
    with pytest.raises(IndexError):
        queue.take()
    with pytest.raises(IndexError):
        queue.longest()


class Network:
    """Doubles numbers; remembers its batches, and can be held still.

    Attributes:
        batches: what was run together.
        alone: of each of them, whether nothing else ran.
        go: cleared, a run waits for it.
        begun: released once a run.
    """

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.alone: list[bool] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)

    def __call__(self, items: list[int], alone: bool) -> list[int]:
        self.batches.append(items)
        self.alone.append(alone)
        self.begun.release()
        assert self.go.wait(20)
        if 13 in items:
            raise ArithmeticError("thirteen")
        return [2 * item for item in items]


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def runners():
    runners = Runners(1)
    yield runners
    runners.close()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as pool:
        yield pool


def held(lane, network, pool, *submissions):
    """Submit while the network is held still by another submission; gives the futures of both."""
    network.go.clear()
    first = pool.submit(lane.submit, [0], Ticket("first"))
    assert network.begun.acquire(timeout=20)
    futures = []
    for caller, items in submissions:
        before = len(lane.waiting)
        futures.append(pool.submit(lane.submit, items, Ticket(caller)))
        while len(lane.waiting) != before + len(items):
            time.sleep(0.001)
    return first, futures


def test_what_waits_shares_a_batch_in_turns(network, runners, pool):
    lane = Lane(runners, network, most=4)
    first, futures = held(lane, network, pool, ("many", [1, 2, 3, 4, 5, 6]), ("one", [7]), ("two", [8, 9]))
    network.go.set()
    assert first.result(20) == [0]
    assert [f.result(20) for f in futures] == [[2, 4, 6, 8, 10, 12], [14], [16, 18]]
    assert network.batches == [[0], [1, 7, 8, 2], [9, 3, 4, 5], [6]]


def test_free_threads_share_what_waits_and_one_item_has_them_all(network, pool):
    runners = Runners(2)
    lane = Lane(runners, network, most=8)
    first, (many,) = held(lane, network, pool, ("many", [1, 2, 3, 4, 5]))
    time.sleep(0.02)
    assert network.batches == [[0]]  # the other thread waits for what runs alone
    network.go.set()
    assert (first.result(20), many.result(20)) == ([0], [2, 4, 6, 8, 10])
    assert network.batches[1] == [1, 2, 3]  # half of it; the rest is the other thread's, if this one is not done before
    assert lane.submit([6], Ticket("later")) == [12]
    assert (network.alone[0], network.alone[1], network.alone[-1]) == (True, False, True)
    runners.close()


def test_a_network_that_does_not_take_all_processors_keeps_nobody_waiting(pool):
    runners, together = Runners(2), threading.Barrier(2, timeout=20)

    def meet(items: list[int], alone: bool) -> list[bool]:
        together.wait()
        return [alone for _ in items]

    lane = Lane(runners, meet, most=1, alone=False)
    futures = [pool.submit(lane.submit, [1], Ticket(caller)) for caller in "xy"]
    assert [future.result(20) for future in futures] == [[False], [False]]
    runners.close()


def test_what_runs_beside_another_batch_is_not_alone(network, pool):
    runners, together = Runners(2), threading.Barrier(2, timeout=20)

    def meet(items: list[int], alone: bool) -> list[bool]:
        together.wait()  # both run, or neither gets past
        return [alone for _ in items]

    lane, one, other = (Lane(runners, run, most=8) for run in (network, meet, meet))
    first, _ = held(lane, network, pool)
    beside = [pool.submit(of.submit, [1], Ticket("x")) for of in (one, other)]
    while not (one.waiting and other.waiting):
        time.sleep(0.001)
    network.go.set()
    assert (first.result(20), [f.result(20) for f in beside]) == ([0], [[False], [False]])
    runners.close()


def test_what_has_come_while_another_ran_keeps_to_its_share(network, pool):
    runners = Runners(2)
    lane = Lane(runners, network, most=8)
    first, (second,) = held(lane, network, pool, ("second", [1]))
    network.go.set()
    assert (first.result(20), second.result(20)) == ([0], [2])
    for number in (3, 4):  # of one caller, each after the answer to the last
        assert lane.submit([number], Ticket("later")) == [2 * number]
    assert network.alone == [True, False, True, True]
    runners.close()


def test_lanes_take_turns(network, runners, pool):
    lane, other_network = Lane(runners, network, most=1), Network()
    other = Lane(runners, other_network, most=1)
    order = []
    network_run, other_run = lane.run, other.run
    lane.run = lambda *batch: (order.append("a"), network_run(*batch))[1]
    other.run = lambda *batch: (order.append("b"), other_run(*batch))[1]
    _, _ = held(lane, network, pool, ("x", [1, 2, 3]))
    future = pool.submit(other.submit, [4, 5], Ticket("y"))
    while len(other.waiting) != 2:
        time.sleep(0.001)
    network.go.set()
    assert future.result(20) == [8, 10]
    assert "".join(order)[:5] in {"aabab", "aabaab"[:5]}


def test_nothing_is_run_for_who_left(network, runners, pool):
    lane = Lane(runners, network, most=4)
    network.go.clear()
    first = pool.submit(lane.submit, [0], Ticket("first"))
    assert network.begun.acquire(timeout=20)
    leaver = Ticket("leaver")
    left = pool.submit(lane.submit, [1], leaver)
    late = pool.submit(lane.submit, [2], Ticket("late", deadline=time.monotonic() + 0.01))
    stays = pool.submit(lane.submit, [3], Ticket("stays"))
    while len(lane.waiting) < 3:
        time.sleep(0.001)
    leaver.leave()
    with pytest.raises(Expired):
        left.result(20)  # at once, though the network still runs
    with pytest.raises(Expired):
        late.result(20)
    network.go.set()
    assert (first.result(20), stays.result(20)) == ([0], [6])
    assert network.batches == [[0], [3]]


def test_a_failure_is_told_to_all_of_its_batch_and_to_no_other(network, runners, pool):
    lane = Lane(runners, network, most=2)
    _, futures = held(lane, network, pool, ("a", [13]), ("b", [1]), ("c", [2]))
    network.go.set()
    for future in futures[:2]:
        with pytest.raises(ArithmeticError):
            future.result(20)
    assert futures[2].result(20) == [4]


def test_a_delay_lets_a_batch_fill(network, runners, pool):
    lane = Lane(runners, network, most=3, delay=60.0)
    futures = [pool.submit(lane.submit, [i], Ticket(i)) for i in range(3)]  # the third fills it: nobody waits a minute
    assert sorted(f.result(20)[0] for f in futures) == [0, 2, 4]
    assert [len(batch) for batch in network.batches] == [3]
    short = Lane(runners, network, most=3, delay=0.01)
    assert short.submit([5], Ticket("alone")) == [10]  # and nobody waits for ever


def test_nothing_begins_alone_while_something_is_about_to_come(network):
    runners = Runners(2)
    lane, late = Lane(runners, network, most=8), Ticket("late")
    with runners.expecting(late):
        assert lane.submit([1], Ticket("early")) == [2]
        assert lane.submit([2], late) == [4]  # it has come
        assert lane.submit([3], Ticket("early")) == [6]
    with runners.expecting(late):  # and comes to nothing
        pass
    lane.submit([4], Ticket("early"))
    assert network.alone == [False, True, True, True]
    runners.close()


def test_closing_fails_what_waits(network, pool):
    runners = Runners(1)
    lane = Lane(runners, network, most=1)
    first, (second,) = held(lane, network, pool, ("x", [1]))
    closing = pool.submit(runners.close)
    with pytest.raises(Closed):
        second.result(20)
    network.go.set()
    closing.result(20)
    assert first.result(20) == [0]
    with pytest.raises(Closed):
        lane.submit([1], Ticket("x"))


def test_a_lane_needs_room(runners, network):
    with pytest.raises(ValueError, match="most"):
        Lane(runners, network, most=0)


class Busy:
    """A pipeline of one worker that is held still; `order` is what was done."""

    def __init__(self, queue: int) -> None:
        self.pipeline = Pipeline(1, queue)
        self.go, self.begun = threading.Event(), threading.Event()
        self.order: list[str] = []

    def hold(self, _: Ticket) -> None:
        self.begun.set()
        assert self.go.wait(20)

    def add(self, caller: str, **options) -> asyncio.Task[None]:
        return asyncio.create_task(self.pipeline.run(lambda _: self.order.append(caller), caller, **options))

    async def begin(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self.pipeline.run(self.hold, "holder"))
        await asyncio.to_thread(self.begun.wait, 20)
        return task


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again():
    async def go() -> None:
        busy = Busy(2)
        for _ in range(3):
            await busy.pipeline.run(lambda _: time.sleep(0.05), "before")
        await busy.begin()
        waiting = [busy.add("a"), busy.add("a")]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="full") as caught:
            await busy.add("a")
        assert 0.1 <= caught.value.retry_s < 2  # two that take 0.05 s each come first
        busy.go.set()
        await asyncio.gather(*waiting)
        await busy.add("a")
        busy.pipeline.close()

    asyncio.run(go())


def test_the_greediest_caller_makes_room_for_others_but_a_stream_does_not():
    async def go() -> None:
        busy = Busy(3)
        await busy.begin()
        greedy = [busy.add("greedy") for _ in range(3)]
        await asyncio.sleep(0)
        modest = busy.add("modest")
        with pytest.raises(Overloaded):
            await greedy[2]
        streamed = [busy.add("stream", bounded=False) for _ in range(9)]  # let in, whatever waits
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await busy.add("modest")  # the longest line is a stream's
        busy.go.set()
        await asyncio.gather(*greedy[:2], modest, *streamed)
        assert busy.order[:3] == ["greedy", "modest", "stream"]
        busy.pipeline.close()

    asyncio.run(go())


def test_who_would_wait_in_vain_is_told_so_and_who_left_takes_up_no_room():
    async def go() -> None:
        busy = Busy(2)
        await busy.pipeline.run(lambda _: time.sleep(0.2), "before")
        holder = await busy.begin()
        kept = busy.add("kept")
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="deadline"):  # another 0.2 s or so come first
            await busy.add("kept", deadline=time.monotonic() + 0.1)
        leaver = busy.add("leaver")
        await asyncio.sleep(0)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        another = busy.add("another")
        busy.go.set()
        await asyncio.gather(holder, kept, another)
        assert sorted(busy.order) == ["another", "kept"]
        with pytest.raises(Expired):
            await busy.add("late", deadline=time.monotonic())
        busy.pipeline.close()

    asyncio.run(go())


def test_closing_cancels_what_waits():
    async def go() -> None:
        busy = Busy(2)
        holder = await busy.begin()
        waiting = busy.add("waits")
        await asyncio.sleep(0)
        busy.pipeline.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        busy.go.set()
        await holder

    asyncio.run(go())


def test_decoded_pictures_find_room_one_after_another(pool):
    memory, order = PictureMemory(100), []
    first_done, first_in = threading.Event(), threading.Event()

    def hold() -> None:
        with memory.share(Ticket("first")) as reserve:
            reserve(60)
            first_in.set()
            assert first_done.wait(20)
            order.append("first")

    def follow(name: str, pixels: int, **ticket) -> None:
        with memory.share(Ticket(name, **ticket)) as reserve:
            reserve(pixels)
            order.append(name)

    first = pool.submit(hold)
    assert first_in.wait(20)
    follow("small", 40)
    large = pool.submit(follow, "larger than all", 500)
    with pytest.raises(Expired):
        pool.submit(follow, "late", 50, deadline=time.monotonic() + 0.01).result(20)
    first_done.set()
    first.result(20)
    large.result(20)
    assert order == ["small", "first", "larger than all"]
