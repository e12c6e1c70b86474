"""People followed inside a segment: the state machine, and what it asks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from poseglass.errors import InvalidRequest
from poseglass.video.following import LAG, Follower, FollowSettings, Plan, Seen, alike, look, settled, visible
from poseglass.video.pipeline import Machine, run_segments
from poseglass.video.segments import SegmentFrame


def follow(ask, frames, settings=None):
    """Rows of one segment, and the numbers of boxes that were asked about."""
    settings = settings or FollowSettings(detect_every=1000)
    tables = []
    with ThreadPoolExecutor(LAG) as looking:
        machine = Machine(ask, ask.facts.skeleton, settings, looking, threading.Event())
        items = (SegmentFrame(0, i, i / 10, image) for i, image in enumerate(frames))
        run_segments(items, machine, lambda number, table: tables.append(table))
    (table,) = tables
    return table


def centres(table, rows):
    return table.joints[rows].mean(axis=1)


def test_one_person_is_followed_by_boxes_after_the_first_look(blobs):
    ask = blobs.BlobAsk()
    table = follow(ask, blobs.walk(30))
    assert table.frame_count == len(table) == 30
    assert sorted(ask.asked) == [0] + [1] * 29
    for i, image in enumerate(blobs.walk(30)):
        assert np.allclose(table.joints[i], blobs.find(image, 0).points, atol=1 / 64)


def test_joints_are_rounded_before_they_guide_anything(blobs):
    pose = blobs.posed((20.123, 30.456), 0.9)
    rounded = settled(pose)
    assert (rounded.points * 64 == np.rint(rounded.points * 64)).all()
    assert settled(settled(pose)).box == rounded.box
    assert np.abs(rounded.points - pose.points).max() <= 1 / 128


def test_somebody_lost_is_looked_for_in_the_same_frame(blobs):
    frames = blobs.walk(20)
    frames[10:] = [blobs.draw(48, 96, {0: (80, 40)})] * 10  # a jump out of the crop
    frames[:10] = [blobs.draw(48, 96, {0: (15, 10)})] * 10
    table = follow(blobs.BlobAsk(), frames)
    assert table.people.all()
    assert np.allclose(centres(table, slice(10, 20)), centres(table, slice(10, 11)))


def test_nobody_is_a_row_and_nobody_is_missed(blobs):
    frames = blobs.walk(6) + [blobs.draw(48, 96, {})] * 5 + blobs.walk(6)
    ask = blobs.BlobAsk()
    table = follow(ask, frames)
    assert table.frame_count == 17
    assert (table.person == np.array([0] * 6 + [-1] * 5 + [0] * 6)).all()


def test_an_expensive_search_is_not_repeated_every_frame(blobs):
    ask = blobs.BlobAsk()
    follow(ask, [blobs.draw(48, 96, {})] * 21, FollowSettings(search_every=5))
    assert ask.asked == [0] * 5  # at 0, 5, 10, 15, 20


@pytest.mark.parametrize("empty", range(8))
def test_whoever_comes_between_two_searches_is_in_every_frame_all_the_same(blobs, empty):
    frames = [blobs.draw(48, 96, {})] * empty + blobs.walk(12)
    ask = blobs.BlobAsk()
    table = follow(ask, frames, FollowSettings(search_every=5, detect_every=1000))
    assert (table.person == np.array([-1] * empty + [0] * 12)).all()
    assert ask.asked.count(0) <= 6  # at 0, 5, 10, 15; whom a search has shown and who has moved far costs another
    for i in range(empty, empty + 12):
        assert np.allclose(table.joints[i], blobs.find(frames[i], 0).points, atol=1 / 64)


@pytest.mark.parametrize("here", range(1, 9))
@pytest.mark.parametrize("empty", range(1, 7))
def test_whoever_a_search_shows_is_in_every_frame_until_they_leave(blobs, empty, here):
    nobody = [blobs.draw(48, 96, {})]
    frames = nobody * empty + blobs.walk(here) + nobody * 9
    table = follow(blobs.BlobAsk(), frames, FollowSettings(search_every=3, detect_every=1000))
    searched = any(i % 3 == 0 for i in range(empty, empty + here))  # at 0, 3, 6, ...
    assert (table.person == np.array([-1] * empty + [0 if searched else -1] * here + [-1] * 9)).all()
    for i in range(empty, empty + here if searched else empty):
        assert np.allclose(table.joints[i], blobs.find(frames[i], 0).points, atol=1 / 64)


def test_who_is_followed_into_a_frame_is_not_there_twice(blobs):
    frames = [blobs.draw(48, 96, {})] * 4 + blobs.walk(3) + blobs.walk(8, people=2)[3:]
    table = follow(blobs.BlobAsk(), frames, FollowSettings(search_every=3, detect_every=5))
    assert (np.bincount(table.frame, minlength=len(frames)) <= 2).all()
    assert table.people[table.frame >= 4].all()


def test_a_segment_that_ends_between_two_searches_is_searched_at_its_end(blobs):
    frames = [blobs.draw(48, 96, {})] * 3 + blobs.walk(2)
    table = follow(blobs.BlobAsk(), frames, FollowSettings(search_every=50))
    assert (table.person == np.array([-1, -1, -1, 0, 0])).all()


def test_no_frame_waits_where_nobody_looks_back(blobs):
    frames = [blobs.draw(48, 96, {})] * 3 + blobs.walk(5)
    table = follow(blobs.BlobAsk(), frames, FollowSettings(search_every=4, look_back=False))
    assert (table.person == np.array([-1] * 4 + [0] * 4)).all()


def test_newcomers_are_found_every_so_many_frames(blobs):
    frames = blobs.walk(40)
    frames[15:] = blobs.walk(40, people=2)[15:]
    table = follow(blobs.BlobAsk(), frames, FollowSettings(detect_every=10))
    assert table.frame[table.person == 1].tolist() == list(range(20, 40))


def test_nobody_is_there_twice(blobs):
    ask = blobs.BlobAsk()
    table = follow(ask, blobs.walk(40, people=3), FollowSettings(detect_every=1))
    assert len(table) == 3 * 40
    assert ask.asked.count(0) == 40
    # Both looks see the same pose; a crop that slid onto the same person gives way to the more certain one.
    image, (one, other) = blobs.walk(1, people=2)[0], (blobs.find(blobs.walk(1, people=2)[0], i) for i in (0, 1))
    twice = Plan(5, False, {3: other.box, 4: one.box, 7: one.box})
    (seen,) = look(ask, [image], twice, FollowSettings())
    assert sorted(seen.followed) == [3, 4]
    assert seen.anew
    assert seen.fresh == ()


def test_people_who_meet_and_part_are_two_again(blobs):
    def frame(i):
        x = 20 + 4 * i
        return blobs.draw(48, 96, {0: (x, 24), 1: (96 - x, 24)})

    table = follow(blobs.BlobAsk(), [frame(i) for i in range(15)])
    assert table.frame[table.person == 1][-3:].tolist() == [12, 13, 14]
    assert (np.bincount(table.frame) <= 2).all()


def test_alike(blobs):
    one = settled(blobs.posed((30, 30), 0.9))
    assert alike(one, settled(blobs.posed((30.5, 30), 0.4)))
    assert not alike(one, settled(blobs.posed((45, 30), 0.9)))
    exchanged = replace(one, points=one.points[::-1])  # the joints disagree, the boxes do not
    assert alike(one, exchanged)


@pytest.mark.parametrize("seed", range(5))
def test_rows_do_not_depend_on_who_is_faster(blobs, seed):
    random = np.random.default_rng(seed)

    class Uneven(blobs.BlobAsk):
        def __call__(self, image, boxes):
            self.delay = random.uniform(0, 0.004)
            return super().__call__(image, boxes)

    frames = blobs.walk(12) + [blobs.draw(48, 96, {})] * 3 + blobs.walk(25, people=2)
    expected = follow(blobs.BlobAsk(), frames, FollowSettings(detect_every=6))
    assert follow(Uneven(), frames, FollowSettings(detect_every=6)).equals(expected)


def test_a_frame_that_does_not_look_waits_for_one_that_does():
    follower = Follower(FollowSettings(search_every=5))
    assert follower.ready()
    assert follower.plan().anew
    assert not follower.ready()  # the first look mostly shows somebody
    follower.take([Seen({}, (), True)])
    for number in (5, 10):  # nobody is there: two searches side by side
        assert follower.ready()
        assert (plan := follower.plan()).anew
        assert (plan.number, plan.count) == (number, 5)


def test_joints_under_the_threshold_are_left_out_of_rows_only(blobs):
    pose = blobs.posed((30, 30), 0.9)
    pose.scores[:3] = 0.1
    settings = FollowSettings(joint_threshold=0.5)
    assert visible(pose, settings).names == pose.names[3:]
    assert visible(pose, FollowSettings()) is pose


def test_an_error_of_the_ask_ends_the_video(blobs):
    class Broken(blobs.BlobAsk):
        def __call__(self, image, boxes):
            raise InvalidRequest("image", "no")

    with pytest.raises(InvalidRequest, match="image: no"):
        follow(Broken(), blobs.walk(5))


@pytest.mark.parametrize(
    ("wrong", "option"),
    [({"detect_every": 0}, "--detect-every"), ({"keep": 2.0}, "--person-threshold"), ({"search_every": 0}, "--search")],
)
def test_settings_are_checked(wrong, option):
    with pytest.raises(InvalidRequest, match=option):
        FollowSettings(**wrong)
