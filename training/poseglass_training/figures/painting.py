"""Shaded, anti-aliased shapes on a picture, and which of them is on top where."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.skeleton import LSP
from poseglass_training.figures.backgrounds import SHIFT, fixed
from poseglass_training.figures.bodies import SIDES
from poseglass_training.figures.clothes import Colour

PARTS = (
    "background",
    "trunk",
    "head",
    "neck",
    *(f"{side}_{part}" for side in SIDES for part in ("upper_arm", "forearm", "hand", "thigh", "shin", "foot")),
)
OCCLUDER = len(PARTS)
"""In the map of parts: something in front of the figure."""

_BESIDE = {
    "shoulder": ("upper_arm",),
    "elbow": ("upper_arm", "forearm"),
    "wrist": ("forearm", "hand"),
    "hip": ("thigh",),
    "knee": ("thigh", "shin"),
    "ankle": ("shin", "foot"),
}
_TRUNK = {"shoulder": ("trunk", "neck"), "hip": ("trunk",)}


def _own_parts(joint: str) -> tuple[str, ...]:
    if joint == "neck":
        return ("neck", "trunk", "head")
    if joint == "head_top":
        return ("head",)
    side, name = joint.split("_")
    return (*(f"{side}_{part}" for part in _BESIDE[name]), *_TRUNK.get(name, ()))


OWN_PARTS = [{0, *(PARTS.index(part) for part in _own_parts(joint))} for joint in LSP.joints]
"""For each joint, the parts that may lie on top of it without hiding it (its own, and the background at an outline)."""

LAYERS = ((1.0, 0.0, 0.66), (0.8, 0.17, 0.86), (0.55, 0.38, 1.0), (0.28, 0.55, 1.12))
"""A round body under a light: (share of the radius, way towards the light, brightness), from the outline inwards."""

CIRCLE = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 14, endpoint=False)), np.sin(a)], axis=1)


class Painter:
    """Paints shapes on a picture, and remembers which part is on top of every pixel.

    Args:
        canvas: [height, width, 3] uint8, painted in place.
        light: [2] where light comes from in the picture's plane; its length, at most 1, is how
            much it comes from aside.
    """

    def __init__(self, canvas: NDArray[np.uint8], light: NDArray[np.float64]) -> None:
        self.canvas, self.light = canvas, light
        self.parts = np.zeros(canvas.shape[:2], np.uint8)

    def polygon(self, outline: NDArray[Any], colour: Colour, part: int | None = None) -> None:
        """A convex polygon of one colour; with `part`, it is on top of what was there."""
        corners = fixed(outline)
        cv2.fillConvexPoly(self.canvas, corners, np.clip(colour, 0, 255).tolist(), cv2.LINE_AA, SHIFT)
        if part is not None:
            cv2.fillConvexPoly(self.parts, corners, part, cv2.LINE_8, SHIFT)

    def solid(
        self,
        centres: NDArray[np.float64],
        radii: NDArray[np.float64],
        colour: Colour,
        part: int,
        axis: NDArray[np.float64] | None = None,
    ) -> None:
        """The shaded hull of some circles: two make a limb.

        Args:
            centres: [K, 2].
            radii: [K].
            colour: where the light falls.
            part: position in `PARTS`.
            axis: [K, 2] where each centre moves to as the shading goes inwards; default: it stays.
        """
        axis = centres if axis is None else axis
        for share, towards, brightness in LAYERS:
            middles = axis + share * (centres - axis) + (towards * radii)[:, None] * self.light
            rings = middles[:, None] + share * radii[:, None, None] * CIRCLE
            outline = cv2.convexHull(rings.reshape(-1, 2).astype(np.float32))[:, 0]
            self.polygon(np.asarray(outline), colour * brightness, part if share == 1.0 else None)

    def stroke(self, points: NDArray[np.float64], thickness: float, colour: Colour) -> None:
        """A line through some points."""
        line = fixed(points).reshape(-1, 1, 2)
        paint = np.clip(colour, 0, 255).tolist()
        cv2.polylines(self.canvas, [line], False, paint, max(1, round(thickness)), cv2.LINE_AA, SHIFT)
