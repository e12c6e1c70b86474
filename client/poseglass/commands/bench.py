"""`poseglass bench`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from poseglass import checks
from poseglass.bench.arrivals import ARRIVALS, MOST
from poseglass.bench.messages import build
from poseglass.bench.mix import DEFAULT, kinds_of
from poseglass.bench.plot import SUFFIXES, write_plot
from poseglass.bench.run import Plan, run, step_name
from poseglass.bench.steps import Load, Timing
from poseglass.bench.usage import Gauge
from poseglass.cli import FAILED, complain
from poseglass.commands.benchtables import print_document
from poseglass.commands.connection import Connection, Without
from poseglass.commands.console import Meter, stdout
from poseglass.commands.files import output_folder
from poseglass.commands.finding import find_pictures
from poseglass.commands.questions import check_sought, parse_locate
from poseglass.errors import InvalidRequest
from poseglass.exchange import DEFAULT_ADDRESS, DEFAULT_IN_FLIGHT
from poseglass.options import PredictOptions, checked
from poseglass.pictures import write_file

MOST_AT_ONCE = 10_000
"""Callers, or pictures on their way over streams."""


def bench(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The server.")] = DEFAULT_ADDRESS,  # noqa: ARG001 (the connection has it)
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="R[,R...]", help="Requests a second that wait for no answer; several: one step each."),
    ] = None,
    callers: Annotated[
        list[str] | None, typer.Option(metavar="N[,N...]", help="Callers, each sending its next when answered.")
    ] = None,
    streams: Annotated[
        list[str] | None, typer.Option(metavar="N[,N...]", help="The same through streams, with --in-flight each.")
    ] = None,
    in_flight: Annotated[
        int | None, typer.Option(metavar="K", help=f"Unanswered pictures of a stream; default {DEFAULT_IN_FLIGHT}.")
    ] = None,
    arrivals: Annotated[
        str | None, typer.Option(metavar="|".join(ARRIVALS), help="When requests of a --rate come; default poisson.")
    ] = None,
    duration: Annotated[float, typer.Option(metavar="SECONDS", help="Measured time of a step.")] = 10.0,
    warmup: Annotated[float, typer.Option(metavar="SECONDS", help="Load before it that does not count.")] = 2.0,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="A request's deadline.")] = 2.0,
    picture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT:WxH[=WEIGHT]",
            help=f"Made here: raw, gray, jpeg, png, webp; repeatable. Default {DEFAULT} where there are no --images.",
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH[=WEIGHT]", help="Files, folders, quoted globs, sent as they are; repeatable."),
    ] = None,
    boxes: Annotated[
        int, typer.Option(metavar="N", help="People given a picture; 1: all of it; 0: the server finds them.")
    ] = 1,
    locate: Annotated[
        str, typer.Option(metavar="auto|whole|detect", help="How it finds them, with --boxes 0.")
    ] = "auto",
    model: Annotated[str, typer.Option(metavar="NAME", help="The server's name for it; default its own.")] = "",
    version: Annotated[int, typer.Option(metavar="N", help="Of the model; 0: the newest.")] = 0,
    detector: Annotated[str, typer.Option(metavar="NAME", help="What finds people; default the server's.")] = "",
    heatmaps: Annotated[
        str | None, typer.Option(metavar="float16|float32|uint8", help="Ask for heatmaps too, sent like this.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture.")] = False,
    connections: Annotated[int, typer.Option(metavar="N", help="Connections that share the load.")] = 1,
    server_pid: Annotated[
        int | None, typer.Option(metavar="PID", help="The server's process on this machine: report what it costs.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides arrivals, pictures and boxes.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the JSON document.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg|png", help="Draw latency and goodput.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON document.")] = False,
    *,
    connection: Annotated[Connection, Without("retries")],
) -> None:
    """Put a server under load and measure it: latency from when a request was due, throughput, goodput, codes.

    Nothing is tried again. Ctrl-C ends it, and what was measured is reported. Exit code 1 where nothing was answered or
    the run was cut short, 2 where the question was wrong.
    """
    loads = loads_of({"rate": rate, "callers": callers, "streams": streams})
    kind = loads[0].kind
    _belongs("--arrivals", arrivals, kind, "rate")
    _belongs("--in-flight", in_flight, kind, "streams")
    timing = _timing(loads, duration, warmup, timeout, arrivals or ARRIVALS[0], in_flight, seed)
    checks.whole("--connections", connections, 1, 1000, "a whole number from 1 to 1000")
    people = checks.whole("--boxes", boxes, 0, 1000, "a whole number from 0 to 1000")
    options = _options(locate, detector, model, version, heatmaps, flip)
    if people:
        check_sought({"--detector": detector, "--locate": locate}, "pictures are sent with boxes: add --boxes 0")
    _check_file("--out", out, (".json",))
    _check_file("--plot", plot, SUFFIXES)
    gauge = Gauge(server_pid)
    exchange = connection.exchange(timeout=timeout)
    with connection.client() as client:
        info = client.model(model, version)  # before pictures are made: is it there at all?
    rng = np.random.default_rng((seed, 0))
    kinds = kinds_of(picture or (), images or (), find_pictures, people > 0, rng)
    messages = build(kinds, options, people, rng, exchange.max_message_mb, timeout if kind == "streams" else None)
    plan = Plan(loads, timing, messages, connections, dict(options), people)
    with Meter(math.ceil(len(loads) * (warmup + duration)), "seconds of load") as meter:
        document = run(exchange, plan, info, gauge, meter.advance)
    _report(document, out, plot, as_json)


def _report(document: dict[str, Any], out: Path | None, plot: Path | None, as_json: bool) -> None:
    """Say and write what was measured.

    Raises:
        typer.Exit: the run was cut short, or nothing was answered.
    """
    text = json.dumps(document, indent=2)
    if out is not None:
        write_file(out, f"{text}\n".encode())
    if plot is not None and document["steps"]:
        write_plot(document, plot)
    if as_json:
        typer.echo(text)
    elif document["steps"]:
        print_document(stdout(), document)
    for line in document["warnings"]:
        complain(line)
    if document["interrupted"]:
        done = [f"{step_name(step['load'])} for {step['window_s']:.1f} s" for step in document["steps"]]
        complain(f"interrupted; measured: {', '.join(done) or 'nothing'}")
    if document["interrupted"] or not any("OK" in step["codes"] for step in document["steps"]):
        raise typer.Exit(FAILED)


def loads_of(given: dict[str, list[str] | None]) -> tuple[Load, ...]:
    """The steps that were asked for.

    Args:
        given: option's name -> its values, each one or several numbers with commas between.

    Raises:
        InvalidRequest: none, or two kinds of load at once, or no usable number.
    """
    wanted = {kind: values for kind, values in given.items() if values}
    if len(wanted) != 1:
        raise InvalidRequest(
            "--rate", "say one kind of load: --rate 50 (requests a second), --callers 8, or --streams 2 --in-flight 8"
        )
    ((kind, values),) = wanted.items()
    return tuple(_load(kind, part) for value in values for part in value.split(","))


def _load(kind: str, text: str) -> Load:
    whole = kind != "rate"
    meaning = f"a whole number from 1 to {MOST_AT_ONCE:,}" if whole else "a number of requests a second, above 0"
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 < amount <= (MOST_AT_ONCE if whole else MOST) or (whole and amount % 1):
        raise InvalidRequest(f"--{kind}", f"must be {meaning}, or several with commas between, not {text.strip()!r}")
    return Load(kind, amount)


def _belongs(option: str, value: object, kind: str, other: str) -> None:
    if value is not None and kind != other:
        raise InvalidRequest(option, f"is about --{other}: leave it out, or use --{other}")


def _check_file(option: str, path: Path | None, suffixes: Sequence[str]) -> None:
    """Make sure, before anything is measured, that a file can be written; its folder is made.

    Raises:
        InvalidRequest: it cannot.
    """
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise InvalidRequest(option, f"{path}: the name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise InvalidRequest(option, f"{path}: is a folder; give the name of a file")
    output_folder(path.resolve().parent)


def _timing(
    loads: Sequence[Load],
    duration: float,
    warmup: float,
    timeout: float,
    arrivals: str,
    in_flight: int | None,
    seed: int,
) -> Timing:
    checks.seconds("--duration", duration)
    checks.seconds("--timeout", timeout)
    if warmup:
        checks.seconds("--warmup", warmup)
    if arrivals not in ARRIVALS:
        raise InvalidRequest("--arrivals", f"must be one of {', '.join(ARRIVALS)}, not {arrivals!r}")
    most = f"a whole number from 1 to {MOST_AT_ONCE:,}"
    flying = DEFAULT_IN_FLIGHT if in_flight is None else checks.whole("--in-flight", in_flight, 1, MOST_AT_ONCE, most)
    checks.whole("--seed", seed, 0, None, "a whole number, 0 or greater")
    if loads[0].kind == "rate" and max(load.amount for load in loads) * (warmup + duration) > MOST:
        raise InvalidRequest("--rate", f"makes more than {MOST:,} requests in a step; take a lower one, or less time")
    return Timing(warmup, duration, timeout, arrivals, flying, seed)


def _options(locate: str, detector: str, model: str, version: int, heatmaps: str | None, flip: bool) -> PredictOptions:
    options = PredictOptions(
        locate=parse_locate(locate).name.lower(),
        detector=detector,
        model=model,
        version=version,
        heatmaps=heatmaps is not None,
        heatmap_type=heatmaps or "float16",
        flip_test=flip,
    )
    try:
        checked(options)
    except InvalidRequest as error:
        raise InvalidRequest(_OPTIONS.get(error.field, error.field), error.reason) from None
    return options


_OPTIONS = {"outputs.heatmap_type": "--heatmaps", "version": "--version"}
"""Fields of the wire contract -> what they are called here."""
