"""What open and closed loops send, and when; in virtual time, so that every number is exact."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from poseglass.bench import loads
from poseglass.bench.loads import callers, open_loop
from poseglass.bench.messages import Message
from poseglass.bench.records import Answer, Records
from poseglass.bench.steps import Load, Timing, run_step
from poseglass.bench.usage import Gauge

MESSAGE = Message(b"0123456789", 0)


def clock():
    return asyncio.get_running_loop()


class Server:
    """Answers after `service` seconds, but to nobody from `stalls` to `wakes`."""

    def __init__(self, service=0.01, stalls=1e9, wakes=1e9, code="OK"):
        self.service, self.stalls, self.wakes, self.code = service, stalls, wakes, code
        self.under_way = self.most = 0
        self.asked: list[tuple[float, float]] = []

    async def ask(self, data, seconds):
        now = clock().time()
        self.asked.append((now, seconds))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            until = self.wakes if self.stalls <= now < self.wakes else now
            await asyncio.sleep(until - now + self.service)
        finally:
            self.under_way -= 1
        return Answer(self.code)


def run_open(virtual, ask, schedule, timeout=10.0):
    async def run():
        records = Records(0.0)
        await open_loop(ask, [MESSAGE] * len(schedule), schedule, 0.0, timeout, records)
        return records.table()

    return virtual(run())


def test_a_stall_does_not_hold_arrivals_up_and_is_counted_for_each(virtual):
    server = Server(stalls=0.5, wakes=1.5)
    schedule = [i / 10 for i in range(20)]
    table = run_open(virtual, server.ask, schedule)
    assert [at for at, _ in server.asked] == pytest.approx(schedule)
    waits = {round(at, 6): done - at for at, done in zip(table.at, table.done, strict=True)}
    for at in schedule:
        wanted = 1.5 - at + 0.01 if 0.5 <= at < 1.5 else 0.01
        assert waits[round(at, 6)] == pytest.approx(wanted)
    assert server.most == 11  # those of the stall, and the one that is due at its end


def test_a_late_generator_counts_against_the_request(virtual):
    server = Server()

    async def ask(data, seconds):
        if not server.asked:
            clock().now += 0.35  # the process is not let run meanwhile
        return await server.ask(data, seconds)

    table = run_open(virtual, ask, [0.0, 0.1, 0.2, 0.5], timeout=1.0)
    assert (table.sent - table.at).tolist() == pytest.approx([0, 0.25, 0.15, 0])
    assert (table.done - table.at).tolist() == pytest.approx([0.36, 0.26, 0.16, 0.01])
    assert [seconds for _, seconds in server.asked] == pytest.approx([1, 0.75, 0.85, 1])  # what is left of a deadline


def test_what_is_due_too_long_ago_is_not_sent_but_counted(virtual):
    server = Server()

    async def ask(data, seconds):
        if not server.asked:
            clock().now += 0.35
        return await server.ask(data, seconds)

    table = run_open(virtual, ask, [0.0, 0.1, 0.2], timeout=0.2)
    codes = {round(at, 1): table.codes[code] for at, code in zip(table.at, table.code, strict=True)}
    assert codes == {0.0: "OK", 0.1: "NOT_SENT", 0.2: "OK"}
    assert len(server.asked) == 2


def test_memory_bounds_what_is_under_way(virtual, monkeypatch):
    monkeypatch.setattr(loads, "MOST_UNDER_WAY", 2 * len(MESSAGE.data))
    server = Server(service=1.0)
    table = run_open(virtual, server.ask, [0.0, 0.1, 0.2, 1.05])
    assert server.most == 2
    assert sorted(table.codes[code] for code in table.code) == ["NOT_SENT", "OK", "OK", "OK"]


def run_callers(virtual, server, count, end):
    async def run():
        records = Records(0.0)
        await callers(server.ask, itertools.repeat(MESSAGE), count, 0.0, end, 10.0, records)
        return records.table()

    return virtual(run())


def test_callers_send_their_next_when_answered(virtual):
    server = Server(service=0.25)
    table = run_callers(virtual, server, 3, 0.9)
    assert server.most == 3
    assert sorted(at for at, _ in server.asked) == pytest.approx([0] * 3 + [0.25] * 3 + [0.5] * 3 + [0.75] * 3)
    assert (table.done - table.at).tolist() == pytest.approx([0.25] * 12)


def test_a_caller_does_not_storm_a_server_that_is_away(virtual):
    table = run_callers(virtual, Server(service=0.0, code="UNAVAILABLE"), 1, 0.95)
    assert len(table.at) == 10


def timing(**other):
    return Timing(
        **{"warmup": 0.5, "duration": 2.0, "timeout": 1.0, "arrivals": "uniform", "in_flight": 1, "seed": 0} | other
    )


class Drawing:
    """Messages that are all the same."""

    def draw(self, count, rng):
        return [MESSAGE] * count


def run_one(virtual, server, load, stop_at=None, **other):
    async def run():
        stop = asyncio.Event()
        if stop_at is not None:
            clock().call_at(stop_at, stop.set)
        return await run_step(server, load, Drawing(), timing(**other), Gauge(), 0, stop)

    return virtual(run())


def test_a_step_has_its_warm_up_before_its_window(virtual):
    step = run_one(virtual, Server(), Load("rate", 10))
    assert step.window == 2
    assert step.table.at.tolist() == pytest.approx([i / 10 - 0.5 for i in range(25)])
    assert [sample.at - step.samples[0].at for sample in step.samples] == pytest.approx([0, 1, 2])


def test_a_step_waits_for_the_last_answers(virtual):
    step = run_one(virtual, Server(service=0.9), Load("callers", 2))
    assert set(step.table.codes) == {"OK"}
    assert step.table.done.max() > step.window == 2


@pytest.mark.parametrize("load", [Load("rate", 10), Load("callers", 4)])
def test_an_interrupted_step_keeps_what_it_has(virtual, load):
    step = run_one(virtual, Server(service=0.3), load, stop_at=1.3)
    assert step.window == pytest.approx(1.3 - step.samples[0].at)
    codes = [step.table.codes[code] for code in step.table.code]
    assert codes.count("OK") > 0
    assert codes.count("CANCELLED") == (4 if load.kind == "callers" else 3)
    assert (step.table.at < step.window).all()


def test_a_step_interrupted_in_its_warm_up_has_no_window(virtual):
    assert run_one(virtual, Server(), Load("rate", 10), stop_at=0.3).window == 0


def test_an_interruption_after_the_last_request_ends_the_step_too(virtual):
    assert run_one(virtual, Server(), Load("rate", 0.5), stop_at=1.4).window == pytest.approx(1.4 - 0.55)
