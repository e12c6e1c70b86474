"""Skeletons: what they refuse, and what is read out of names."""

from __future__ import annotations

import pytest

from poseglass_core.skeleton import COCO, LSP, Skeleton, mirror_name, skeleton_from_names


def test_flip_index_is_its_own_inverse():
    for skeleton in (LSP, COCO):
        index = skeleton.flip_index
        assert [index[i] for i in index] == list(range(len(skeleton.joints)))
        assert [mirror_name(skeleton.joints[i]) for i in index] == list(skeleton.joints)


def test_json_round_trip():
    for skeleton in (LSP, COCO, Skeleton(("a",))):
        assert Skeleton.from_json(skeleton.to_json()) == skeleton


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"joints": ()}, "joints must be"),
        ({"joints": ("a", "a")}, "twice"),
        ({"joints": ("a", "")}, "non-empty"),
        ({"joints": ("a", "b"), "limbs": (("a", "c"),)}, "limbs: no joint is called 'c'"),
        ({"joints": ("a", "b"), "limbs": (("a", "a"),)}, "2 different joints"),
        ({"joints": ("a", "b", "c"), "flip_pairs": (("a", "b"), ("b", "c"))}, "in two pairs"),
        ({"joints": ("a", "b"), "angles": {"x": ("a", "b", "z")}}, "angles: no joint"),
        ({"joints": ("a", "b"), "reference": "torso"}, "reference must be"),
        ({"joints": ("a", "b"), "reference": ("a", "c")}, "reference: no joint"),
        ({"joints": ("a", "b"), "sigmas": (0.1,)}, "one positive number a joint"),
        ({"joints": ("a", "b"), "sigmas": (0.1, 0.0)}, "one positive number a joint"),
    ],
)
def test_nonsense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Skeleton(**settings)


def test_a_skeleton_is_read_from_names():
    dog = skeleton_from_names(
        ["nose", "L_F_Paw", "L_F_Knee", "R_F_Paw", "R_F_Knee"], [("nose", "L_F_Knee"), ("L_F_Knee", "L_F_Paw")]
    )
    assert dog.flip_index == [0, 3, 4, 1, 2]
    assert dog.angles == {"L_F_Knee": ("nose", "L_F_Knee", "L_F_Paw")}
    assert skeleton_from_names(LSP.joints) is LSP
