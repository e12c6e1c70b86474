"""Stored pixels as they are to be shown: the display matrix of phone videos, applied."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""[height, width, 3] RGB, upright."""


def upright(pixels: Image, matrix: bytes) -> Image:
    """Stored pixels as they are to be shown.

    Args:
        pixels: [height, width, 3].
        matrix: the container's display matrix, nine int32; turns by other than quarters are left undone, as players do.
    """
    a, b, c, d = _linear(matrix)
    if turned(matrix):
        pixels = pixels.transpose(1, 0, 2)
        a, d = c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def turned(matrix: bytes) -> bool:
    """Whether stored rows are shown as columns."""
    a, b, c, d = _linear(matrix)
    return abs(a) + abs(d) < abs(b) + abs(c)


def _linear(matrix: bytes) -> tuple[int, int, int, int]:
    """(a, b, c, d): stored (x, y) is shown at (a x + c y, b x + d y), shifted into view."""
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    return a, b, c, d
