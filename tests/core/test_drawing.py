"""Heatmaps on pictures: where they lie, how much they cover, in which colour."""

from __future__ import annotations

import numpy as np
import pytest

from poseglass_core.drawing import LEFT, OPACITY, RIGHT, tint_heatmaps
from poseglass_core.geometry import Box
from poseglass_core.poses import Heatmaps, Pose
from poseglass_core.skeleton import LSP

LEFT_KNEE, RIGHT_KNEE = LSP.index("left_knee"), LSP.index("right_knee")


def found(peaks: dict[int, tuple[int, int]], score: float, corner: tuple[float, float] = (10, 20)) -> Pose:
    """A pose whose heatmaps have 8 x 8 cells of 4 pixels, each with its peak in one cell (column, row)."""
    values = np.zeros((len(LSP.joints), 8, 8), np.float32)
    for joint, (column, row) in peaks.items():
        values[joint, row, column] = 0.3
    scores = np.full(len(LSP.joints), score, np.float32)
    points = np.zeros((len(LSP.joints), 2), np.float32)
    maps = Heatmaps(values, np.array([[4.0, 0, corner[0]], [0, 4, corner[1]]]))
    return Pose(LSP, LSP.joints, points, scores, Box(10, 20, 32, 32), 0.5, 0.5, LSP.joints, maps)


def test_a_peak_is_tinted_where_it_lies_in_its_sides_colour():
    image = np.full((80, 100, 3), 100, np.uint8)
    tinted = tint_heatmaps(image, [found({LEFT_KNEE: (2, 3), RIGHT_KNEE: (6, 3)}, 1.0)])
    assert tinted[20 + 12, 10 + 8] == pytest.approx((1 - OPACITY) * 100 + OPACITY * np.array(LEFT), abs=1)
    assert tinted[20 + 12, 10 + 24] == pytest.approx((1 - OPACITY) * 100 + OPACITY * np.array(RIGHT), abs=1)
    changed = np.argwhere((tinted != image).any(axis=2))
    assert changed.min(axis=0).tolist() == [20 + 9, 10 + 5]
    assert changed.max(axis=0).tolist() == [20 + 15, 10 + 27]
    assert (image == 100).all()


def test_a_joint_that_is_not_certain_covers_less():
    image = np.full((80, 100, 3), 100, np.uint8)
    sure, unsure = (tint_heatmaps(image, [found({LEFT_KNEE: (2, 3)}, score)]) for score in (1.0, 0.25))
    change = [int(picture[32, 18, 2]) - 100 for picture in (sure, unsure)]
    assert change[1] == pytest.approx(change[0] / 2, abs=1)


@pytest.mark.parametrize("corner", [(-20, -20), (90, 70), (-500, 10)])
def test_what_lies_outside_is_left_out(corner):
    image = np.full((80, 100, 3), 100, np.uint8)
    tinted = tint_heatmaps(image, [found({LEFT_KNEE: (6, 6), RIGHT_KNEE: (0, 0)}, 1.0, corner)])
    assert tinted.shape == image.shape
    assert (tinted != image).any() == (corner != (-500, 10))
