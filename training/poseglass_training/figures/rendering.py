"""Whole pictures with one figure in them, and its exact joints."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box, box_around
from poseglass_training.figures.anatomy import paint_body
from poseglass_training.figures.backgrounds import SHIFT, background, colour, fixed
from poseglass_training.figures.bodies import Body, Camera, Variety, sample_body
from poseglass_training.figures.clothes import sample_look
from poseglass_training.figures.painting import OCCLUDER, OWN_PARTS, Painter

GROW = 0.1
"""The box is the joints' box grown by this on each side, as in the data sets of photographs."""


@dataclass(frozen=True)
class Figure:
    """A rendered picture and its truth.

    Attributes:
        image: [height, width, 3] uint8 RGB.
        joints: [14, 2] float32, pixel centres, in the order of `poseglass_core.skeleton.LSP`.
        visible: [14] whether nothing lies over the joint: no other limb, nothing in front of the figure.
        box: the joints' box, grown by a tenth; inside the picture.
    """

    image: NDArray[np.uint8]
    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    box: Box


def render_figure(
    rng: np.random.Generator,
    size: tuple[int, int],
    variety: Variety | None = None,
    fill: tuple[float, float] = (0.5, 0.95),
) -> Figure:
    """Render one whole figure somewhere in a picture.

    Args:
        rng: decides everything; the same state gives the same picture.
        size: (height, width) in pixels.
        variety: of bodies, poses and views; default: all there is.
        fill: least and greatest size of the figure: the longer side of its box over the picture's shorter side.

    Returns:
        The picture, and joints that are exact to the sub-pixel.
    """
    height, width = size
    body = sample_body(rng, variety or Variety())
    camera = _place(rng, body, height, width, fill)
    joints = camera.project(body.joints)
    canvas = background(rng, height, width)
    angle, aside = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0)
    painter = Painter(canvas, aside * np.array([np.cos(angle), np.sin(angle)]))
    paint_body(painter, body, sample_look(rng), camera)
    picture = painter.canvas
    if rng.random() < 0.5:
        picture = _cast_shadow(rng, painter)
    if rng.random() < 0.12:
        _occlude(rng, painter, picture)
    image = _expose(rng, picture, painter.parts)
    at = np.clip(np.round(joints).astype(int), 0, (width - 1, height - 1))
    top = painter.parts[at[:, 1], at[:, 0]]
    visible = np.array([part in own for part, own in zip(top.tolist(), OWN_PARTS, strict=True)])
    return Figure(image, joints.astype(np.float32), visible, box_around(joints, GROW))


def _place(rng: np.random.Generator, body: Body, height: int, width: int, fill: tuple[float, float]) -> Camera:
    """A camera under which the figure's box has the size asked for and lies within the picture."""
    camera = Camera(rng.uniform(3.5, 9), 1.0, np.zeros(2))
    box = box_around(camera.project(body.joints), GROW, minimum=1e-3)
    scale = rng.uniform(*fill) * min(height, width) / max(box.width, box.height)
    room = np.array([width - scale * box.width, height - scale * box.height])
    corner = rng.uniform(0, 1, 2) * room  # where the box's top left edge comes to lie
    # Edges -> centres is the half pixel that `box_around` added before scaling: box.x = x + 0.5 there.
    offset = corner - scale * (np.array([box.x, box.y]) - 0.5) - 0.5
    return Camera(camera.distance, scale, offset)


def _cast_shadow(rng: np.random.Generator, painter: Painter) -> NDArray[np.uint8]:
    """The picture with a soft shadow of the figure on what is behind it, away from the light."""
    picture = painter.canvas
    side = max(picture.shape[:2])
    figure = np.where(painter.parts > 0, np.float32(1), np.float32(0))
    away = -painter.light * side * rng.uniform(0.02, 0.08)
    moved = cv2.warpAffine(figure, np.array([[1.0, 0, away[0]], [0, 1, away[1]]]), picture.shape[1::-1])
    shade = cv2.GaussianBlur(moved, (0, 0), side * float(rng.uniform(0.006, 0.02)))
    keep = 1 - float(rng.uniform(0.2, 0.6)) * np.asarray(shade) * (1 - figure)
    shaded: NDArray[np.float32] = picture * keep[..., None]
    return shaded.astype(np.uint8)


def _occlude(rng: np.random.Generator, painter: Painter, picture: NDArray[np.uint8]) -> None:
    """A post or a ball in front of the figure."""
    height, width = picture.shape[:2]
    side = max(height, width)
    rows, columns = np.nonzero(painter.parts)
    if not len(rows):
        return
    pick = int(rng.integers(len(rows)))
    centre = np.array([columns[pick], rows[pick]], dtype=np.float64)
    paint = colour(rng).tolist()
    if rng.random() < 0.5:
        reach = rng.normal(0, 1, 2) * (0.15, 1.0) * side
        ends = fixed(np.stack([centre - reach, centre + reach])).tolist()
        thickness = max(1, round(side * rng.uniform(0.01, 0.04)))
        cv2.line(picture, ends[0], ends[1], paint, thickness, cv2.LINE_AA, SHIFT)
        cv2.line(painter.parts, ends[0], ends[1], OCCLUDER, thickness, cv2.LINE_8, SHIFT)
    else:
        radius = int(fixed(np.array(side * rng.uniform(0.02, 0.07))))
        cv2.circle(picture, fixed(centre).tolist(), radius, paint, -1, cv2.LINE_AA, SHIFT)
        cv2.circle(painter.parts, fixed(centre).tolist(), radius, OCCLUDER, -1, cv2.LINE_8, SHIFT)


def _expose(rng: np.random.Generator, picture: NDArray[np.uint8], parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Creases in the clothes, uneven and tinted light, a lens that is not quite sharp, and noise."""
    height, width = picture.shape[:2]
    coarse = rng.normal(0, 1, (14, 14)).astype(np.float32)
    creases = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    corners = rng.uniform(0.6, 1.15, (2, 2)).astype(np.float32)
    light = np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR))
    strength = np.float32(rng.uniform(0, 0.12))
    light = light * (1 + strength * creases * (parts > 0))
    tint = (rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)).astype(np.float32)
    blur = max(height, width) / 256 * float(rng.uniform(0.2, 1.1))
    exposed = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur)) * (light[..., None] * tint)
    grain = rng.integers(-127, 128, exposed.shape, np.int8)
    exposed += np.float32(rng.uniform(0, 0.12)) * grain
    return np.clip(exposed, 0, 255).astype(np.uint8)
