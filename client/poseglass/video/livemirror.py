"""Mirrored pictures: as in a mirror, people stand on their own side, and keep their own left and right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from poseglass.video.asking import Asker
from poseglass.video.orientation import Image
from poseglass_core.geometry import Box
from poseglass_core.poses import Pose


def mirrored(image: Image) -> Image:
    """A picture, left and right exchanged: x becomes width - 1 - x."""
    return np.ascontiguousarray(image[:, ::-1])


class MirrorAsk:
    """Asks about mirrored pictures. A model sees a left hand there as a right one, so names change places.

    Args:
        asker: stays the caller's to close.
    """

    def __init__(self, asker: Asker) -> None:
        self.facts, self._asker = asker.facts, asker

    def __call__(self, image: Image, boxes: Sequence[Box]) -> list[Pose]:
        """Poses in a mirrored picture, their joints named by the person's own sides; see `Ask`."""
        return [with_own_sides(pose) for pose in self._asker(image, boxes)]

    def heatmaps(self, image: Image, boxes: Sequence[Box]) -> list[Pose]:
        """The same, with heatmaps."""
        return [with_own_sides(pose) for pose in self._asker.heatmaps(image, boxes)]

    def close(self) -> None:
        """Let go of it; the asker itself stays."""


def with_own_sides(pose: Pose) -> Pose:
    """The same points, under the names that their mirror images have."""
    joints, index = pose.skeleton.joints, pose.skeleton.flip_index

    def renamed(names: Sequence[str]) -> list[str]:
        return [joints[index[joints.index(name)]] for name in names]

    names = renamed(pose.names)
    order = sorted(range(len(names)), key=lambda i: joints.index(names[i]))
    return replace(
        pose,
        names=tuple(names[i] for i in order),
        points=pose.points[order],
        scores=pose.scores[order],
        heatmap_names=tuple(renamed(pose.heatmap_names)),
    )
