"""Poses and heatmaps, drawn on pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Affine
from poseglass_core.poses import Pose

Image = NDArray[np.uint8]
"""[height, width, 3] RGB."""

LEFT, RIGHT, MIDDLE = (255, 140, 0), (0, 190, 255), (120, 255, 120)
"""The person's own left, right and middle."""


def side_colour(joint: str) -> tuple[int, int, int]:
    """The colour of a joint, by the side its name speaks of."""
    name = joint.lower()
    return LEFT if "left" in name else RIGHT if "right" in name else MIDDLE


def draw_poses(image: Image, poses: Sequence[Pose], boxes: bool = True) -> Image:
    """A copy of the picture with limbs, joints and boxes on it."""
    canvas = np.ascontiguousarray(image).copy()
    size = max(canvas.shape[:2])
    for pose in poses:
        person = max(pose.box.width, pose.box.height)
        thickness = max(1, round(min(person / 90, size / 120)))
        if boxes:
            points = cv2.boxPoints((pose.box.centre, (pose.box.width, pose.box.height), pose.box.angle))
            outline = _fixed(np.asarray(points) - 0.5).reshape(-1, 1, 2)
            cv2.polylines(canvas, [outline], True, (200, 200, 200), max(1, thickness // 2), cv2.LINE_AA, _SHIFT)
        for a, b in pose.skeleton.limbs:
            if a in pose and b in pose:
                start, end = (_fixed(np.array(pose[name][1:3])) for name in (a, b))
                colour = side_colour(a) if side_colour(a) == side_colour(b) else MIDDLE
                cv2.line(canvas, start.tolist(), end.tolist(), colour, thickness, cv2.LINE_AA, _SHIFT)
        for joint in pose:
            at = _fixed(np.array(joint[1:3])).tolist()
            cv2.circle(canvas, at, (thickness + 1) << _SHIFT, (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(canvas, at, thickness << _SHIFT, side_colour(joint.name), -1, cv2.LINE_AA, _SHIFT)
    return canvas


_SHIFT = 4  # OpenCV draws at 1/16 pixel


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.round(np.clip(points, -30000, 30000) * (1 << _SHIFT)).astype(np.int32)
    return fixed


def overlay_heatmap(image: Image, heatmap: NDArray[np.floating], to_image: Affine) -> Image:
    """One heatmap laid over a picture: what it covers is tinted by its value, relative to its highest.

    Args:
        image: the picture.
        heatmap: [rows, columns], non-negative.
        to_image: 2x3, heatmap cells -> image pixels.
    """
    strength = np.clip(_spread(_relative(heatmap), to_image, image.shape[:2]), 0, 1)[..., None]
    tint = cv2.applyColorMap((strength[..., 0] * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = 0.25 + 0.75 * np.sqrt(strength)
    grey = image.mean(axis=2, keepdims=True)
    blend: Image = np.clip((1 - share) * grey + share * tint, 0, 255).astype(np.uint8)
    return blend


OPACITY = 0.75
"""Of a heatmap's highest cell, where its joint is certain."""


def tint_heatmaps(image: Image, poses: Sequence[Pose]) -> Image:
    """A copy of the picture with all heatmaps of some people on it, each in the colour of its joint's side.

    A heatmap covers the more, the higher its value is, relative to its highest, and the more certain its joint.

    Args:
        image: [height, width, 3] RGB.
        poses: those without heatmaps are passed over.
    """
    canvas = np.ascontiguousarray(image).copy()
    for pose in poses:
        if pose.heatmaps is None or not len(pose.heatmap_names):
            continue
        scores = np.array([pose[name].score if name in pose else 0 for name in pose.heatmap_names])
        relative = np.stack([_relative(values) for values in pose.heatmaps.values])
        strength = np.sqrt(relative * scores[:, None, None])  # the root, as a network's second thoughts are small
        colours = np.array([side_colour(name) for name in pose.heatmap_names])[strength.argmax(axis=0)]
        share = OPACITY * strength.max(axis=0)[..., None]
        layer = np.concatenate([share * colours, share], axis=2).astype(np.float32)  # [rows, columns, 4]
        left, top, right, bottom = _covered(layer.shape[:2], pose.heatmaps.to_image, canvas.shape[:2])
        if left >= right or top >= bottom:
            continue
        to_part = pose.heatmaps.to_image - np.array([[0, 0, left], [0, 0, top]])
        spread = _spread(layer, to_part, (bottom - top, right - left))
        part = canvas[top:bottom, left:right]
        part[:] = np.clip(np.round((1 - spread[..., 3:]) * part + spread[..., :3]), 0, 255)
    return canvas


def _relative(heatmap: NDArray[np.floating]) -> NDArray[np.float32]:
    """A heatmap over its highest value."""
    top = float(heatmap.max())
    return (heatmap / top if top > 0 else heatmap).astype(np.float32)


def _spread(values: NDArray[np.float32], to_image: Affine, size: tuple[int, int]) -> NDArray[np.float32]:
    """Values of heatmap cells, between the cells too, as those of a picture's pixels; size is (height, width)."""
    return np.asarray(cv2.warpAffine(values, to_image, size[::-1], flags=cv2.INTER_LINEAR), np.float32)


def _covered(cells: tuple[int, ...], to_image: Affine, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The part of a picture under a heatmap: left, top, right and bottom in pixels."""
    rows, columns = cells[:2]
    corners = np.array([[x, y, 1] for x in (-1, columns) for y in (-1, rows)]) @ to_image.T
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, size[1::-1]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, size[1::-1]).astype(int).tolist()
    return left, top, right, bottom


def contact_sheet(tiles: Sequence[tuple[str, Image]], tile: int = 220, columns: int = 5) -> Image:
    """Captioned pictures side by side, each fitted into a square of `tile` pixels.

    Raises:
        ValueError: there is no tile.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    caption = 20
    rows = -(-len(tiles) // columns)
    columns = min(columns, len(tiles))
    sheet = np.full((rows * (tile + caption), columns * tile, 3), 24, np.uint8)
    for i, (title, picture) in enumerate(tiles):
        factor = tile / max(picture.shape[:2])
        size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
        top, left = (i // columns) * (tile + caption), (i % columns) * tile
        cv2.putText(sheet, title, (left + 4, top + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
        y, x = top + caption + (tile - size[1]) // 2, left + (tile - size[0]) // 2
        sheet[y : y + size[1], x : x + size[0]] = small
    return sheet
