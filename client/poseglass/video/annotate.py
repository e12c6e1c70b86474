"""One frame with its rows drawn on it: limbs by side, joints by score, people by id, heatmaps under them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass.video.table import PoseTable
from poseglass_core.drawing import Image, draw_poses, tint_heatmaps
from poseglass_core.poses import Pose

LOW, MIDDLE, HIGH = (220, 40, 40), (250, 210, 40), (60, 200, 80)
"""Colours of scores 0, 0.5 and 1."""


def score_colour(score: float) -> tuple[int, int, int]:
    """From red through yellow to green; grey where the score is not known."""
    if np.isnan(score):
        return (160, 160, 160)
    share = float(np.clip(score, 0, 1)) * 2
    first, second = (LOW, MIDDLE) if share < 1 else (MIDDLE, HIGH)
    share -= share >= 1
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue


def track_colour(number: int) -> tuple[int, int, int]:
    """A person's colour, far from those of the numbers next to it."""
    hue = np.array([[[(105 + 47 * number) % 180, 190, 230]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def people_in(table: PoseTable, rows: slice) -> list[int]:
    """Those of a frame's rows that are people's."""
    return [row for row in range(rows.start, rows.stop) if table.person[row] >= 0]


def draw_rows(image: Image, table: PoseTable, rows: slice, smoothed: bool, found: Sequence[Pose] = ()) -> Image:
    """A copy of a frame with the people of some rows on it.

    Args:
        image: [height, width, 3] RGB, upright.
        table: of the video.
        rows: of the frame.
        smoothed: draw the filtered joints; where one is not known, the joint is left out.
        found: poses with heatmaps, to be drawn under the others.
    """
    at = people_in(table, rows)
    poses = [table.pose(row, smoothed) for row in at]
    canvas = draw_poses(tint_heatmaps(image, found) if found else image, poses)
    for row, pose in zip(at, poses, strict=True):
        _draw_scores(canvas, pose)
        if table.track is not None:
            _draw_number(canvas, pose, int(table.track[row]))
    return canvas


def _draw_scores(canvas: Image, pose: Pose) -> None:
    person, size = max(pose.box.width, pose.box.height), max(canvas.shape[:2])
    radius = max(2, round(min(person / 70, size / 100)))
    for joint in pose:
        at = _pixel(np.array([joint.x, joint.y]))
        cv2.circle(canvas, at, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(canvas, at, radius, score_colour(joint.score), -1, cv2.LINE_AA)


def _draw_number(canvas: Image, pose: Pose, number: int) -> None:
    text, font = f"#{number}", cv2.FONT_HERSHEY_SIMPLEX
    scale = max(0.4, min(canvas.shape[:2]) / 900)
    thickness = max(1, round(2 * scale))
    (width, height), base = cv2.getTextSize(text, font, scale, thickness)
    left, top = _pixel(np.array([pose.box.x, pose.box.y]))
    left = int(np.clip(left, 0, max(canvas.shape[1] - width - 6, 0)))
    top = int(np.clip(top - height - base - 4, 0, max(canvas.shape[0] - height - base - 4, 0)))
    corner = (left + width + 6, top + height + base + 4)
    cv2.rectangle(canvas, (left, top), corner, track_colour(number), -1)
    cv2.putText(canvas, text, (left + 3, top + height + 2), font, scale, (0, 0, 0), thickness, cv2.LINE_AA)


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    x, y = np.round(np.clip(point, -30000, 30000)).astype(int).tolist()
    return x, y
