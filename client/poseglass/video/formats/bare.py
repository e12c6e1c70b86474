"""Tables from formats that do not hold all of one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.video.columns import NOBODY
from poseglass.video.table import PoseTable
from poseglass_core.geometry import box_around
from poseglass_core.skeleton import BUILT_IN, Skeleton


def by_count(joints: int) -> Skeleton:
    """The built-in skeleton of so many joints; else one whose joints are called joint_1, joint_2, ..."""
    known = next((skeleton for skeleton in BUILT_IN.values() if len(skeleton.joints) == joints), None)
    return known or Skeleton(tuple(f"joint_{i + 1}" for i in range(joints)))


def build(
    skeleton: Skeleton,
    frame: NDArray[np.int64],
    time: NDArray[np.float64],
    joints: NDArray[np.float32],
    joint_scores: NDArray[np.float32],
    nobody: NDArray[np.bool_],
    score: NDArray[np.float32] | None = None,
    box: NDArray[np.float32] | None = None,
    track: NDArray[np.int32] | None = None,
    header: dict[str, Any] | None = None,
) -> PoseTable:
    """A table from rows in the order of frames; within a frame, of people.

    Args:
        skeleton: of J joints.
        frame, time: [R].
        joints: [R, J, 2] on the grid.
        joint_scores: [R, J].
        nobody: [R] rows of frames without anybody.
        score: [R]; None: the mean of the joints'.
        box: [R, 4], NaN where not known; None: nowhere. There it is drawn around the joints.
        track: [R].
        header: plain values.

    Raises:
        ValueError: joints are of another number than the skeleton's, or an array does not fit.
    """
    if joints.shape[1:] != (len(skeleton.joints), 2):
        raise ValueError(
            f"it has {joints.shape[1]} joints, and the skeleton {len(skeleton.joints)}: give the right one"
        )
    first = np.flatnonzero(np.diff(frame, prepend=-1))
    within = np.arange(len(frame)) - np.repeat(first, np.diff([*first, len(frame)]))
    if score is None:
        count = np.isfinite(joint_scores).sum(axis=1)
        score = (np.nansum(joint_scores, axis=1) / np.maximum(count, 1)).astype(np.float32)
        score[nobody] = np.nan
    box = np.full((len(frame), 4), np.nan, np.float32) if box is None else box.copy()
    known = np.asarray(np.isfinite(joints).all(axis=2))
    for row in np.flatnonzero(np.isnan(box).any(axis=1) & known.any(axis=1)).tolist():
        box[row] = box_around(joints[row, known[row]]).to_list()[:4]
    if track is not None:
        track = np.where(nobody, NOBODY, track).astype(np.int32)
    return PoseTable(
        skeleton=skeleton,
        header=header or {},
        frame=frame,
        time=time,
        person=np.where(nobody, NOBODY, within).astype(np.int32),
        box=box,
        score=score,
        presence=np.full(len(frame), np.nan, np.float32),
        joints=joints,
        joint_scores=joint_scores,
        track=track,
    )
