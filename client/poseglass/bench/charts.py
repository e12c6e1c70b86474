"""Line charts with axes, as SVG or PNG: laid out once, then written down as text or drawn with OpenCV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.drawing import Image

WIDTH, HEIGHT = 720, 250
"""Pixels of one panel."""

LEFT, RIGHT, TOP, BOTTOM = 64, 14, 40, 40
"""Margins in it."""

LOG_FROM = 20.0
"""Ratio of the largest to the smallest value from which on the axis of values is logarithmic, where it may be."""

_GREY, _PALE = "#777777", "#e2e2e2"


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: for the legend.
        colour: as "#rrggbb".
        points: [(x, y)], in order; None as y breaks the line.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float | None]]

    def known(self) -> list[tuple[float, float]]:
        """The points without the breaks."""
        return [(x, y) for x, y in self.points if y is not None]


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: above it, with units.
        below: what x is.
        series: the lines.
        may_be_log: values that differ much may stand on a logarithmic axis.
        dots: mark the points.
    """

    title: str
    below: str
    series: Sequence[Series]
    may_be_log: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Stroke:
    """A line on the sheet: pixels, colour, width; `dot`: a filled circle at each point instead."""

    points: Sequence[tuple[float, float]]
    colour: str
    width: float
    dot: bool = False


@dataclass(frozen=True)
class Label:
    """Text on the sheet; `anchor` is what of it stands at x: "start", "middle" or "end"."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    colour: str = "#333333"


Shape = Stroke | Label


def sheet(panels: Sequence[Panel]) -> list[Shape]:
    """Panels under one another, as shapes."""
    return [shape for i, panel in enumerate(panels) for shape in _panel(panel, i * HEIGHT)]


def to_svg(shapes: Sequence[Shape], count: int) -> str:
    """A standalone SVG file.

    Args:
        shapes: of `sheet`.
        count: of panels.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * count}" width="{WIDTH}" '
        f'height="{HEIGHT * count}" font-family="system-ui,sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for shape in shapes:
        if isinstance(shape, Label):
            parts.append(
                f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" text-anchor="{shape.anchor}" fill="{shape.colour}">'
                f"{escape(shape.text)}</text>"
            )
        elif shape.dot:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{shape.colour}"/>' for x, y in shape.points]
        else:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{shape.colour}" stroke-width="{shape.width}"/>'
            )
    return "\n".join([*parts, "</svg>", ""])


def to_pixels(shapes: Sequence[Shape], count: int, scale: int = 2) -> Image:
    """The same as pixels.

    Args:
        shapes: of `sheet`.
        count: of panels.
        scale: pixels of the picture to one of the sheet.

    Returns:
        [height, width, 3] RGB.
    """
    canvas: NDArray[np.uint8] = np.full((HEIGHT * count * scale, WIDTH * scale, 3), 255, np.uint8)
    for shape in shapes:
        colour = tuple(int(shape.colour[i : i + 2], 16) for i in (1, 3, 5))
        if isinstance(shape, Label):
            font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.36 * scale
            width = cv2.getTextSize(shape.text, font, size, 1)[0][0]
            left = shape.x * scale - width * {"start": 0, "middle": 0.5, "end": 1}[shape.anchor]
            cv2.putText(canvas, shape.text, (round(left), round(shape.y * scale)), font, size, colour, 1, cv2.LINE_AA)
            continue
        points = np.rint(np.array(shape.points) * scale).astype(np.int32)
        if shape.dot:
            for x, y in points.tolist():
                cv2.circle(canvas, (x, y), round(2.5 * scale), colour, -1, cv2.LINE_AA)
        else:
            cv2.polylines(canvas, [points], False, colour, max(1, round(shape.width * scale)), cv2.LINE_AA)
    return canvas


@dataclass(frozen=True)
class _Axis:
    """Values to pixels.

    Attributes:
        low, high: values at its ends.
        first, last: pixels of its ends.
        log: it is logarithmic.
    """

    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        return self.first + (at - low) / (high - low) * (self.last - self.first)

    def ticks(self) -> list[float]:
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [step * 10.0**power for power in powers for step in (1, 2, 5)]
        else:
            step = _step((self.high - self.low) / 5)
            found = [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [tick for tick in found if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9)]


def _step(least: float) -> float:
    """1, 2 or 5 times a power of ten, at least so much."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((step * power for step in (1, 2, 5) if step * power >= least * (1 - 1e-9)), 10 * power)


def _axes(panel: Panel, top: float) -> tuple[_Axis, _Axis]:
    points = [point for series in panel.series for point in series.known()] or [(0.0, 0.0), (1.0, 1.0)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    wide, bottom, upper = max(xs) - min(xs), top + HEIGHT - BOTTOM, top + TOP
    across = _Axis(min(xs) - (0 if wide else 0.5), max(xs) + (0 if wide else 0.5), LEFT, WIDTH - RIGHT)
    above = [y for y in ys if y > 0]
    if panel.may_be_log and above and max(ys) > LOG_FROM * min(above):
        return across, _Axis(min(above) / 1.2, max(ys) * 1.2, bottom, upper, log=True)
    return across, _Axis(0, max(ys) * 1.05 or 1, bottom, upper)


def _panel(panel: Panel, top: float) -> list[Shape]:
    across, up = _axes(panel, top)
    shapes: list[Shape] = [Label(LEFT, top + 16, panel.title)]
    for tick in up.ticks():
        shapes.append(Stroke([(LEFT, up(tick)), (WIDTH - RIGHT, up(tick))], _PALE, 1))
        shapes.append(Label(LEFT - 6, up(tick) + 4, f"{tick:g}", "end", _GREY))
    for tick in across.ticks():
        shapes.append(Stroke([(across(tick), up.first), (across(tick), up.first + 4)], _GREY, 1))
        shapes.append(Label(across(tick), up.first + 16, f"{tick:g}", "middle", _GREY))
    shapes.append(Stroke([(LEFT, up.last), (LEFT, up.first), (WIDTH - RIGHT, up.first)], _GREY, 1))
    shapes.append(Label((LEFT + WIDTH - RIGHT) / 2, up.first + 32, panel.below, "middle", _GREY))
    for place, series in enumerate(reversed(panel.series)):
        shapes.append(Label(WIDTH - RIGHT - 84 * place, top + 32, series.name, "end", series.colour))
    for series in panel.series:
        for run in _runs(series):
            pixels = [(across(x), up(y)) for x, y in run]
            if len(pixels) > 1:
                shapes.append(Stroke(pixels, series.colour, 1.5))
            if panel.dots or len(pixels) == 1:
                shapes.append(Stroke(pixels, series.colour, 1, dot=True))
    return shapes


def _runs(series: Series) -> list[list[tuple[float, float]]]:
    """The points between breaks."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in series.points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]
