"""The page about a video: its own file and nothing else, with the counts of the header, whoever is in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from poseglass.video.charts import POINTS, Line, line_chart, thinned
from poseglass.video.euro import OneEuro
from poseglass.video.report import lost_stretches, render, write_report
from poseglass.video.smoothing import smooth
from poseglass.video.table import PoseTable
from poseglass.video.tracking import track
from poseglass_core.geometry import box_around
from poseglass_core.poses import Pose
from poseglass_core.skeleton import LSP

FIGURE = np.random.default_rng(1).uniform((10, 10), (50, 90), (14, 2))


class Checker(HTMLParser):
    """Every tag is closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags(page: str) -> list[str]:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker.tags


def make(frames: int = 50, people: int = 2) -> PoseTable:
    rows = []
    for i in range(frames):
        poses = []
        for j in range(people):
            points = (FIGURE + (60 * j + 0.2 * i)).astype(np.float32)
            poses.append(
                Pose(LSP, LSP.joints, points, np.full(14, 0.8, np.float32), box_around(points), 0.9 - 0.01 * j)
            )
        rows.append((i, i / 25, [] if 20 <= i < 30 else poses))
    header = {
        "source": {"name": "<walk>.mp4"},
        "counts": {"promised": 60, "decoded": 50, "disagreements": ["the container promises 60 frames & 50 decode"]},
        "model": {"name": "tiny", "version": 3},
    }
    return PoseTable.from_frames(LSP, rows, header)


def record(path, frames=50):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
        for i in range(frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((120, 160, 3), 4 * i, np.uint8))))
        file.mux(stream.encode(None))
    return path


def test_the_page_is_whole_and_needs_nothing_else(tmp_path):
    table = smooth(track(make()), OneEuro())
    path = tmp_path / "walk.html"
    write_report(table, path, record(tmp_path / "<walk>.mp4"))
    page = path.read_text("utf-8")
    found = tags(page)
    assert found.count("img") == 8
    assert found.count("svg") == 3 + len(LSP.angles)
    assert "script" not in found
    assert not re.search(r"https?://|src=\"(?!data:)|@import|url\(", page)
    assert "&lt;walk&gt;.mp4" in page
    assert "<walk>" not in page


def test_counts_and_what_does_not_add_up_are_those_of_the_header():
    page = render(track(make()))
    assert "<td>Frames, as the container says</td><td>60</td>" in page
    assert "<td>Frames decoded</td><td>50</td>" in page
    assert "<td>Frames in the result</td><td>50</td>" in page
    assert "<td>Frames with somebody</td><td>40</td>" in page
    assert "the container promises 60 frames &amp; 50 decode" in page
    assert "tiny version 3" in page


def test_lost_stretches_are_named():
    assert lost_stretches(make()) == [(pytest.approx(0.8), pytest.approx(1.2))]
    assert "0.80 to 1.20 s" in render(track(make()))
    assert lost_stretches(make(frames=25)) == [(pytest.approx(0.8), pytest.approx(0.96))]
    assert "Somebody is in every frame" in render(track(make(frames=15)))


@pytest.mark.parametrize(
    "table",
    [
        PoseTable.empty(LSP),
        make(),
        track(PoseTable.from_frames(LSP, [(0, 0.0, [])])),
        track(make(frames=1)),
        track(make(frames=10, people=45)),
    ],
    ids=["empty", "without tracks", "nobody", "one frame", "a crowd"],
)
def test_any_table_has_a_page(table):
    tags(render(table))


def test_a_video_that_cannot_be_read_leaves_a_page_without_pictures(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert "img" not in tags(render(track(make()), tmp_path / "broken.mp4"))


def test_a_long_video_makes_no_long_page():
    times = np.arange(100_000) / 25
    assert len(line_chart([Line("a", "red", times, np.sin(times))], (0, 4000), -1, 1)) < 20_000
    means = thinned(times, np.where(times < 100, np.nan, 1.0))[1]
    assert len(means) == POINTS
    assert np.isnan(means[0])
    assert means[-1] == 1
