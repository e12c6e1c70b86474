"""Callers of another project's server, in a process of their own: what `poseglass bench --callers` is for ours.

    python benchmarks/peer_load.py --server 127.0.0.1:8000 --protocol http --callers 1,16 --server-pid 4711

Pictures, callers, clock and figures are those of `poseglass bench`; only what goes over the wire differs. Prints JSON:
`steps` as `poseglass bench --json` has them, and `answer`: the joints and scores of the first picture.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, cast

import numpy as np
import typer

from peers.connections import Connections, HttpConnections, OipConnections
from poseglass.bench import connections as bench
from poseglass.bench.figures import step_figures
from poseglass.bench.messages import Message, Messages, boxes_in
from poseglass.bench.mix import Kind, kinds_of
from poseglass.bench.steps import Load, Measured, Timing, run_step
from poseglass.bench.usage import Gauge
from poseglass.errors import PoseglassError

PROTOCOLS: dict[str, Callable[[str], Connections]] = {"http": HttpConnections, "oip": OipConnections}


def kind_of(picture: str) -> Kind:
    """The pictures that `poseglass bench --picture` sends, the same to the byte."""
    (kind,) = kinds_of([picture], (), lambda _: [], measured=True, rng=np.random.default_rng((0, 0)))
    return kind


def messages_of(kind: Kind, connections: Connections) -> Messages:
    """A request for each picture, with the whole picture as its box, as `poseglass bench` gives it.

    Raises:
        typer.BadParameter: the pictures are no files.
    """
    messages = []
    for picture, size in zip(kind.pictures, kind.sizes, strict=True):
        if not isinstance(picture, bytes) or size is None:
            raise typer.BadParameter(
                f"{kind.name} is not sent as a file; use jpeg:WIDTHxHEIGHT", param_hint="--picture"
            )
        (box,) = boxes_in(size, 1, np.random.default_rng(0))
        messages.append(Message(connections.message(picture, (box.x, box.y, box.width, box.height)), 0))
    return Messages((kind,), tuple(messages), np.full(len(messages), 1 / len(messages)))


async def level(connections: Connections, messages: Messages, count: int, timing: Timing, gauge: Gauge) -> Measured:
    """Keep so many callers busy: a step of `poseglass bench`, over other connections."""
    ours = cast("bench.Connections", connections)  # of which callers only `ask`
    return await run_step(ours, Load("callers", count), messages, timing, gauge, count, asyncio.Event())


async def measure(address: str, protocol: str, counts: list[int], picture: str, timing: Timing, pid: int) -> Any:
    """All levels, one after another."""
    gauge = Gauge(pid)
    connections = PROTOCOLS[protocol](address)
    messages = messages_of(kind_of(picture), connections)
    try:
        first = await connections.joints(messages.messages[0].data, timing.timeout)
        steps = [
            step_figures(await level(connections, messages, count, timing, gauge), [picture], timing.timeout)
            for count in counts
        ]
    finally:
        await connections.close()
    return {"steps": steps, "answer": {"joints": first.joints.tolist(), "scores": first.scores.tolist()}}


def main(
    server: Annotated[str, typer.Option(metavar="HOST:PORT")],
    server_pid: Annotated[int, typer.Option(metavar="PID", help="Its costs, and its children's, are measured.")],
    protocol: Annotated[str, typer.Option(metavar="|".join(PROTOCOLS))] = "http",
    callers: Annotated[str, typer.Option(metavar="N[,N...]")] = "1,4,16,64",
    picture: Annotated[str, typer.Option(help="As of `poseglass bench`; files only.")] = "jpeg:640x480",
    duration: Annotated[float, typer.Option(metavar="SECONDS")] = 10.0,
    warmup: Annotated[float, typer.Option(metavar="SECONDS")] = 2.0,
    timeout: Annotated[float, typer.Option(metavar="SECONDS")] = 30.0,
) -> None:
    """Put a server under load, and print what it did."""
    counts = [int(count) for count in callers.split(",")]
    timing = Timing(warmup, duration, timeout)
    try:
        document = asyncio.run(measure(server, protocol, counts, picture, timing, server_pid))
    except (OSError, RuntimeError, PoseglassError) as error:
        typer.echo(f"no answer from {server}: {error or type(error).__name__}", err=True)
        raise typer.Exit(2) from None
    print(json.dumps(document))


if __name__ == "__main__":
    typer.run(main)
