"""Object keypoint similarity and AP: cases that can be counted by hand, and one that COCO's own code judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseglass_core.geometry import Box
from poseglass_core.metrics import Comparison
from poseglass_core.oks import average_precision, object_keypoint_similarity, oks_ap, without_duplicates
from poseglass_core.skeleton import LSP


def compared(people: int = 12) -> Comparison:
    """People of different sizes; person i's joints are off by 2 i pixels to the right, and by a few down."""
    rows, columns = np.arange(people)[:, None], np.arange(14)[None]
    truth = np.stack([40 + 7.0 * columns + rows, 30 + 11.0 * columns - rows], axis=2)
    predicted = truth + np.stack([2.0 * rows + 0 * columns, 0.5 * columns + 0 * rows], axis=2)
    scores = np.broadcast_to((rows % 5) / 5 + rows / 100, (people, 14))
    visible = (rows + columns) % 4 != 0
    boxes = np.column_stack([np.zeros((people, 2)), 60 + 9.0 * rows, 90 + 5.0 * rows])
    return Comparison(LSP, LSP.joints, predicted, scores, truth, visible, boxes, np.full(people, 50.0))


def test_similarity_is_the_mean_of_the_labelled_joints():
    truth = np.zeros((1, 2, 2))
    predicted = np.array([[[3.0, 4.0], [100.0, 0.0]]])
    area, sigmas = np.array([1000.0]), np.array([0.05, 0.1])
    first = np.exp(-25 / (2 * 1000 * 0.1**2))
    second = np.exp(-10000 / (2 * 1000 * 0.2**2))
    both = object_keypoint_similarity(predicted, truth, np.ones((1, 2), bool), area, sigmas)
    assert both == pytest.approx([(first + second) / 2])
    one = object_keypoint_similarity(predicted, truth, np.array([[True, False]]), area, sigmas)
    assert one == pytest.approx([first])
    predicted[0, 1] = np.nan  # not found: as wrong as can be
    assert object_keypoint_similarity(predicted, truth, np.ones((1, 2), bool), area, sigmas) == pytest.approx(first / 2)


def test_precision_is_read_off_at_101_recalls():
    similarity = np.array([0.0, 1.0])
    # Wrong first: precision is 1/2 up to recall 1/2, then nothing. Right first: 1 up to there.
    assert average_precision(similarity, np.array([0.9, 0.8])) == pytest.approx(51 / 101 / 2)
    assert average_precision(similarity, np.array([0.8, 0.9])) == pytest.approx(51 / 101)
    # Not found at all is not a wrong answer, only a missing one.
    assert average_precision(similarity, np.array([np.nan, 0.1])) == pytest.approx(51 / 101)
    assert average_precision(similarity, np.array([np.nan, np.nan])).tolist() == [0] * 10


def test_a_similarity_at_the_threshold_counts():
    assert average_precision(np.array([0.75]), np.ones(1)) == pytest.approx([1] * 6 + [0] * 4)


def test_figures_are_those_of_coco():
    # pycocotools 2.0.11 with the same sigmas, areas of 0.53 x the boxes' and one picture a person.
    result = oks_ap(compared())
    assert (result.ap, result.ap50, result.ap75) == pytest.approx((26.12486249, 78.60286029, 11.22112211))
    assert result.people == 12


def test_only_people_counted_with_a_label_are_looked_at():
    full = compared()
    lengths = full.lengths.copy()
    lengths[6:] = np.nan
    visible = full.visible.copy()
    visible[0] = False
    some = oks_ap(replace(full, lengths=lengths, visible=visible))
    assert some.people == 5
    assert some == oks_ap(full.rows(np.isin(np.arange(12), [1, 2, 3, 4, 5])))
    with pytest.raises(ValueError, match="no person counted has a labelled joint"):
        oks_ap(replace(full, visible=np.zeros_like(visible)))
    with pytest.raises(ValueError, match="no sigmas"):
        oks_ap(replace(full, skeleton=replace(LSP, sigmas=())))


def test_joints_that_are_not_compared_do_not_matter():
    full = compared()
    predicted = full.predicted.copy()
    predicted[:, LSP.index("neck")] += 1000
    joints = tuple(name for name in LSP.joints if name != "neck")
    assert oks_ap(replace(full, joints=joints, predicted=predicted)) == oks_ap(replace(full, joints=joints))
    assert oks_ap(replace(full, predicted=predicted)).ap < oks_ap(full).ap


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_ap_is_a_share_and_falls_with_the_threshold(people):
    similarity, scores = np.array(people).T
    aps = average_precision(similarity, scores)
    assert (aps >= 0).all()
    assert (aps <= 1).all()
    assert (np.diff(aps) <= 1e-12).all()


def test_the_more_certain_of_two_alike_poses_is_kept():
    pose = np.random.default_rng(0).uniform(0, 100, (14, 2))
    joints = np.stack([pose, pose + 1, pose + np.array([300, 0]), pose + np.array([0, 13])])
    boxes = [Box(0, 0, 100, 100)] * 4
    scores = np.array([0.5, 0.9, 0.1, 0.7])
    assert without_duplicates(joints, scores, boxes, LSP.sigmas, 0.7) == [1, 3, 2]
    assert without_duplicates(joints, scores, boxes, LSP.sigmas, 0.3) == [1, 2]
    assert without_duplicates(joints, scores, boxes, LSP.sigmas, 1.0) == [1, 3, 0, 2]
    assert without_duplicates(joints, scores, boxes, (), 0.7) == [1, 3, 2]
    assert without_duplicates(joints[:0], scores[:0], [], LSP.sigmas, 0.7) == []


def test_large_people_may_be_further_apart_and_still_be_one():
    joints = np.stack([np.zeros((14, 2)), np.full((14, 2), 8.0)])
    for side, kept in ((40, 2), (400, 1)):
        boxes = [Box(0, 0, side, side)] * 2
        assert len(without_duplicates(joints, np.ones(2), boxes, LSP.sigmas, 0.7)) == kept


def test_joints_that_one_crop_did_not_show_make_no_second_person():
    pose = np.random.default_rng(0).uniform(0, 100, (14, 2))
    guessed = pose.copy()
    guessed[:6] += 60  # legs: out of the picture in the second crop
    boxes, certainty = [Box(0, 0, 100, 100)] * 2, np.full((2, 14), 0.9)
    pair = np.stack([pose, guessed]), np.array([0.8, 0.5]), boxes, LSP.sigmas, 0.65
    assert without_duplicates(*pair, certainty) == [0, 1]
    certainty[1, :6] = 0.2
    assert without_duplicates(*pair, certainty) == [0]
    assert without_duplicates(*pair) == [0, 1]
