"""Bodies in colour: the parts of a figure, painted from the farthest to the nearest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_training.figures.bodies import SIDES, Body, Camera
from poseglass_training.figures.clothes import Colour, Look
from poseglass_training.figures.painting import CIRCLE, LAYERS, PARTS, Painter


@dataclass(frozen=True)
class _Limb:
    """Name of the part, the points it runs between, its radii there in body heights, and where depths tie, its turn."""

    part: str
    ends: tuple[str, str]
    radii: tuple[float, float]
    ahead: float


# Where depths tie, arms are in front of the trunk, and the trunk in front of the legs.
_LIMBS = (
    _Limb("upper_arm", ("shoulder", "elbow"), (0.034, 0.026), 0.02),
    _Limb("forearm", ("elbow", "wrist"), (0.026, 0.018), 0.021),
    _Limb("hand", ("wrist", "hand"), (0.02, 0.016), 0.022),
    _Limb("thigh", ("hip", "knee"), (0.055, 0.038), -0.01),
    _Limb("shin", ("knee", "ankle"), (0.038, 0.023), -0.01),
    _Limb("foot", ("heel", "toe"), (0.024, 0.018), 0.0),
)


def paint_body(painter: Painter, body: Body, look: Look, camera: Camera) -> None:
    """Paint a body, far parts first."""
    figure = _Figure(painter, body, look, camera)
    pieces: list[tuple[float, Callable[[], None]]] = [
        (figure.depth("neck", "waist"), figure.trunk),
        (figure.depth("neck", "head_top") - 0.02, figure.neck),
        (figure.depth("neck", "head_top"), figure.head),
    ]
    for side in SIDES:
        for limb in _LIMBS:
            ends = (f"{side}_{limb.ends[0]}", f"{side}_{limb.ends[1]}")
            paint = partial(figure.limb, PARTS.index(f"{side}_{limb.part}"), ends, limb.radii, *_cover(look, limb.part))
            pieces.append((figure.depth(*ends) + limb.ahead, paint))
    for _, paint_piece in sorted(pieces, key=lambda piece: piece[0]):
        paint_piece()


def _cover(look: Look, part: str) -> tuple[Colour, Colour, float]:
    """(skin, cloth, share of the limb under the cloth)."""
    match part:
        case "upper_arm":
            return look.skin, look.shirt, min(look.sleeve, 1.0)
        case "forearm":
            return look.skin, look.shirt, max(look.sleeve - 1, 0.0)
        case "thigh":
            return look.skin, look.trousers, min(look.leg, 1.0)
        case "shin":
            return look.skin, look.trousers, max(look.leg - 1, 0.0)
        case "foot":
            return look.shoes, look.shoes, 0.0
        case _:
            return look.skin, look.skin, 0.0


class _Figure:
    """The parts of one figure, each painted by a method."""

    def __init__(self, painter: Painter, body: Body, look: Look, camera: Camera) -> None:
        self.painter, self.body, self.look, self.camera = painter, body, look, camera
        pixels = camera.project(np.stack(list(body.points.values())))
        self.at = dict(zip(body.points, pixels, strict=True))  # name -> [2]

    def depth(self, *names: str) -> float:
        """Mean nearness to the camera of some points, in body heights."""
        return float(np.mean([self.body.points[name][2] for name in names]))

    def size(self, name: str, length: float) -> float:
        """Pixels of a girth at a point."""
        return self.camera.nearness(float(self.body.points[name][2])) * length * self.body.girth

    def limb(
        self, part: int, ends: tuple[str, str], radii: tuple[float, float], skin: Colour, cloth: Colour, cover: float
    ) -> None:
        """A limb between two points, its first `cover` (0 ... 1) under a cloth."""
        painter = self.painter
        centres = np.stack([self.at[name] for name in ends])
        sizes = np.array([self.size(name, radius) for name, radius in zip(ends, radii, strict=True)])
        if cover < 1:
            painter.solid(centres, sizes, skin, part)
        if cover > 0:
            end = centres[0] + cover * (centres[1] - centres[0])
            width = sizes[0] + cover * (sizes[1] - sizes[0])
            sleeve = np.stack([centres[0], end])
            painter.solid(sleeve, np.array([sizes[0], width]) * 1.12, cloth, part)
            if self.look.stripes:
                painter.stroke(sleeve - painter.light * sizes[:, None] * 0.3, 0.35 * width, self.look.trim)

    def neck(self) -> None:
        """From between the shoulders into the head."""
        middle = self.at["neck"] + 0.55 * (self.at["head_top"] - self.at["neck"])
        centres, radius = np.stack([self.at["neck"], middle]), self.size("neck", 0.028)
        self.painter.solid(centres, np.array([radius * 1.2, radius]), self.look.skin * 0.92, PARTS.index("neck"))

    def trunk(self) -> None:
        """Trousers, then the shirt over them, then what tells front from back."""
        look, at, body = self.look, self.at, self.body
        part = PARTS.index("trunk")
        shoulders = np.stack([at["left_shoulder"], at["right_shoulder"]])
        hips = np.stack([at["left_hip"], at["right_hip"]])
        reach = body.points["left_shoulder"] - body.points["right_shoulder"]
        waist = self.camera.project(body.points["waist"] + np.array([[0.32], [-0.32]]) * reach)
        low, mid, top = (self.size(name, r) for name, r in (("left_hip", 0.055), ("waist", 0.05), ("neck", 0.046)))

        def hull(a: NDArray[np.float64], b: NDArray[np.float64], ra: float, rb: float, paint: Colour) -> None:
            centres = np.concatenate([a, b])
            axis = np.repeat([a.mean(axis=0), b.mean(axis=0)], 2, axis=0)
            self.painter.solid(centres, np.array([ra, ra, rb, rb]), paint, part, axis)

        hull(hips, waist, low, mid, look.trousers)
        hem = waist + 0.55 * (hips - waist)
        hull(waist, hem, mid * 1.06, mid * 1.1, look.shirt)
        hull(shoulders, waist, top, mid * 1.06, look.shirt)
        self._marks()

    def _marks(self) -> None:
        """What tells front from back: collar, buttons or print; number, yoke or pack."""
        look, chest = self.look, self.body.chest
        front = chest[2, 2] > 0
        face = 1.0 if front else -1.0
        if abs(chest[2, 2]) < 0.15:
            return
        base = self.body.points["neck"]
        span = float(np.linalg.norm(self.body.points["waist"] - base))
        half = float(np.linalg.norm(self.body.points["left_shoulder"] - self.body.points["right_shoulder"])) / 2
        unit = self.size("neck", 0.01)

        def on(*places: tuple[float, float]) -> NDArray[np.float64]:
            """(across: -1 ... 1 from the person's right to left; down: 0 neck ... 1 waist) on the surface."""
            flat = np.array([(u * half, v * span, face * 0.03 * self.body.girth) for u, v in places])
            return self.camera.project(base + flat @ chest.T)

        if front:
            if look.front == "open":
                self.painter.polygon(on((-0.22, 0.03), (0.22, 0.03), (0.28, 1.05), (-0.28, 1.05)), look.trim)
            elif look.front == "buttons":
                self.painter.stroke(on((0, 0.2), (0, 1.1)), 0.7 * unit, look.trim)
            else:
                self.painter.polygon(on((-0.5, 0.42), (0.5, 0.42), (0.5, 0.72), (-0.5, 0.72)), look.trim)
            self.painter.polygon(on((-0.33, 0.0), (0.33, 0.0), (0, 0.32)), look.skin * 0.95)
        elif look.back == "number":
            for u in (-0.36, 0.14):
                self.painter.polygon(on((u, 0.3), (u + 0.22, 0.3), (u + 0.22, 0.85), (u, 0.85)), look.trim)
        elif look.back == "yoke":
            self.painter.polygon(on((-1, 0.1), (1, 0.1), (0.95, 0.32), (-0.95, 0.32)), look.trim)
        else:
            self.painter.polygon(on((-0.6, 0.12), (0.6, 0.12), (0.7, 1.05), (-0.7, 1.05)), look.shoes * 0.8)
            self.painter.polygon(on((-0.5, 0.2), (0.5, 0.2), (0.58, 0.95), (-0.58, 0.95)), look.shoes)

    def head(self) -> None:
        """Skull, face, features and hair; the face only where it is turned to the camera."""
        look, body = self.look, self.body
        frame, part = body.head, PARTS.index("head")
        length = float(np.linalg.norm(body.points["head_top"] - body.points["neck"]))
        axes = np.array([0.31, 0.38, 0.34]) * length  # across, along, front to back
        centre = body.points["neck"] - frame[:, 1] * 0.62 * length

        def on(directions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            """Directions [K, 3] (left, down, front) to pixels on the skull, and which of them are seen."""
            unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
            normals = (unit / axes) @ frame.T
            return self.camera.project(centre + (unit * axes) @ frame.T), normals[:, 2] > 0

        crown = look.skin * 0.97 if look.bald else look.hair
        if look.long_hair and not look.bald:
            behind = self.camera.project(
                np.stack(
                    [centre - 0.08 * length * frame[:, 2], centre + (0.5 * frame[:, 1] - 0.2 * frame[:, 2]) * length]
                )
            )
            if frame[2, 2] > 0:  # seen from the front, the hair is behind the face
                self.painter.solid(behind, np.array([0.34, 0.3]) * length * self.camera.scale, crown, part)
        outline, _ = on(_SPHERE)
        hull = np.asarray(cv2.convexHull(outline.astype(np.float32))[:, 0])
        middle = hull.mean(axis=0)
        for share, towards, brightness in LAYERS[:3]:
            shift = towards * self.painter.light * axes[0] * self.camera.scale
            self.painter.polygon(
                middle + share * (hull - middle) + shift, crown * brightness, part if share == 1 else None
            )
        face, seen = on(_FACE)
        if seen.sum() >= 3:
            ring = np.asarray(cv2.convexHull(face[seen].astype(np.float32))[:, 0])
            self.painter.polygon(ring, look.skin * 0.84)
            middle = ring.mean(axis=0)
            self.painter.polygon(
                middle + 0.82 * (ring - middle) + 0.06 * length * self.camera.scale * self.painter.light, look.skin
            )
        marks, seen = on(_FEATURES)
        unit = self.camera.scale * length
        dark = look.skin * 0.45
        for eye in (0, 1):
            if seen[eye]:
                self.painter.polygon(marks[eye] + 0.06 * unit * CIRCLE, np.full(3, 235.0))
                self.painter.polygon(marks[eye] + 0.035 * unit * CIRCLE, np.full(3, 25.0))
        if seen[2:4].all():
            self.painter.stroke(marks[2:4], 0.05 * unit, dark)
        if seen[4]:
            tip = self.camera.project(centre + np.array([0, 0.1, 1.3]) * axes @ frame.T)
            self.painter.solid(np.stack([marks[4], tip]), np.array([0.04, 0.055]) * unit, look.skin * 0.9, part)
        for ear, sign in ((5, 1.0), (6, -1.0)):
            if sign * frame[2, 0] > 0.1:  # the ear on the side that is turned to the camera
                self.painter.polygon(marks[ear] + 0.075 * unit * CIRCLE, look.skin * 0.8)
        if look.long_hair and not look.bald and frame[2, 2] <= 0:
            self.painter.solid(behind, np.array([0.34, 0.3]) * unit, crown, part)


def _sphere(count: int) -> NDArray[np.float64]:
    """Evenly spread directions (Fibonacci's spiral)."""
    k = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k
    return np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)


_SPHERE = _sphere(120)
# Everything of a skull that is turned to the front and a little down is face, the rest under the hair.
_FACE = _SPHERE[_SPHERE @ np.array([0, 0.42, 0.91]) > 0.3]
# Eyes, ends of the mouth, root of the nose, ears: (left, down, front).
_FEATURES = np.array(
    [
        [0.38, -0.12, 0.9],
        [-0.38, -0.12, 0.9],
        [0.28, 0.5, 0.8],
        [-0.28, 0.5, 0.8],
        [0, -0.05, 1],
        [1, 0.08, 0],
        [-1, 0.08, 0],
    ]
)
