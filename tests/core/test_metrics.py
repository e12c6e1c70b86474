"""PCK on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from poseglass_core.metrics import pck, reference_lengths
from poseglass_core.skeleton import Skeleton

SKELETON = Skeleton(("hip", "shoulder", "hand"), reference=("shoulder", "hip"))
TRUTH = np.array([[[0, 0], [0, 100], [50, 50]]] * 2, dtype=np.float32)
SEEN = np.array([[True, True, True], [True, True, False]])
BOXES = np.array([[0, 0, 40, 120]] * 2, dtype=float)


def lengths() -> np.ndarray:
    return reference_lengths(SKELETON, TRUTH, SEEN, BOXES)


def test_a_joint_is_right_within_a_fifth_of_the_torso():
    answer = TRUTH.copy()
    answer[0, 2] += (20, 0)  # exactly 0.2 x 100: right
    answer[1, 0] += (20.1, 0)  # just over: wrong
    answer[1, 2] += 1000  # not labelled: does not count
    result = pck(SKELETON, answer, TRUTH, SEEN, lengths())
    assert result.per_joint == {"hip": 50.0, "shoulder": 100.0, "hand": 100.0}
    assert result.pck == pytest.approx(250 / 3)
    assert result.interval[0] <= result.pck <= result.interval[1]
    assert result.people == 2


def test_nobody_found_is_all_wrong():
    assert pck(SKELETON, np.full_like(TRUTH, np.nan), TRUTH, SEEN, lengths()).pck == 0


def test_people_without_a_reference_are_left_out():
    hidden = SEEN.copy()
    hidden[0, 0] = False
    result = pck(SKELETON, TRUTH, TRUTH, hidden, reference_lengths(SKELETON, TRUTH, hidden, BOXES))
    assert (result.people, result.left_out) == (1, 1)
    tiny = TRUTH * 0.07  # a torso of 7 px
    with pytest.raises(ValueError, match="no person has a reference length"):
        pck(SKELETON, tiny, tiny, SEEN, reference_lengths(SKELETON, tiny, SEEN, BOXES))


def test_the_box_can_be_the_reference():
    skeleton = Skeleton(SKELETON.joints)
    assert reference_lengths(skeleton, TRUTH, SEEN, BOXES).tolist() == [120, 120]


def test_a_subset_of_joints():
    answer = TRUTH.copy()
    answer[:, 2] += 1000
    assert pck(SKELETON, answer, TRUTH, SEEN, lengths(), joints=("hip", "shoulder")).pck == 100


def test_the_interval_narrows_with_people():
    rng = np.random.default_rng(0)
    widths = []
    for people in (20, 500):
        truth = np.repeat(TRUTH[:1], people, axis=0)
        answer = truth + rng.normal(0, 15, truth.shape)
        seen = np.ones((people, 3), bool)
        result = pck(SKELETON, answer, truth, seen, np.full(people, 100.0))
        widths.append(result.interval[1] - result.interval[0])
    assert widths[1] < widths[0] / 2
