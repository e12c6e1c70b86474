"""Bodies in three dimensions: proportions, poses and the view of them.

Axes of a body at rest, which is also how an upright figure that faces the camera stands in the picture: x to the
person's left (right in the picture), y down, z to the front (towards the camera). Lengths are in body heights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass_core.skeleton import LSP

Vector = NDArray[np.float64]
Frame = NDArray[np.float64]
"""[3, 3]: columns are a body part's left, down and front."""

SIDES = {"left": 1.0, "right": -1.0}


@dataclass(frozen=True)
class Variety:
    """How far figures stray from one that stands upright and faces the camera.

    Attributes:
        facing: largest turn away from the camera about the body's own axis, in degrees; 180 shows backs too.
        turn: largest turn in the picture's plane, in degrees, for `turned` of the figures; the others lean by up to 15.
        turned: share of figures turned by more.
        movement: how far limbs and trunk move, from 0 (hanging down) to 1 (sport).
    """

    facing: float = 180.0
    turn: float = 180.0
    turned: float = 0.35
    movement: float = 1.0


@dataclass(frozen=True)
class Body:
    """One posed body, seen by the camera.

    Attributes:
        points: name -> [3]: the joints of `LSP`, the waist, and hand, toe and heel of each side.
        chest, pelvis, head: orientation of the trunk's ends and of the head.
        girth: thickness of limbs and trunk, 1 on average.
    """

    points: dict[str, Vector]
    chest: Frame
    pelvis: Frame
    head: Frame
    girth: float

    @property
    def joints(self) -> NDArray[np.float64]:
        """[14, 3], in the order of `LSP`."""
        return np.stack([self.points[name] for name in LSP.joints])


def sample_body(rng: np.random.Generator, variety: Variety) -> Body:
    """Draw a body: its proportions, its pose, and from where it is seen."""
    size = rng.uniform(0.9, 1.1, 8)
    child = rng.random() < 0.15
    torso, neck = 0.29 * size[0], 0.19 * size[1] * (1.2 if child else 1.0)
    shoulders, hips = 0.118 * size[2], 0.068 * size[3]
    upper_arm, forearm = 0.165 * size[4] * (0.9 if child else 1.0), 0.145 * size[5]
    thigh, shin = 0.24 * size[6] * (0.85 if child else 1.0), 0.235 * size[7] * (0.85 if child else 1.0)

    view = _view(rng, variety)
    m = variety.movement
    pelvis = view
    chest = view @ _x(-rng.uniform(-12, 40) * m) @ _z(rng.uniform(-22, 22) * m) @ _y(rng.uniform(-30, 30) * m)
    middle = view @ _x(-rng.uniform(-4, 8) * m)
    head = chest @ _x(-rng.uniform(-20, 25) * m) @ _z(rng.uniform(-20, 20) * m) @ _y(rng.uniform(-50, 50) * m)

    # The spine bends half-way: from the hips up with the pelvis, on with the chest.
    waist = -middle[:, 1] * torso * 0.45
    base = waist - chest[:, 1] * torso * 0.55
    points: dict[str, Vector] = {"neck": base, "head_top": base - head[:, 1] * neck, "waist": waist}
    for side, sign in SIDES.items():
        shoulder = base + sign * shoulders * chest[:, 0] + chest[:, 1] * 0.025
        arm, fore = _arm(rng, sign, m)
        arm, fore = chest @ arm, chest @ fore
        points[f"{side}_shoulder"] = shoulder
        points[f"{side}_elbow"] = shoulder + upper_arm * arm
        points[f"{side}_wrist"] = points[f"{side}_elbow"] + forearm * fore
        points[f"{side}_hand"] = points[f"{side}_wrist"] + 0.07 * fore
        hip = sign * hips * pelvis[:, 0]
        leg, lower = _leg(rng, sign, m)
        leg, lower = pelvis @ leg, pelvis @ lower
        points[f"{side}_hip"] = hip
        points[f"{side}_knee"] = hip + thigh * leg[:, 1]
        points[f"{side}_ankle"] = points[f"{side}_knee"] + shin * lower[:, 1]
        foot = lower @ _x(rng.uniform(-10, 35) * m)
        points[f"{side}_heel"] = points[f"{side}_ankle"] + 0.02 * foot[:, 1] - 0.012 * foot[:, 2]
        points[f"{side}_toe"] = points[f"{side}_ankle"] + 0.03 * foot[:, 1] + 0.1 * foot[:, 2]
    return Body(points, chest, pelvis, head, girth=rng.uniform(0.85, 1.3))


def _view(rng: np.random.Generator, variety: Variety) -> Frame:
    """Body at rest -> camera."""
    # More fronts than backs, as in photographs of people.
    facing = variety.facing * rng.uniform(-1, 1) * (rng.random() ** 0.35)
    lean = min(variety.turn, 15.0)
    roll = rng.uniform(-variety.turn, variety.turn) if rng.random() < variety.turned else rng.uniform(-lean, lean)
    tilt = rng.normal(0, 12) * variety.movement
    return _z(roll) @ _x(tilt) @ _y(facing)


def _arm(rng: np.random.Generator, sign: float, movement: float) -> tuple[Vector, Vector]:
    """Directions of upper arm and forearm in the chest's frame."""
    # Arms hang in half of the cases, and go anywhere in the others.
    reach = movement * (rng.uniform(0, 0.35) if rng.random() < 0.45 else rng.uniform(0.3, 1))
    away = 8 + reach * rng.uniform(-10, 150)
    forward = reach * rng.uniform(-45, 120)
    upper = _x(forward) @ _z(-sign * away) @ _y(-sign * rng.uniform(-30, 80))
    lower = upper @ _x(rng.uniform(5, 20 + 120 * movement))
    return upper[:, 1], lower[:, 1]


def _leg(rng: np.random.Generator, sign: float, movement: float) -> tuple[Frame, Frame]:
    """Frames of thigh and shin in the pelvis's frame."""
    reach = movement * (rng.uniform(0, 0.3) if rng.random() < 0.45 else rng.uniform(0.25, 1))
    upper = _z(-sign * (3 + reach * rng.uniform(-8, 45))) @ _x(reach * rng.uniform(-35, 95))
    upper = upper @ _y(-sign * rng.uniform(-10, 25))
    return upper, upper @ _x(-(3 + reach * rng.uniform(0, 115)))


def _x(degrees: float) -> Frame:
    """Turn about the left-right axis: what hangs down swings to the front."""
    c, s = _cos_sin(degrees)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _y(degrees: float) -> Frame:
    """Turn about the body's long axis."""
    c, s = _cos_sin(degrees)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _z(degrees: float) -> Frame:
    """Turn about the front-back axis: what hangs down swings to the person's right."""
    c, s = _cos_sin(degrees)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _cos_sin(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


@dataclass(frozen=True)
class Camera:
    """A weak perspective, fitted so that the figure is where it should be in the picture.

    Attributes:
        distance: of the camera, in body heights.
        scale: pixels a body height, at depth 0.
        offset: [2] pixel of the pelvis.
    """

    distance: float
    scale: float
    offset: NDArray[np.float64]

    def nearness(self, depth: float) -> float:
        """Pixels a body height at a depth (larger is nearer to the camera)."""
        return self.scale * self.distance / (self.distance - depth)

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [..., 3] to pixel centres [..., 2]."""
        near = self.scale * self.distance / (self.distance - points[..., 2:])
        return points[..., :2] * near + self.offset
