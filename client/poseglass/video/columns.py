"""The arrays of a `PoseTable`: what they are called, their types, and what must hold of their rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 64
"""Joints are multiples of 1/GRID pixel: float32 and every text format hold them exactly, whatever computed them."""

NOBODY = -1
"""`person` and `track` of a frame without anybody."""

OPTIONAL = ("track", "smoothed")
"""What a second pass adds."""


def columns(joints: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Array -> (type, shape of a row), in the order of a row."""
    return {
        "frame": (np.int64, ()),
        "time": (np.float64, ()),
        "person": (np.int32, ()),
        "box": (np.float32, (4,)),
        "score": (np.float32, ()),
        "presence": (np.float32, ()),
        "joints": (np.float32, (joints, 2)),
        "joint_scores": (np.float32, (joints,)),
        "track": (np.int32, ()),
        "smoothed": (np.float32, (joints, 2)),
    }


def round_joints(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Points to the nearest 1/64 pixel, as every row has them."""
    rounded: NDArray[np.float32] = (np.rint(np.asarray(points, np.float64) * GRID) / GRID).astype(np.float32)
    return rounded


def check_order(frame: NDArray[np.int64], time: NDArray[np.float64], person: NDArray[np.int32]) -> None:
    """Frames follow each other, and people count up within each.

    Args:
        frame, time, person: [R] each.

    Raises:
        ValueError: naming the array that is out of order.
    """
    if not len(frame):
        return
    step = np.diff(frame)
    if frame[0] < 0 or (step < 0).any():
        raise ValueError("frame must count from 0 and never fall: concatenate tables in the video's order")
    if (np.diff(time)[step == 0] != 0).any():
        raise ValueError("time must be the same in all rows of a frame")
    alone = np.concatenate([[True], step > 0]) & np.concatenate([step > 0, [True]])
    if (person < NOBODY).any() or not alone[person == NOBODY].all():
        raise ValueError(f"person must be 0 or more, or {NOBODY} in the only row of a frame")
    if (np.diff(person)[step == 0] < 1).any():
        raise ValueError("person must rise within a frame, the most certain first")
