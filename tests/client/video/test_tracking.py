"""Ids: they stay with people through crossings, gaps, boundaries and changing frame rates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from poseglass import InvalidRequest
from poseglass.video.assignment import assign
from poseglass.video.table import PoseTable
from poseglass.video.tracking import TrackSettings, track
from poseglass_core.geometry import box_around
from poseglass_core.poses import Pose
from poseglass_core.skeleton import LSP

FIGURE = np.random.default_rng(3).uniform((0, 0), (80, 200), (14, 2))


def person(x: float, y: float = 100.0, score: float = 0.8, noise: int | None = None) -> Pose:
    points = FIGURE + np.array([x, y])
    if noise is not None:
        points = points + np.random.default_rng(noise).normal(0, 2, points.shape)
    points = points.astype(np.float32)
    return Pose(LSP, LSP.joints, points, np.full(14, 0.8, np.float32), box_around(points), score)


def table(*frames) -> PoseTable:
    """Frames as (time, poses)."""
    return PoseTable.from_frames(LSP, [(i, time, poses) for i, (time, poses) in enumerate(frames)])


@pytest.mark.parametrize("seed", range(60))
def test_assignments_cost_as_little_as_scipys(seed):
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=rng.integers(1, 9, 2))
    if seed % 3 == 0:
        cost = np.round(cost)  # many equal ones
    pairs = assign(cost)
    rows, columns = linear_sum_assignment(cost)
    assert len(pairs) == min(cost.shape)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert sum(cost[p] for p in pairs) == pytest.approx(cost[rows, columns].sum())


def test_ids_begin_in_the_order_of_appearance_and_stay():
    frames = [
        (i / 25, [person(10 + i, noise=i), person(400 - i, score=0.9 - 0.2 * (i % 2), noise=i)]) for i in range(30)
    ]
    found = track(table(*frames))
    at_left = found.box[:, 0] < 200
    assert set(found.track[at_left].tolist()) == {1}  # the right one is the more certain in frame 0
    assert set(found.track[~at_left].tolist()) == {0}
    assert found.header["tracking"]["tracks"] == 2


def test_people_who_cross_keep_their_ids():
    frames = [(i / 25, [person(8 * i, y=100), person(400 - 8 * i, y=120, score=0.7)]) for i in range(50)]
    found = track(table(*frames))
    right_going = found.track[found.person == 0]
    assert len(set(right_going.tolist())) == 1


def test_a_short_gap_keeps_the_id_and_a_long_one_ends_it():
    def gone(seconds):
        back = 0.4 + seconds
        frames = [(i / 10, [person(50)]) for i in range(5)]
        frames += [(0.4 + seconds / 2, [])]
        frames += [(back, [person(60)])]
        return track(table(*frames), TrackSettings(gap=1.0)).track.tolist()

    assert gone(0.9)[-2:] == [-1, 0]
    assert gone(1.5)[-2:] == [-1, 1]


def test_time_decides_and_not_the_number_of_frames():
    # 80 pixels are far in 20 ms and near in half a second.
    far = [(0.0, [person(0)]), (0.02, [person(80)])]
    near = [(0.0, [person(0)]), (0.5, [person(80)])]
    assert track(table(*far)).track.tolist() == [0, 1]
    assert track(table(*near)).track.tolist() == [0, 0]


def test_segments_tracked_together_are_the_unbroken_video():
    frames = [(i / 25, [person(10 + 3 * i, noise=i), person(500, noise=i)]) for i in range(40)]
    whole = table(*frames)
    parts = [whole.select(whole.frame < 20), whole.select(whole.frame >= 20)]
    assert track(PoseTable.concat(parts)).equals(track(whole))


def test_unknown_joints_and_times_that_stand_still_do_no_harm():
    half = person(50)
    partial = Pose(LSP, LSP.joints[:3], half.points[:3], half.scores[:3], half.box, 0.5)
    found = track(table((0.0, [half]), (0.0, [partial]), (0.04, [half])))
    assert found.track.tolist() == [0, 0, 0]
    none = Pose(LSP, (), half.points[:0], half.scores[:0], half.box, 0.5)
    assert track(table((0.0, [none]), (0.04, [none]))).track.tolist() == [0, 0]


def test_an_empty_table_has_no_tracks():
    found = track(PoseTable.empty(LSP))
    assert found.track is not None
    assert len(found.track) == 0


@pytest.mark.parametrize("wrong", [{"gap": -1}, {"gap": np.nan}, {"similarity": 1.5}])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InvalidRequest, match=f"track.{next(iter(wrong))}"):
        TrackSettings(**wrong)
