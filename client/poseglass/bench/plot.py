"""The picture of a measurement: over the steps of a sweep, or over the time of a single step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from poseglass.bench.charts import Panel, Series, sheet, to_pixels, to_svg
from poseglass.pictures import save_picture, write_file

SUFFIXES = (".svg", ".png")

_PERCENTILES = {"p50": "#2b7bba", "p90": "#d98a00", "p99": "#c0392b"}
_OFFERED, _THROUGHPUT, _GOODPUT = "#999999", "#2b7bba", "#2e8b57"
_LOADS = {"rate": "requests a second, as scheduled", "callers": "callers", "streams": "streams"}


def write_plot(document: dict[str, Any], path: Path) -> None:
    """Write the plot of a document, whole or not at all.

    Args:
        document: of `run`, with at least one step.
        path: of an .svg or .png file.

    Raises:
        OSError: it cannot be written.
    """
    panels = panels_of(document)
    shapes = sheet(panels)
    if path.suffix.lower() == ".svg":
        write_file(path, to_svg(shapes, len(panels)).encode())
    else:
        save_picture(path, to_pixels(shapes, len(panels)))


def panels_of(document: dict[str, Any]) -> list[Panel]:
    """The charts of a document: latency above, how much was done below."""
    steps = document["steps"]
    server = f"{document['server']['model']['name']} at {document['server']['address']}"
    return _sweep(steps, server) if len(steps) > 1 else _single(steps[0], server)


def _sweep(steps: list[dict[str, Any]], server: str) -> list[Panel]:
    """Percentiles, throughput and goodput over the load."""
    (kind,) = steps[0]["load"]
    ordered = sorted(steps, key=lambda step: float(step["load"][kind]))
    loads = [float(step["load"][kind]) for step in ordered]
    latency = [
        Series(
            name, colour, [(x, s["latency_ms"] and s["latency_ms"][name]) for x, s in zip(loads, ordered, strict=True)]
        )
        for name, colour in _PERCENTILES.items()
    ]
    done = [
        Series(name, colour, [(x, s[f"{name}_per_s"]) for x, s in zip(loads, ordered, strict=True)])
        for name, colour in (("offered", _OFFERED), ("throughput", _THROUGHPUT), ("goodput", _GOODPUT))
    ]
    return [
        Panel(f"latency of answers, ms: {server}", _LOADS[kind], latency, may_be_log=True, dots=True),
        Panel("pictures a second", _LOADS[kind], done if kind == "rate" else done[1:], dots=True),
    ]


def _single(step: dict[str, Any], server: str) -> list[Panel]:
    """Percentiles and answers over the window's time."""
    times = step["over_time"]
    below = "seconds, by when the request was due"

    def series(key: str, name: str, colour: str) -> Series:
        return Series(name, colour, list(zip(times["second"], times[key], strict=True)))

    latency = [series(f"{name}_ms", name, colour) for name, colour in _PERCENTILES.items()]
    done = [series("requests_per_s", "requests", _OFFERED), series("ok_per_s", "OK", _GOODPUT)]
    return [
        Panel(f"latency of answers, ms: {server}", below, latency, may_be_log=True),
        Panel("requests a second, and those of them answered OK", below, done),
    ]
