"""A training picture of the detector, put together from pieces, and what is known of it. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDE = 4

MOST = 24
"""People a training picture; of more, the smallest are left out (and their places not counted)."""

SMALLEST = 10.0
"""Input pixels; whose longer side is less is not looked for, nor is the place called empty."""

SEEN = 0.4
"""Share of a box that must be inside the picture for it to count."""


class Example(NamedTuple):
    """One training picture.

    Attributes:
        image: [S, S, 3] uint8 RGB.
        boxes: [M, 4] float32, edges in pixels, x1, y1, x2, y2.
        known: [S/4, S/4] bool: cells of which it is known whether somebody is there.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    known: NDArray[np.bool_]


@dataclass
class Picture:
    """Pixels and what is known of them.

    Attributes:
        image: [height, width, 3] RGB.
        boxes: [M, 4] of people: x1, y1, x2, y2.
        unknown: [K, 4] regions, such as crowds.
        complete: everybody is labelled; else nothing is known outside of the boxes.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    unknown: NDArray[np.float64]
    complete: bool

    def mirrored(self) -> Picture:
        """Left and right exchanged."""
        width = self.image.shape[1]

        def mirror(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)

        return Picture(self.image[:, ::-1], mirror(self.boxes), mirror(self.unknown), self.complete)

    def cut(self, x1: int, y1: int, x2: int, y2: int) -> Picture:
        """A part of it."""
        corner = np.array([x1, y1, x1, y1])
        return Picture(self.image[y1:y2, x1:x2], self.boxes - corner, self.unknown - corner, self.complete)


@dataclass
class Canvas:
    """A training picture in the making.

    Attributes:
        size: of its sides in pixels; divisible by `STRIDE`.
        image: [size, size, 3], black at first.
        boxes: of the people to be found.
        known: [size / STRIDE, size / STRIDE] cells of which it is known whether somebody is there.
    """

    size: int
    image: NDArray[np.uint8] = field(init=False)
    boxes: list[NDArray[np.float64]] = field(init=False, default_factory=list)
    known: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.image = np.zeros((self.size, self.size, 3), np.uint8)
        self.known = np.ones((self.size // STRIDE, self.size // STRIDE), bool)

    def place(
        self,
        picture: Picture,
        scale: float,
        corner: tuple[float, float],
        within: tuple[int, int, int, int] | None = None,
        soft: int = 0,
    ) -> None:
        """Put a picture, scaled, with its top left corner somewhere; what is outside of `within` is cut off.

        Args:
            picture: what to put.
            scale: canvas pixels a picture pixel.
            corner: x, y.
            within: x1, y1, x2, y2; None: the whole canvas.
            soft: pixels over which its edges fade into what is there.
        """
        left, top, right, bottom = within or (0, 0, self.size, self.size)
        height, width = (max(1, round(side * scale)) for side in picture.image.shape[:2])
        x, y = round(corner[0]), round(corner[1])
        x1, y1, x2, y2 = max(x, left), max(y, top), min(x + width, right), min(y + height, bottom)
        if x1 >= x2 or y1 >= y2:
            return
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(picture.image, (width, height), interpolation=how).astype(np.uint8, copy=False)
        part = scaled[y1 - y : y2 - y, x1 - x : x2 - x]
        if soft:
            part = _blend(self.image[y1:y2, x1:x2], part, soft)
        self.image[y1:y2, x1:x2] = part
        self._cover(x1, y1, x2, y2)
        self._mark((x1, y1, x2, y2), picture.complete)
        factor = np.array([width / picture.image.shape[1], height / picture.image.shape[0]] * 2)
        place = np.array([x, y, x, y])
        inside = np.array([x1, y1, x1, y1]), np.array([x2, y2, x2, y2])
        for box in picture.unknown * factor + place:
            self._mark(np.clip(box, *inside), known=False)
        for box in picture.boxes * factor + place:
            seen = np.clip(box, *inside)
            worth = area(seen) >= SEEN * area(box) and max(seen[2] - seen[0], seen[3] - seen[1]) >= SMALLEST
            self._mark(seen, known=worth)
            if worth:
                self.boxes.append(seen)

    def _cover(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Take off what a rectangle now hides; who is hidden in part is not asked for any more."""
        kept = []
        for box in self.boxes:
            hidden = area(np.array([max(box[0], x1), max(box[1], y1), min(box[2], x2), min(box[3], y2)]))
            if hidden < 0.3 * area(box):
                kept.append(box)
            else:
                self._mark(box, known=False)
        self.boxes = kept

    def _mark(self, box: Sequence[float] | NDArray[np.float64], known: bool) -> None:
        x1, y1, x2, y2 = (
            int(v) for v in (box[0] // STRIDE, box[1] // STRIDE, -(-box[2] // STRIDE), -(-box[3] // STRIDE))
        )
        self.known[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = known

    def example(self) -> Example:
        """What has been put together."""
        boxes = sorted(self.boxes, key=area, reverse=True)
        for box in boxes[MOST:]:
            self._mark(box, known=False)
        return Example(self.image, np.array(boxes[:MOST], np.float32).reshape(-1, 4), self.known)


def _blend(under: NDArray[np.uint8], over: NDArray[np.uint8], soft: int) -> NDArray[np.uint8]:
    """`over`, fading out towards its edges."""
    height, width = over.shape[:2]

    def ramp(length: int) -> NDArray[np.float32]:
        along = np.arange(length, dtype=np.float32)
        return np.clip((np.minimum(along, along[::-1]) + 0.5) / soft, 0, 1)

    alpha = ramp(height)[:, None, None] * ramp(width)[None, :, None]
    return (under + alpha * (over.astype(np.float32) - under)).astype(np.uint8)


def area(box: NDArray[np.float64]) -> float:
    """Of x1, y1, x2, y2."""
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))
