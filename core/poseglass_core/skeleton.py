"""What a model's joints are called and how they hang together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Skeleton:
    """Joint names, the limbs between them, their mirror images and the angles they span.

    Attributes:
        joints: names, in the order of the heatmaps.
        limbs: pairs of names to draw a line between.
        flip_pairs: pairs of names that change places in a mirror; each joint at most once.
        angles: angle name -> (end, vertex, end); usually named after the vertex.
        reference: the pair whose distance normalises PCK, or "box" for the box's longer side.
        sigmas: per-joint fall-off of object keypoint similarity (COCO's meaning); empty where none were measured.

    Raises:
        ValueError: a name is unknown, repeated or empty; a flip pair overlaps another; a sigma is not positive.
    """

    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...] = ()
    flip_pairs: tuple[tuple[str, str], ...] = ()
    angles: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    reference: tuple[str, str] | str = "box"
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.joints or not all(isinstance(j, str) and j for j in self.joints):
            raise ValueError("joints must be a non-empty list of non-empty names")
        if len(set(self.joints)) != len(self.joints):
            raise ValueError("joints holds a name twice")
        for what, groups, size in (
            ("limbs", self.limbs, 2),
            ("flip_pairs", self.flip_pairs, 2),
            ("angles", tuple(self.angles.values()), 3),
        ):
            for group in groups:
                if len(group) != size or len(set(group)) != size:
                    raise ValueError(f"{what}: {list(group)} must name {size} different joints")
                self._check_names(what, group)
        paired = [name for pair in self.flip_pairs for name in pair]
        if len(set(paired)) != len(paired):
            raise ValueError("flip_pairs: a joint is in two pairs")
        if self.reference != "box":
            if isinstance(self.reference, str) or len(set(self.reference)) != 2:
                raise ValueError(f'reference must be "box" or a pair of joints, not {self.reference!r}')
            self._check_names("reference", self.reference)
        if self.sigmas and (len(self.sigmas) != len(self.joints) or min(self.sigmas) <= 0):
            raise ValueError("sigmas must hold one positive number a joint, or none at all")

    def _check_names(self, what: str, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.joints:
                raise ValueError(f"{what}: no joint is called {name!r}")

    def index(self, joint: str) -> int:
        """Position of a joint in `joints`; ValueError where there is none of that name."""
        self._check_names("joint", (joint,))
        return self.joints.index(joint)

    @property
    def flip_index(self) -> list[int]:
        """For each joint, the joint it becomes in a mirror."""
        index = list(range(len(self.joints)))
        for a, b in self.flip_pairs:
            i, j = self.index(a), self.index(b)
            index[i], index[j] = j, i
        return index

    @property
    def limb_index(self) -> list[tuple[int, int]]:
        """Limbs as positions in `joints`."""
        return [(self.index(a), self.index(b)) for a, b in self.limbs]

    def to_json(self) -> dict[str, Any]:
        """The skeleton's part of a manifest."""
        return {
            "joints": list(self.joints),
            "limbs": [list(limb) for limb in self.limbs],
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "angles": {name: list(triple) for name, triple in self.angles.items()},
            "reference": self.reference if isinstance(self.reference, str) else list(self.reference),
            "sigmas": list(self.sigmas),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Skeleton:
        """Inverse of `to_json`; keys other than the skeleton's are ignored."""
        reference = value.get("reference", "box")
        return cls(
            joints=tuple(value["joints"]),
            limbs=tuple(tuple(limb) for limb in value.get("limbs", ())),
            flip_pairs=tuple(tuple(pair) for pair in value.get("flip_pairs", ())),
            angles={name: tuple(triple) for name, triple in value.get("angles", {}).items()},
            reference=reference if isinstance(reference, str) else tuple(reference),
            sigmas=tuple(value.get("sigmas", ())),
        )


def mirror_name(joint: str) -> str:
    """The name a joint has in a mirror, by the left/right convention of common data sets; itself where it has none."""
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        if left in joint:
            return joint.replace(left, right, 1)
        if right in joint:
            return joint.replace(right, left, 1)
    for left, right in (("l_", "r_"), ("L_", "R_"), ("L", "R")):
        if joint.startswith(left):
            return right + joint[len(left) :]
        if joint.startswith(right):
            return left + joint[len(right) :]
    return joint


def skeleton_from_names(joints: Sequence[str], limbs: Sequence[tuple[str, str]] = ()) -> Skeleton:
    """A skeleton for names that no built-in one knows.

    Flip pairs are read from left/right in the names; each joint in the middle of exactly two limbs gives an angle.

    Args:
        joints: names in heatmap order.
        limbs: pairs of names.
    """
    pairs = []
    for joint in joints:
        other = mirror_name(joint)
        if other != joint and other in joints and (other, joint) not in pairs:
            pairs.append((joint, other))
    neighbours: dict[str, list[str]] = {}
    for a, b in limbs:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    angles = {j: (n[0], j, n[1]) for j, n in neighbours.items() if len(set(n)) == len(n) == 2}
    known = next((s for s in BUILT_IN.values() if set(s.joints) == set(joints)), None)
    if known is not None and known.joints == tuple(joints):
        return known
    return Skeleton(tuple(joints), tuple((a, b) for a, b in limbs), tuple(pairs), angles)


_SIDED_ANGLES = {
    f"{side}_{vertex}": (f"{side}_{a}", f"{side}_{vertex}", f"{side}_{b}")
    for side in ("left", "right")
    for vertex, a, b in (
        ("elbow", "shoulder", "wrist"),
        ("knee", "hip", "ankle"),
        ("shoulder", "elbow", "hip"),
        ("hip", "shoulder", "knee"),
    )
}
_SIDED_LIMBS = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("right", "left")
    for a, b in (("ankle", "knee"), ("knee", "hip"), ("wrist", "elbow"), ("elbow", "shoulder"), ("shoulder", "hip"))
)
_SIDED_PAIRS = tuple((f"left_{j}", f"right_{j}") for j in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder"))

LSP = Skeleton(
    joints=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head_top",
    ),
    limbs=(
        *_SIDED_LIMBS,
        ("right_hip", "left_hip"),
        ("right_shoulder", "neck"),
        ("left_shoulder", "neck"),
        ("neck", "head_top"),
    ),
    flip_pairs=_SIDED_PAIRS,
    angles=_SIDED_ANGLES,
    reference=("left_shoulder", "right_hip"),
    # COCO's constants for the twelve limb joints; neck and head top, which COCO lacks, take its shoulder's.
    sigmas=(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
)
"""The 14 joints of the Leeds Sports Pose data sets; left and right are the person's own."""

COCO = Skeleton(
    joints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=(
        *_SIDED_LIMBS,
        ("right_hip", "left_hip"),
        ("right_shoulder", "left_shoulder"),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
    ),
    flip_pairs=(("left_eye", "right_eye"), ("left_ear", "right_ear"), *_SIDED_PAIRS),
    angles=_SIDED_ANGLES,
    reference=("left_shoulder", "right_hip"),
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
        *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
)
"""The 17 joints of the COCO keypoint task."""

BUILT_IN: dict[str, Skeleton] = {"lsp": LSP, "coco": COCO}
