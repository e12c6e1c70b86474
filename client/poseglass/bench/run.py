"""A whole measurement: the question checked against the server, step after step, and the document of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

from poseglass.bench.connections import Connections
from poseglass.bench.figures import step_figures
from poseglass.bench.machine import machine
from poseglass.bench.messages import Messages
from poseglass.bench.records import NOT_SENT, OK
from poseglass.bench.steps import Load, Measured, Timing, run_step
from poseglass.bench.usage import Gauge
from poseglass.convert import ModelInfo
from poseglass.errors import DeadlineExceeded, Overloaded
from poseglass.exchange import DEFAULT_TIMEOUT, Exchange

FORMAT = "poseglass-bench/1"

LATE_MS = 10.0
"""Lateness of the generator (p99) from which on the figures are its own, and not the server's."""

BUSY = 0.9
"""Of one processor: more than that, and the generator cannot send faster."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        loads: the steps, in their order.
        timing: of each.
        messages: what is sent.
        connections: how many.
        options: about every picture, for the document.
        people: boxes a picture, for the document.
    """

    loads: tuple[Load, ...]
    timing: Timing
    messages: Messages
    connections: int
    options: dict[str, Any]
    people: int


def run(
    exchange: Exchange, plan: Plan, model: ModelInfo, gauge: Gauge, tick: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Measure; Ctrl-C ends it, and what was measured so far is kept.

    Args:
        exchange: settings of the connection.
        plan: what is to be measured.
        model: as the server describes it.
        gauge: looks at the processes.
        tick: called once a second.

    Returns:
        The document, as `docs/bench.md` describes it.

    Raises:
        PoseglassError: the server does not answer the first picture of each kind, for a reason that is not its load.
    """
    about = {"format": FORMAT, "started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    measured, interrupted = asyncio.run(_run(exchange, plan, gauge, tick))
    names = [kind.name for kind in plan.messages.kinds]
    steps = [step_figures(step, names, plan.timing.timeout) for step in measured]
    answered = [origin for step in steps for origin in step["models"]]
    return {
        **about,
        "server": {
            "address": exchange.address,
            "model": {"name": model.ref.name, "version": model.ref.version, "sha256": model.ref.sha256},
            "provider": answered[0]["provider"] if answered else None,
        },
        "settings": settings_of(plan),
        "interrupted": interrupted,
        "warnings": [line for step in steps for line in warnings_of(step)],
        "steps": steps,
    }


async def _run(exchange: Exchange, plan: Plan, gauge: Gauge, tick: Callable[[], None]) -> tuple[list[Measured], bool]:
    measured: list[Measured] = []
    async with Connections(exchange, plan.connections) as connections:
        await _try_out(connections, plan)
        with interruptible() as stop:
            for number, load in enumerate(plan.loads):
                step = await run_step(connections, load, plan.messages, plan.timing, gauge, number, stop, tick)
                if step.window > 0:
                    measured.append(step)
                if stop.is_set():
                    break
    return measured, stop.is_set()


async def _try_out(connections: Connections, plan: Plan) -> None:
    """Ask once for each kind of picture, and over each connection: what is wrong with the question shows here.

    Raises:
        PoseglassError: it is wrong, or nobody answers. A server that has too much to do already is no error.
    """
    firsts = plan.messages.firsts()
    for message in islice(cycle(firsts), max(len(firsts), plan.connections)):
        try:
            await connections.check(message.data, DEFAULT_TIMEOUT)
        except (Overloaded, DeadlineExceeded):
            continue


@contextmanager
def interruptible() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C sets instead of what it does else; where signals cannot be had, it does what it does."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    except (NotImplementedError, RuntimeError, ValueError):
        yield stop
        return
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def settings_of(plan: Plan) -> dict[str, Any]:
    """What was asked for, as plain values."""
    timing, messages = plan.timing, plan.messages
    sizes = [[len(m.data) for m in messages.messages if m.kind == i] for i in range(len(messages.kinds))]
    total = sum(kind.weight for kind in messages.kinds)
    kind = plan.loads[0].kind
    return {
        "mode": kind,
        "arrivals": timing.arrivals if kind == "rate" else None,
        "in_flight": timing.in_flight if kind == "streams" else None,
        "seed": timing.seed,
        "duration_s": timing.duration,
        "warmup_s": timing.warmup,
        "timeout_s": timing.timeout,
        "connections": plan.connections,
        "boxes": plan.people,
        "pictures": {
            kind.name: {
                "share": round(kind.weight / total, 4),
                "different": len(kind.pictures),
                "mean_bytes": round(sum(sizes[i]) / len(sizes[i])),
            }
            for i, kind in enumerate(messages.kinds)
        },
        "options": plan.options,
    }


def warnings_of(step: dict[str, Any]) -> list[str]:
    """Where the figures of a step are not the server's."""
    name = step_name(step["load"])
    generator = step["generator"]
    late = generator["lateness_ms"]
    found = []
    if late is not None and late["p99"] > LATE_MS:
        found.append(
            f"{name}: the generator itself was late (p99 {late['p99']:.0f} ms): it, or this machine, was the limit, "
            "not the server alone"
        )
    if missed := step["codes"].get(NOT_SENT):
        found.append(f"{name}: {missed['count']} requests were due and could not be sent at all")
    if (generator["cpu_share"] or 0) > BUSY:
        found.append(
            f"{name}: the generator kept {100 * generator['cpu_share']:.0f} % of a processor busy: it can hardly "
            "send faster"
        )
    if OK not in step["codes"]:
        found.append(f"{name}: no request was answered")
    return found


def step_name(load: dict[str, float]) -> str:
    """A load for people."""
    ((kind, amount),) = load.items()
    if kind == "rate":
        return f"{amount:g}/s"
    return f"{amount:g} {kind if amount != 1 else kind[:-1]}"
