"""Boxes, crops and the affines between them: all of the project's geometry.

Points are at pixel centres: (0, 0) is the centre of the top-left pixel, x right, y down. Boxes are edges: the whole
image is (0, 0, width, height). The two meet here and nowhere else: edge = centre + 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
"""2x3: (x, y, 1) -> (x', y')."""


LARGEST = 1e8
"""Pixels; beyond any picture, and small enough that no coordinate overflows on its way through float32."""

SMALLEST = 0.01
"""Pixels; the least side of a box."""


@dataclass(frozen=True)
class Box:
    """Edges of a tight person box, in pixels of the upright image.

    Attributes:
        x, y: left and top edge.
        width, height: size, both positive.
        angle: degrees clockwise about the box's centre: where the head points, away from up.

    Raises:
        ValueError: a number is not finite or absurdly large, or a side is not positive; the message begins with the
            field's name.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        for name in ("x", "y", "width", "height", "angle"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value}")
            if abs(value) > LARGEST:
                raise ValueError(f"{name} must be within {LARGEST:,.0f} of 0, not {value:g}")
        for name in ("width", "height"):
            value = getattr(self, name)
            if value < SMALLEST:
                raise ValueError(f"{name} must be greater than 0 (at least {SMALLEST:g} pixels), not {value:g}")

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the centre, in edge coordinates."""
        return self.x + self.width / 2, self.y + self.height / 2

    def mirrored(self, image_width: float) -> Box:
        """The same box in the mirrored image."""
        return Box(image_width - self.x - self.width, self.y, self.width, self.height, -self.angle)

    def to_list(self) -> list[float]:
        """[x, y, width, height, angle]."""
        return [self.x, self.y, self.width, self.height, self.angle]


def whole_image(width: float, height: float) -> Box:
    """The box of a whole image of that size in pixels."""
    return Box(0, 0, width, height)


def box_around(points: NDArray[np.floating], grow: float = 0.1, minimum: float = 1.0) -> Box:
    """The upright box of some points (pixel centres), each side grown by `grow` of the box's size.

    Args:
        points: [K, 2], K >= 1.
        grow: fraction of the width and height added on each side.
        minimum: smallest width and height, so that a single point still has a box.
    """
    low, high = points.min(axis=0) + 0.5, points.max(axis=0) + 0.5  # centres -> edges
    size = high - low
    low, high = low - grow * size, high + grow * size
    middle, size = (low + high) / 2, np.maximum(high - low, minimum)
    x, y = middle - size / 2
    return Box(float(x), float(y), float(size[0]), float(size[1]))


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, their angles left aside."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (a.width * a.height + b.width * b.height - overlap)


def crop_affine(box: Box, size: tuple[int, int], padding: float) -> Affine:
    """Image pixels -> pixels of the crop that a model sees.

    The crop is the smallest rectangle of the model's aspect around the box, times `padding`, turned by the box's angle.

    Args:
        box: the person.
        size: (height, width) of the crop in pixels.
        padding: crop size over box size, e.g. 1.25.
    """
    height, width = size
    crop_width = padding * max(box.width, box.height * width / height)
    scale = width / crop_width
    # Clockwise turn in y-down coordinates takes the crop's axes to the image's; its transpose goes back.
    cos, sin = _cos_sin(box.angle)
    linear = scale * np.array([[cos, sin], [-sin, cos]])
    centre = np.array(box.centre) - 0.5  # edges -> centres
    offset = np.array([width / 2 - 0.5, height / 2 - 0.5]) - linear @ centre
    return np.hstack([linear, offset[:, None]])


def corner_affine(width: float, height: float, size: tuple[int, int]) -> Affine:
    """Image pixels -> pixels of an input that the whole image is scaled into, its top left corner in the input's.

    Args:
        width, height: of the image in pixels.
        size: (height, width) of the input in pixels.
    """
    scale = min(size[1] / width, size[0] / height)
    offset = (scale - 1) / 2  # corners are edges, pixels are centres
    return np.array([[scale, 0.0, offset], [0.0, scale, offset]])


def fitting_size(height: float, width: float, largest: tuple[int, int], step: int | None) -> tuple[int, int]:
    """The smallest input that an image fits into, at the scale at which it fits into the largest one.

    Args:
        height, width: of the image in pixels.
        largest: (height, width) of the largest input; multiples of `step`.
        step: sides are multiples of it; None: there is no other input than the largest.

    Returns:
        (height, width)
    """
    if step is None:
        return largest
    scale = min(largest[0] / height, largest[1] / width)
    # A side that is a multiple but for rounding is one.
    rows, columns = (max(step * math.ceil(side * scale / step - 1e-6), step) for side in (height, width))
    return min(rows, largest[0]), min(columns, largest[1])


def _cos_sin(degrees: float) -> tuple[float, float]:
    """Exact for quarter turns, so that a picture turned by one gives the same crop to the bit."""
    quarter, rest = divmod(degrees, 90.0)
    if rest == 0.0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def invert(affine: Affine) -> Affine:
    """The affine that undoes another."""
    linear = np.linalg.inv(affine[:, :2])
    return np.hstack([linear, -linear @ affine[:, 2:]])


def compose(outer: Affine, inner: Affine) -> Affine:
    """`outer` after `inner`."""
    return np.hstack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2:] + outer[:, 2:]])


def transform(affine: Affine, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points [..., 2] through an affine."""
    return np.asarray(points, dtype=np.float64) @ affine[:, :2].T + affine[:, 2]


