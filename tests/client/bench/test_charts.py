"""Plots: SVG that parses, PNG that can be read, axes that hold the data."""

from __future__ import annotations

from xml.etree import ElementTree

import cv2
import pytest

from poseglass.bench.charts import HEIGHT, WIDTH, Label, Panel, Series, Stroke, sheet, to_pixels, to_svg

STEEP = Series("p99", "#c0392b", [(1, 2.0), (2, 40.0), (3, None), (4, 900.0)])


def texts(shapes):
    return [shape.text for shape in shapes if isinstance(shape, Label)]


@pytest.mark.parametrize("log", [True, False])
def test_everything_drawn_lies_on_the_sheet(log):
    shapes = sheet([Panel("a", "b", [STEEP], may_be_log=log, dots=True)] * 2)
    points = [point for shape in shapes if isinstance(shape, Stroke) for point in shape.points]
    assert all(0 <= x <= WIDTH and 0 <= y <= 2 * HEIGHT for x, y in points)


def test_values_that_differ_much_stand_on_a_logarithmic_axis():
    assert {"2", "5", "10", "100", "500"} <= set(texts(sheet([Panel("", "", [STEEP], may_be_log=True)])))
    assert {"0", "200", "800"} <= set(texts(sheet([Panel("", "", [STEEP])])))


def test_an_unknown_value_breaks_the_line():
    lines = [s for s in sheet([Panel("", "", [STEEP])]) if isinstance(s, Stroke) and s.colour == STEEP.colour]
    assert [len(line.points) for line in lines if not line.dot] == [2]
    assert [len(line.points) for line in lines if line.dot] == [1]  # alone behind the break


@pytest.mark.parametrize("points", [[], [(3, 0.0)], [(3, None)], [(3, 5.0), (3, 5.0)], [(0, 0.0), (1, 0.0)]])
def test_little_data_draws_too(points):
    shapes = sheet([Panel("title", "below", [Series("a", "#000000", points)], may_be_log=True)])
    ElementTree.fromstring(to_svg(shapes, 1))


def test_svg_escapes_and_parses():
    root = ElementTree.fromstring(to_svg(sheet([Panel("a < b & c", "x", [STEEP])]), 1))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert any(node.text == "a < b & c" for node in root)


def test_pixels_show_the_lines():
    picture = to_pixels(sheet([Panel("a", "x", [STEEP])]), 1)
    assert picture.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert (picture == (0xC0, 0x39, 0x2B)).all(axis=2).any()
    assert cv2.imencode(".png", picture)[0]
