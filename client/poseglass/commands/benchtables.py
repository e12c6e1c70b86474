"""A measurement for people: tables, and a line for each other fact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape

from poseglass.bench.figures import STAGES
from poseglass.bench.records import OK
from poseglass.bench.run import step_name
from poseglass.commands.console import print_table

_LEVELS = ("p50", "p90", "p99", "max")


def print_document(console: Console, document: dict[str, Any]) -> None:
    """Print all that matters of a document of `run`."""
    server, settings = document["server"], document["settings"]
    model = server["model"]
    # Plain ASCII between the facts: not every terminal or pipe can say more.
    console.print(
        f"[bold]{escape(model['name'])}[/bold] version {model['version']} at {escape(server['address'])}, "
        f"{escape(server['provider'] or 'no provider known')}; {escape(_settings(settings))}"
    )
    columns = ("load", "offered", "done", "good", *_LEVELS, "OK", "other")
    rows = [_row(step) for step in document["steps"]]
    print_table(console, columns, rows, "pictures a second; latency of those answered OK, ms")
    timed = [step for step in document["steps"] if step["server_ms"]["total"]]
    if timed:
        stages = [(step_name(step["load"]), *(_pair(step["server_ms"][stage]) for stage in STAGES)) for step in timed]
        print_table(console, ("load", *STAGES), stages, "the server's own milliseconds, p50 / p99")
    for step in document["steps"]:
        for line in _facts(step):
            console.print(f"  {step_name(step['load'])}: {line}", markup=False)


def _settings(settings: dict[str, Any]) -> str:
    pictures = ", ".join(f"{name} {100 * about['share']:.0f} %" for name, about in settings["pictures"].items())
    arrivals = f"{settings['arrivals']} arrivals, " if settings["arrivals"] else ""
    in_flight = f"{settings['in_flight']} in flight, " if settings["in_flight"] else ""
    return (
        f"{pictures}, boxes {settings['boxes']}; {arrivals}{in_flight}{settings['duration_s']:g} s after "
        f"{settings['warmup_s']:g} s of warm-up, deadline {settings['timeout_s']:g} s"
    )


def _row(step: dict[str, Any]) -> tuple[str, ...]:
    latency = step["latency_ms"]
    ok = step["codes"].get(OK, {"count": 0})["count"]
    rates = (step[f"{what}_per_s"] for what in ("offered", "throughput", "goodput"))
    levels = ("" if latency is None else f"{latency[level]:.1f}" for level in _LEVELS)
    return step_name(step["load"]), *(f"{rate:.1f}" for rate in rates), *levels, f"{ok}", f"{step['requests'] - ok}"


def _pair(values: dict[str, float] | None) -> str:
    return "" if values is None else f"{values['p50']:.1f} / {values['p99']:.1f}"


def _facts(step: dict[str, Any]) -> Iterator[str]:
    for code, about in step["codes"].items():
        if code != OK:
            delay = about["retry_delay_ms"]
            wait = f"; to be asked again after {delay['p50']:.0f} ms (median)" if delay else ""
            yield f"{code} {about['count']}, p99 {about['latency_ms']['p99']:.1f} ms{wait}: {about['message']}"
    if (streams := step["streams"]) and streams["broken"]:
        broken = ", ".join(f"{code} {count}" for code, count in streams["broken"].items())
        yield f"{streams['opened']} streams opened, broken: {broken}"
    if len(step["models"]) > 1:
        files = (f"version {model['version']} ({model['sha256'][:8]}) {model['answers']}" for model in step["models"])
        yield f"answers by file: {', '.join(files)}"
    generator = step["generator"]
    if generator["cpu_share"] is not None:
        cost = f"{100 * generator['cpu_share']:.0f} % of a processor"
        each = generator["cpu_ms_per_request"]
        late = generator["lateness_ms"]
        behind = late and f"; late by {late['p50']:.1f} / {late['p99']:.1f} / {late['max']:.1f} ms (p50 / p99 / max)"
        yield f"generator: {cost}{'' if each is None else f', {each:.2f} ms a request'}{behind or ''}"
    if (server := step["server_process"]) is not None:
        memory, each = server["rss_mib"], server["pictures_per_cpu_s"]
        yield (
            f"server process: {100 * server['cpu_share']:.0f} % of a processor, {each or 0:.1f} pictures a "
            f"processor-second, {memory['first']:.0f} -> {memory['last']:.0f} MiB (peak {memory['peak']:.0f})"
        )