def mirror_affine(width: int) -> Affine:
    """x -> width - 1 - x."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def heatmap_affine(stride: int) -> Affine:
    """Heatmap cells -> crop pixels: cell k is at stride * k + (stride - 1) / 2."""
    offset = (stride - 1) / 2
    return np.array([[stride, 0.0, offset], [0.0, stride, offset]], dtype=np.float64)


def warp(image: NDArray[np.uint8], affine: Affine, size: tuple[int, int], border: int = 0) -> NDArray[np.uint8]:
    """Cut a crop out of an image; what lies outside the image is black, or of another grey.

    One bilinear resampling; where it shrinks by more than 2, the needed part of the image is first shrunk by an integer
    factor with area averaging (warpAffine itself would alias), whose offset is folded into the affine.

    Args:
        image: [height, width, channels].
        affine: image pixels -> crop pixels (`crop_affine`).
        size: (height, width) of the crop.
        border: value of what lies outside the image, 0 ... 255.

    Returns:
        [*size, channels].
    """
    height, width = size
    # Only the part of the image under the crop is touched: large pictures cost no more than small ones.
    inverse = invert(affine)
    corners = np.array([[-1, -1], [width, -1], [-1, height], [width, height]], dtype=np.float64)
    reach = transform(inverse, corners)
    left, top = np.clip(np.floor(reach.min(axis=0)) - 1, 0, image.shape[1::-1]).astype(np.int64)
    right, bottom = np.clip(np.ceil(reach.max(axis=0)) + 2, 0, image.shape[1::-1]).astype(np.int64)
    if left >= right or top >= bottom:
        return np.full((height, width, image.shape[2]), border, np.uint8)
    part = image[top:bottom, left:right]
    shrink = max(int(1.0 / math.sqrt(abs(np.linalg.det(affine[:, :2])))), 1)
    # Never by more than there are pixels: under a box much larger than the picture the border would take gigabytes.
    factor_y, factor_x = min(shrink, part.shape[0]), min(shrink, part.shape[1])
    if max(factor_y, factor_x) > 1:
        down = -(-part.shape[0] // factor_y), -(-part.shape[1] // factor_x)
        below, right_of = down[0] * factor_y - part.shape[0], down[1] * factor_x - part.shape[1]
        if below or right_of:  # it copies the whole part
            part = cv2.copyMakeBorder(  # type: ignore[assignment]
                part, 0, below, 0, right_of, cv2.BORDER_CONSTANT, value=(border, border, border)
            )
        part = cv2.resize(part, down[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    # part pixel p is image pixel factor * p + (factor - 1) / 2 + (left, top), along each axis.
    to_image = np.array(
        [[factor_x, 0.0, left + (factor_x - 1) / 2], [0.0, factor_y, top + (factor_y - 1) / 2]], dtype=np.float64
    )
    return cv2.warpAffine(  # type: ignore[return-value]
        np.ascontiguousarray(part),
        compose(affine, to_image),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderValue=(border, border, border),
    )
