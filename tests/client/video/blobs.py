"""People made of one colour each, videos of them, and an `Ask` that finds them: truth is known, and no network runs.

As a program, it does a whole job over such a video, slowly, so that a test can kill it: `blobs.py VIDEO OUT DELAY`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from poseglass.video.asking import Facts
from poseglass_core.geometry import Box
from poseglass_core.poses import Heatmaps, ModelRef, Pose
from poseglass_core.skeleton import LSP

COLOURS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]])

SIZE = 12
"""Pixels; side of the square that a person is."""

SHAPE = np.random.default_rng(3).uniform(-SIZE / 2, SIZE / 2, (len(LSP.joints), 2)).astype(np.float32)
"""Where the joints are, from the square's centre."""


def draw(height: int, width: int, people: dict[int, tuple[float, float]]) -> np.ndarray:
    """A frame: person's number -> centre (x, y)."""
    image = np.full((height, width, 3), 90, np.uint8)
    for number, (x, y) in people.items():
        left, top = round(x - SIZE / 2), round(y - SIZE / 2)
        image[max(top, 0) : max(top + SIZE, 0), max(left, 0) : max(left + SIZE, 0)] = COLOURS[number]
    return image


class BlobAsk:
    """Finds the people that `draw` draws.

    Attributes:
        asked: (number of boxes, or 0 for a look anywhere) of every question, in any order.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.facts = Facts(ModelRef("blobs", 1, "b" * 64), None, True, LSP, 0.2)
        self.delay = delay
        self.asked: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, image: np.ndarray, boxes: Sequence[Box]) -> list[Pose]:
        with self._lock:
            self.asked.append(len(boxes))
        time.sleep(self.delay)
        everybody = [pose for number in range(len(COLOURS)) if (pose := find(image, number)) is not None]
        return [nearest(everybody, box) for box in boxes] if boxes else everybody

    def heatmaps(self, image: np.ndarray, boxes: Sequence[Box]) -> list[Pose]:
        return [mapped(pose) for pose in self(image, boxes)]

    def close(self) -> None:
        pass


def find(image: np.ndarray, number: int) -> Pose | None:
    """One person, wherever they are."""
    here = (np.abs(image.astype(int) - COLOURS[number]) < 60).all(axis=2)
    if here.sum() < SIZE:
        return None
    ys, xs = np.nonzero(here)
    return posed((xs.mean(), ys.mean()), 0.9 - 0.1 * number)


def posed(centre: Sequence[float], score: float) -> Pose:
    points = (SHAPE + np.array(centre, np.float32)).astype(np.float32)
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    scores = np.full(len(points), score, np.float32)
    return Pose(LSP, LSP.joints, points, scores, Box(*map(float, (*low, *size))), score, score)


def mapped(pose: Pose) -> Pose:
    """The pose with heatmaps: two pixels a cell, each joint's a hill around it."""
    corner = np.array([pose.box.x - SIZE, pose.box.y - SIZE])
    cells = np.stack(np.meshgrid(np.arange(2 * SIZE), np.arange(2 * SIZE)), axis=-1)  # [rows, columns, 2]
    away = np.linalg.norm(cells - ((pose.points - corner) / 2)[:, None, None], axis=-1)
    values = (0.5 * np.exp(-(away**2) / 18)).astype(np.float32)
    to_image = np.column_stack([2 * np.eye(2), corner])
    return replace(pose, heatmap_names=pose.names, heatmaps=Heatmaps(values, to_image))


def nearest(everybody: Sequence[Pose], box: Box) -> Pose:
    """Who is in a box, seen from its middle; a pose of nobody where nobody is."""
    x, y = box.centre
    side = 1.25 * max(box.width, box.height)
    inside = [pose for pose in everybody if max(abs(pose.box.centre[0] - x), abs(pose.box.centre[1] - y)) < side / 2]
    if not inside:
        return posed(box.centre, 0.05)
    return min(inside, key=lambda pose: abs(pose.box.centre[0] - x) + abs(pose.box.centre[1] - y))


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "ffv1",
    pixels: str = "",
    rate: int = 10,
    times: Sequence[int] | None = None,
    unit: Fraction | None = None,
    rotation: int | None = None,
    codec_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """A video file.

    Args:
        path: its suffix says which container.
        frames: uint8 [height, width, 3] RGB.
        codec, pixels: of the stream.
        rate: frames a second.
        times: presentation times in `unit`; default: one after another.
        unit: seconds; default 1 / rate.
        rotation: degrees counterclockwise, in the display matrix.
        codec_options, options: of the encoder and of the container.
        prepare: is given the stream before anything is written.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=codec_options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels or ("bgr0" if codec == "ffv1" else "yuv420p")
        stream.codec_context.time_base = unit or Fraction(1, rate)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        prepare(stream)
        for i, pixels_of_frame in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_of_frame, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = i if times is None else times[i], unit or Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def walk(count: int, people: int = 1, height: int = 48, width: int = 96) -> list[np.ndarray]:
    """Frames in which people walk to and fro, the second one against the first, each in a lane of their own."""
    frames = []
    for i in range(count):
        x = 20 + 30 * (1 - np.cos(i / 9))
        lanes = {number: (x if number % 2 == 0 else width - x, 10 + 14 * number) for number in range(people)}
        frames.append(draw(height, width, lanes))
    return frames


class Silent:
    """Progress that nobody watches."""

    def begin(self, source: Path, promised: int | None) -> None:
        pass

    def advance(self, source: Path) -> None:
        pass

    def end(self, source: Path) -> None:
        pass


def main(source: str, out: str, delay: str) -> None:
    from poseglass.video.finish import Finishing
    from poseglass.video.folder import locked
    from poseglass.video.following import FollowSettings
    from poseglass.video.job import JobSettings, run_job
    from poseglass.video.reading import Selection
    from poseglass.video.segments import SegmentClock

    settings = JobSettings(Selection(), SegmentClock(1.0), FollowSettings(detect_every=4), Finishing())
    with locked(Path(out)):
        for outcome in run_job({Path(source): "walk"}, Path(out), BlobAsk(float(delay)), settings, Silent()):
            if outcome.error is not None:
                raise outcome.error


if __name__ == "__main__":
    main(*sys.argv[1:])
