"""Requests for poses, and the poses that answer them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Affine, Box
from poseglass_core.skeleton import Skeleton

PERSON = 0.2
"""Share of a perfect person's score from which a pose that was looked for is a person, where the request does not say.
With calibrated scores: presence x the mean probability of the joints. A model without presence has no such default: its
scores take it for granted that somebody is there."""


class Joint(NamedTuple):
    """One joint: name, pixel centre in the upright image, and score as the model's manifest defines it."""

    name: str
    x: float
    y: float
    score: float


@dataclass(frozen=True)
class Heatmaps:
    """A person's heatmaps.

    Attributes:
        values: [J, rows, columns] float32, in the order of the pose's `heatmap_names`.
        to_image: 2x3, heatmap (column, row, 1) -> image (x, y).
    """

    values: NDArray[np.float32]
    to_image: Affine


@dataclass(frozen=True)
class Pose:
    """One person's joints.

    Attributes:
        skeleton: of the model: all its joints, its limbs, its angles.
        names: the joints that are here (asked for, and not under the threshold), in order.
        points: [len(names), 2] float32, x and y in pixels of the upright image; (0, 0) is the top-left pixel's centre.
        scores: [len(names)] float32.
        box: given, detected, or drawn around the joints.
        score: presence x mean joint score where the model has presence, else the mean joint score.
        presence: probability that the crop holds a person; None where the model does not say.
        heatmap_names: the joints of `heatmaps`, in order (thresholds do not apply to heatmaps).
        heatmaps: where asked for.
    """

    skeleton: Skeleton
    names: tuple[str, ...]
    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    box: Box
    score: float
    presence: float | None = None
    heatmap_names: tuple[str, ...] = ()
    heatmaps: Heatmaps | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Joint]:
        return (self[name] for name in self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Joint:
        """A joint by name.

        Raises:
            KeyError: it was not asked for, or is under the threshold.
        """
        if name not in self.names:
            known = name in self.skeleton.joints
            what = (
                "is not in this pose (not asked for, or under the threshold)" if known else "is no joint of this model"
            )
            raise KeyError(f"{name!r} {what}; here are: {', '.join(self.names) or 'none'}")
        i = self.names.index(name)
        return Joint(name, float(self.points[i, 0]), float(self.points[i, 1]), float(self.scores[i]))

    def angle(self, name: str) -> float:
        """The angle at a joint between its two limbs, in degrees from 0 to 180.

        Args:
            name: of the skeleton's `angles`, e.g. "left_knee".

        Returns:
            NaN where one of the three joints is not in this pose, or two of them coincide.

        Raises:
            KeyError: the skeleton has no such angle.
        """
        if name not in self.skeleton.angles:
            raise KeyError(f"no angle is called {name!r}; there are: {', '.join(self.skeleton.angles) or 'none'}")
        triple = self.skeleton.angles[name]
        if any(joint not in self.names for joint in triple):
            return math.nan
        a, vertex, b = (self.points[self.names.index(joint)].astype(np.float64) for joint in triple)
        first, second = a - vertex, b - vertex
        if not first.any() or not second.any():
            return math.nan
        cross = first[0] * second[1] - first[1] * second[0]
        return math.degrees(math.atan2(abs(cross), float(first @ second)))

    def to_json(self) -> dict[str, Any]:
        """Joints, box and scores as plain values."""
        return {
            "score": round(self.score, 4),
            "presence": None if self.presence is None else round(self.presence, 4),
            "box": [round(side, 2) for side in self.box.to_list()],
            "joints": {j.name: {"x": round(j.x, 2), "y": round(j.y, 2), "score": round(j.score, 4)} for j in self},
        }


class Locate(Enum):
    """Where to look for people when no box is given."""

    AUTO = "auto"
    WHOLE_IMAGE = "whole"
    DETECT = "detect"


@dataclass(frozen=True)
class PoseRequest:
    """What to look for in one picture.

    Attributes:
        boxes: people already found; they win over `locate`.
        locate: used where `boxes` is empty.
        joints: names to return, in that order; empty: all.
        heatmaps: whether to return heatmaps too.
        flip_test: average with the mirrored picture.
        joint_threshold: joints under it are left out.
        person_threshold: people under it are left out (never those with a given box); None: the runtime's default.
        overlap_threshold: of two people whose joints are more alike than that, by object keypoint similarity, the less
            certain one is left out (never those with a given box); None: the runtime's default.
        max_people: the most people to look for, the most certain ones; None: as many as there are.

    Raises:
        InvalidInput: a threshold is not a number from 0 to 1.
    """

    boxes: Sequence[Box] = ()
    locate: Locate = Locate.AUTO
    joints: Sequence[str] = ()
    heatmaps: bool = False
    flip_test: bool = False
    joint_threshold: float = 0.0
    person_threshold: float | None = None
    overlap_threshold: float | None = None
    max_people: int | None = None

    def __post_init__(self) -> None:
        for name in ("joint", "person", "overlap"):
            value = getattr(self, f"{name}_threshold")
            if value is not None and not 0 <= value <= 1:
                raise InvalidInput(f"thresholds.{name}", f"must be a number from 0 to 1, not {value:g}")


@dataclass(frozen=True)
class ModelRef:
    """Which weights answered.

    Attributes:
        name, version: of the manifest.
        sha256: of the file's bytes.
    """

    name: str
    version: int
    sha256: str


@dataclass(frozen=True)
class Timings:
    """Milliseconds spent on one picture: decoding it, waiting, in the network, and all in all."""

    decode: float = 0.0
    queue: float = 0.0
    inference: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture.

    Attributes:
        poses: with given boxes one a box, in their order; else whoever was found.
        image_size: (height, width) of the upright image.
        model: the weights that ran.
        detector: the weights that found the people; None where no detector ran.
        provider: the ONNX Runtime provider that ran.
        timings: milliseconds.
        request_id, timestamp_s: echoed.
    """

    poses: list[Pose]
    image_size: tuple[int, int]
    model: ModelRef
    provider: str
    timings: Timings = field(default_factory=Timings)
    request_id: str = ""
    timestamp_s: float = 0.0
    detector: ModelRef | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything but heatmaps as plain values."""
        return {
            "image": {"height": self.image_size[0], "width": self.image_size[1]},
            "persons": [pose.to_json() for pose in self.poses],
            "model": asdict(self.model),
            "detector": None if self.detector is None else asdict(self.detector),
            "provider": self.provider,
            "timings_ms": {
                name: round(getattr(self.timings, name), 2) for name in ("decode", "queue", "inference", "total")
            },
        }
