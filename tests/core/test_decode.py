"""The NumPy decoder against Gaussians of known centre, and at the borders."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from poseglass_core.decode import decode


def gaussian(x: float, y: float, sigma: float, size: int = 32) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).astype(np.float32)


@given(st.floats(2, 29), st.floats(2, 29), st.floats(0.8, 3))
def test_a_gaussian_is_found_to_a_hundredth_of_a_pixel(x, y, sigma):
    joints, scores = decode(gaussian(x, y, sigma)[None], epsilon=1e-8)
    assert np.abs(joints[0] - (np.array([x, y]) * 4 + 1.5)).max() < 0.01
    assert scores[0] <= 1


@given(st.integers(0, 31), st.integers(0, 31), st.integers(0, 2**32 - 1))
def test_the_joint_stays_within_half_a_cell_of_the_argmax(x, y, seed):
    heatmap = np.random.default_rng(seed).random((32, 32), dtype=np.float32)
    heatmap[y, x] = 2
    joints, scores = decode(heatmap[None], epsilon=1e-8)
    assert np.abs((joints[0] - 1.5) / 4 - (x, y)).max() <= 0.5
    assert scores[0] == 2


def test_flat_maps_and_corners_give_finite_joints():
    flat, corner = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    corner[7, 7] = 1
    joints, scores = decode(np.stack([flat, corner]), epsilon=1e-8)
    assert joints.tolist() == [[1.5, 1.5], [29.5, 29.5]]
    assert scores.tolist() == [0, 1]


def test_leading_axes_are_kept():
    joints, scores = decode(np.random.default_rng(0).random((2, 3, 4, 8, 6)), epsilon=1e-8)
    assert joints.shape == (2, 3, 4, 2)
    assert scores.shape == (2, 3, 4)
