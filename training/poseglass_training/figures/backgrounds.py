"""Backgrounds that look like photographs to a network: gradients, 1/f noise, clutter, blur."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SHIFT = 4
"""OpenCV draws at 1/16 pixel."""


def fixed(points: NDArray[Any]) -> NDArray[np.int32]:
    """Pixel coordinates as OpenCV's fixed-point numbers."""
    return np.round(np.clip(points, -8000, 8000) * (1 << SHIFT)).astype(np.int32)  # type: ignore[no-any-return]


def background(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """One background, [height, width, 3] RGB."""
    canvas = _gradient(rng, height, width)
    if rng.random() < 0.5:
        _ground(rng, canvas)
    canvas += np.float32(rng.uniform(10, 55)) * _octaves(rng, height, width)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    _clutter(rng, picture, int(rng.integers(0, 22)))
    side = max(height, width)
    blur = side / 256 * float(rng.choice([0.4, 1.0, 2.2, 4.5]))
    picture = cv2.GaussianBlur(picture, (0, 0), blur).astype(np.uint8, copy=False)
    if rng.random() < 0.4:
        _clutter(rng, picture, int(rng.integers(1, 5)))
    return picture


def colour(rng: np.random.Generator, vivid: float = 1.0) -> NDArray[np.float64]:
    """A random colour [3], 0 ... 255; greys, darks and brights among them."""
    value, saturation = rng.uniform(15, 250), vivid * rng.random() ** 1.5
    tint = rng.random(3)
    tint = (tint - tint.min()) / max(float(np.ptp(tint)), 1e-6)
    return value * (1 - saturation + saturation * tint)  # type: ignore[no-any-return]


def _gradient(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Colours that change slowly over the picture."""
    cells = int(rng.integers(2, 5))
    base = colour(rng, 0.6)
    corners = base + rng.normal(0, rng.uniform(5, 40), (cells, cells, 3))
    return cv2.resize(corners.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def _ground(rng: np.random.Generator, canvas: NDArray[np.float32]) -> None:
    """Floor, grass or wall: another colour beyond a line."""
    height, width = canvas.shape[:2]
    level, slope = rng.uniform(0.35, 0.95) * height, rng.uniform(-0.1, 0.1) * height
    corners = np.array([[0, level - slope], [width, level + slope], [width, height], [0, height]])
    cv2.fillConvexPoly(canvas, fixed(corners), colour(rng, 0.7).tolist(), cv2.LINE_8, SHIFT)


def _octaves(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Noise whose amplitude falls with frequency, as in photographs; about -1 ... 1."""
    # Nothing in it is finer than a few pixels, so it is summed at half the size.
    half = (width + 1) // 2, (height + 1) // 2
    total = np.zeros((half[1], half[0], 3), np.float32)
    grey = rng.uniform(0.3, 1)
    roughness = rng.uniform(0.45, 0.8)
    amplitude = 1.0
    for cells in (4, 9, 21, 48):
        values = rng.random((cells, cells, 3), dtype=np.float32) * 2 - 1
        values = grey * values[..., :1] + (1 - grey) * values
        total += amplitude * cv2.resize(values, half, interpolation=cv2.INTER_LINEAR)
        amplitude *= roughness
    return cv2.resize(total, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _clutter(rng: np.random.Generator, picture: NDArray[np.uint8], count: int) -> None:
    """Things: polygons, ellipses and bars; some of the bars are as thick as limbs."""
    height, width = picture.shape[:2]
    side = max(height, width)
    for kind in rng.integers(0, 3, count):
        centre = rng.uniform(0, 1, 2) * (width, height)
        size = side * rng.uniform(0.02, 0.22)
        paint = colour(rng, 0.8).tolist()
        if kind == 0:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = centre + size * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            cv2.fillConvexPoly(picture, fixed(corners), paint, cv2.LINE_AA, SHIFT)
        elif kind == 1:
            axes = fixed(size * rng.uniform(0.2, 1, 2)).tolist()
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(picture, fixed(centre).tolist(), axes, angle, 0, 360, paint, -1, cv2.LINE_AA, SHIFT)
        else:
            reach = rng.normal(0, 0.3, 2) * side
            thickness = max(1, round(side * rng.uniform(0.005, 0.05)))
            ends = fixed(np.stack([centre - reach, centre + reach])).tolist()
            cv2.line(picture, ends[0], ends[1], paint, thickness, cv2.LINE_AA, SHIFT)
