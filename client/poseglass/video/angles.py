"""Joint angles of every row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poseglass.video.table import PoseTable


def joint_angles(table: PoseTable, smoothed: bool | None = None) -> dict[str, NDArray[np.float32]]:
    """The skeleton's angles: at the vertex, between the directions to both ends, in degrees from 0 to 180.

    Args:
        table: of one video.
        smoothed: of the filtered joints; None: of those where there are any.

    Returns:
        Angle name -> [R]; NaN where one of the three joints is not known, or two of them coincide.

    Raises:
        ValueError: smoothed joints are wanted, and there are none.
    """
    if smoothed and table.smoothed is None:
        raise ValueError("the table has no smoothed joints: smooth it first")
    wanted = table.smoothed if smoothed is not False and table.smoothed is not None else table.joints
    points = wanted.astype(np.float64)
    found = {}
    for name, triple in table.skeleton.angles.items():
        a, vertex, b = (points[:, table.skeleton.index(joint)] for joint in triple)
        first, second = a - vertex, b - vertex
        cross = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
        degrees = np.degrees(np.arctan2(np.abs(cross), (first * second).sum(axis=1)))
        degrees[~first.any(axis=1) | ~second.any(axis=1)] = np.nan
        found[name] = degrees.astype(np.float32)
    return found
