"""Poses: joints by name, angles, and what is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box
from poseglass_core.poses import Pose, PoseRequest
from poseglass_core.skeleton import LSP


def pose_of(**points: tuple[float, float]) -> Pose:
    return Pose(
        skeleton=LSP,
        names=tuple(points),
        points=np.array(list(points.values()), np.float32).reshape(-1, 2),
        scores=np.full(len(points), 0.5, np.float32),
        box=Box(0, 0, 10, 10),
        score=0.5,
    )


@pytest.mark.parametrize(("ankle", "degrees"), [((0, 20), 180), ((10, 10), 90), ((-10, 10), 90), ((0, 0), 0)])
def test_angles(ankle, degrees):
    pose = pose_of(left_hip=(0, 0), left_knee=(0, 10), left_ankle=ankle)
    assert pose.angle("left_knee") == pytest.approx(degrees, abs=1e-6)


def test_an_angle_of_missing_or_coinciding_joints_is_nan():
    assert math.isnan(pose_of(left_hip=(0, 0), left_knee=(0, 10)).angle("left_knee"))
    assert math.isnan(pose_of(left_hip=(0, 0), left_knee=(0, 0), left_ankle=(1, 1)).angle("left_knee"))
    with pytest.raises(KeyError, match="no angle is called 'knee'"):
        pose_of(left_hip=(0, 0)).angle("knee")


def test_joints_by_name():
    pose = pose_of(left_hip=(1, 2), neck=(3, 4))
    assert pose["neck"] == ("neck", 3.0, 4.0, 0.5)
    assert [joint.name for joint in pose] == ["left_hip", "neck"]
    assert "neck" in pose
    assert "left_knee" not in pose
    with pytest.raises(KeyError, match="is not in this pose"):
        pose["left_knee"]
    with pytest.raises(KeyError, match="is no joint of this model"):
        pose["tail"]


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_thresholds_are_checked(value):
    with pytest.raises(InvalidInput, match="thresholds.joint"):
        PoseRequest(joint_threshold=value)
    with pytest.raises(InvalidInput, match="thresholds.person"):
        PoseRequest(person_threshold=value)
    with pytest.raises(InvalidInput, match="thresholds.overlap"):
        PoseRequest(overlap_threshold=value)
