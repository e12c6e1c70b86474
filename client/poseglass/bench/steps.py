"""One step of a measurement: a load, put on a server for a while, and what was seen of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np

from poseglass.bench.arrivals import ARRIVALS, arrivals
from poseglass.bench.connections import Connections
from poseglass.bench.loads import callers, open_loop
from poseglass.bench.messages import Messages
from poseglass.bench.records import Records, Table
from poseglass.bench.streams import StreamCount, streams
from poseglass.bench.usage import Gauge, Sample
from poseglass.exchange import DEFAULT_IN_FLIGHT

DRAWN = 1 << 14
"""Messages drawn for callers and streams, who send them over and over."""

_SOON = 0.05
"""Seconds before the first request, in which everything is made ready."""


@dataclass(frozen=True)
class Load:
    """How requests are made.

    Attributes:
        kind: "rate", "callers" or "streams".
        amount: requests a second, callers, or streams.
    """

    kind: str
    amount: float


@dataclass(frozen=True)
class Timing:
    """How long, and how fast.

    Attributes:
        warmup: seconds under load before anything counts.
        duration: seconds that count.
        timeout: seconds that a request may take.
        arrivals: "poisson" or "uniform"; of a rate.
        in_flight: pictures on their way, of each stream.
        seed: decides the schedule and which picture comes when.
    """

    warmup: float
    duration: float
    timeout: float
    arrivals: str = ARRIVALS[0]
    in_flight: int = DEFAULT_IN_FLIGHT
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """A step as it went.

    Attributes:
        load: what was put on the server.
        window: seconds that count; fewer than asked for where the run was interrupted.
        table: every request, those of the warm-up (due before 0) too.
        samples: of the processes, the first where the window begins and the last where it ends.
        streams: None where there were none.
    """

    load: Load
    window: float
    table: Table
    samples: tuple[Sample, ...]
    streams: StreamCount | None


async def run_step(
    connections: Connections,
    load: Load,
    messages: Messages,
    timing: Timing,
    gauge: Gauge,
    number: int,
    stop: asyncio.Event,
    tick: Callable[[], None] = lambda: None,
) -> Measured:
    """Put a load on the server and wait for the last answer.

    Args:
        connections: to the server.
        load: of this step.
        messages: what may be sent.
        timing: of every step.
        gauge: looks at the processes.
        number: of the step; with the seed it decides what is drawn.
        stop: when it is set, the step is over at once.
        tick: called once a second.
    """
    loop = asyncio.get_running_loop()
    work_from = _prepared(connections, load, messages, timing, np.random.default_rng((timing.seed, number)))
    begin = loop.time() + _SOON
    opens = begin + timing.warmup
    records, samples = Records(opens), list[Sample]()
    work = asyncio.create_task(work_from(begin, records))
    watch = asyncio.create_task(_watch(gauge, opens, opens + timing.duration, samples))
    both: asyncio.Future[Any] = asyncio.gather(work, watch)
    stopped: asyncio.Future[Any] = asyncio.create_task(stop.wait())
    tasks = (work, watch, both, stopped, asyncio.create_task(_tick(tick)))
    try:
        await asyncio.wait({both, stopped}, return_when=asyncio.FIRST_COMPLETED)
        counted = work.result() if work.done() else None
        window = timing.duration
        if not watch.done():
            samples += [gauge.sample(loop.time())] if samples else []
            window = min(samples[-1].at - opens, window) if samples else 0.0
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Measured(load, window, records.table(), tuple(samples), counted)


def _prepared(
    connections: Connections, load: Load, messages: Messages, timing: Timing, rng: np.random.Generator
) -> Callable[[float, Records], Coroutine[Any, Any, StreamCount | None]]:
    """The work, drawn beforehand; it begins at a time of the event loop's clock."""
    span = timing.warmup + timing.duration
    schedule = arrivals(timing.arrivals, load.amount, span, rng).tolist() if load.kind == "rate" else []
    drawn = messages.draw(len(schedule) or DRAWN, rng)

    async def work(begin: float, records: Records) -> StreamCount | None:
        if load.kind == "rate":
            await open_loop(connections.ask, drawn[: len(schedule)], schedule, begin, timing.timeout, records)
            return None
        endless, count, end = itertools.cycle(drawn), int(load.amount), begin + span
        if load.kind == "callers":
            await callers(connections.ask, endless, count, begin, end, timing.timeout, records)
            return None
        return await streams(connections, endless, count, timing.in_flight, begin, end, timing.timeout, records)

    return work


async def _watch(gauge: Gauge, opens: float, closes: float, samples: list[Sample]) -> None:
    """A sample at both ends of the window, and one a second between them."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(opens - loop.time())
    samples.append(gauge.sample(loop.time()))
    while (left := closes - loop.time()) > 0:
        await asyncio.sleep(min(left, 1.0))
        samples.append(gauge.sample(loop.time()))


async def _tick(tick: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(1)
        tick()
