"""Rows of a video: building, checking, putting together."""

from __future__ import annotations

import numpy as np
import pytest

from poseglass.video.table import PoseTable, TableBuilder, round_joints
from poseglass_core.geometry import Box
from poseglass_core.poses import Pose
from poseglass_core.skeleton import Skeleton

ARM = Skeleton(("shoulder", "elbow", "wrist"), angles={"elbow": ("shoulder", "elbow", "wrist")})


def pose(x=10.0, score=0.9, names=ARM.joints, presence=0.5) -> Pose:
    points = np.array([[x + 0.3 * i, 5 * i] for i in range(len(names))], np.float32)
    return Pose(ARM, names, points, np.full(len(names), 0.7, np.float32), Box(x, 0, 20, 30), score, presence)


def small() -> PoseTable:
    return PoseTable.from_frames(
        ARM, [(0, 0.0, [pose(score=0.2), pose(50, 0.8)]), (1, 0.04, []), (2, 0.1, [pose(names=("wrist",))])], {"a": 1}
    )


def test_one_row_a_frame_and_person_and_one_for_nobody():
    table = small()
    assert table.frame.tolist() == [0, 0, 1, 2]
    assert table.person.tolist() == [0, 1, -1, 0]
    assert table.people.tolist() == [True, True, False, True]
    assert table.frame_count == 3
    assert [(f.index, f.time, f.rows) for f in table.frames()] == [
        (0, 0.0, slice(0, 2)),
        (1, 0.04, slice(2, 3)),
        (2, 0.1, slice(3, 4)),
    ]
    assert np.isnan(table.joints[2]).all()
    assert np.isnan(table.box[2]).all()


def test_the_most_certain_comes_first_and_joints_not_asked_for_are_unknown():
    table = small()
    assert table.score[:2] == pytest.approx([0.8, 0.2])
    assert np.isnan(table.joints[3]).tolist() == [[True, True], [True, True], [False, False]]


def test_joints_lie_on_the_grid():
    assert (small().joints[0] * 64 % 1 == 0).all()
    assert round_joints(np.array([0.3, -0.3, np.nan]))[:2].tolist() == [19 / 64, -19 / 64]


def test_a_pose_comes_back_with_the_joints_that_are_known():
    found = small().pose(3)
    assert found.names == ("wrist",)
    assert found.box == Box(10, 0, 20, 30)
    assert found.presence == 0.5
    with pytest.raises(ValueError, match="without anybody"):
        small().pose(2)
    with pytest.raises(ValueError, match="smooth it first"):
        small().pose(0, smoothed=True)


def test_presence_may_be_unknown():
    table = PoseTable.from_frames(ARM, [(0, 0.0, [pose(presence=None)])])
    assert np.isnan(table.presence[0])
    assert table.pose(0).presence is None


def test_segments_put_together_are_the_whole():
    table = small()
    parts = [table.select(slice(0, 2)), PoseTable.empty(ARM), table.select(np.arange(4) >= 2)]
    assert PoseTable.concat(parts).equals(table)
    assert PoseTable.concat(parts).header == {"a": 1}
    with pytest.raises(ValueError, match="never fall"):
        PoseTable.concat(parts[::-1])
    with pytest.raises(ValueError, match="at least one"):
        PoseTable.concat([])


def test_tracked_and_raw_segments_do_not_mix():
    from dataclasses import replace

    table = small()
    tracked = replace(table.select(slice(0, 2)), track=np.array([0, 1], np.int32))
    with pytest.raises(ValueError, match="track is in some"):
        PoseTable.concat([tracked, table.select(slice(2, 4))])


def test_equality_is_to_the_last_bit():
    table = small()
    other = small()
    other.joints[0, 0, 0] += 1 / 64
    assert table.equals(small())
    assert not table.equals(other)
    assert table.equals(table.with_header(a=2))
    assert not table.equals(table.with_header(a=2), header=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frame", np.array([0, 0, 2, 1]), "frame must count"),
        ("frame", np.array([0, 0, 1, 2], np.int32), "frame must be .*int64"),
        ("time", np.array([0, 0.1, 0.2, 0.3]), "same in all rows"),
        ("time", np.array([0, 0, np.nan, 0.3]), "time must be finite"),
        ("person", np.array([0, -1, -1, 0], np.int32), "person must be 0 or more"),
        ("person", np.array([1, 1, -1, 0], np.int32), "person must rise"),
        ("box", np.zeros((4, 5), np.float32), "box must be .*\\[4, 4\\], not float32 \\[4, 5\\]"),
        ("joints", np.full((4, 3, 2), 0.3, np.float32), "round_joints"),
        ("track", [0, 0, 0, 0], "track must be .*, not list"),
    ],
)
def test_arrays_that_do_not_fit_are_named(name, value, message):
    from dataclasses import replace

    with pytest.raises(ValueError, match=message):
        replace(small(), **{name: value})


def test_a_builder_goes_on_growing():
    builder = TableBuilder(ARM)
    assert builder.build().equals(PoseTable.empty(ARM))
    builder.add(0, 0.0, [pose()])
    assert len(builder.build()) == 1
    builder.add(1, 0.1)
    assert len(builder.build()) == len(builder) == 2
    with pytest.raises(ValueError, match="one model a video"):
        builder.add(2, 0.2, [Pose(Skeleton(("nose",)), (), np.empty((0, 2)), np.empty(0), Box(0, 0, 1, 1), 0.1)])
