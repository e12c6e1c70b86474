"""The part of a frame that a look at some boxes needs: what is sent to a server instead of all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass_core.geometry import Box
from poseglass_core.poses import Pose

MARGIN = 8
"""Pixels around the crops, so that resampling at their edges sees what it would see in the whole frame."""

WORTH_CUTTING = 0.7
"""Share of the frame from which all of it is sent."""


@dataclass(frozen=True)
class Region:
    """A part of a frame.

    Attributes:
        image: [height, width, 3] RGB.
        corner: (x, y) of its top left pixel in the frame.
    """

    image: NDArray[np.uint8]
    corner: tuple[int, int]

    def placed(self, pose: Pose) -> Pose:
        """A pose in this part as one in the frame."""
        points = (pose.points.astype(np.float64) + self.corner).astype(np.float32)
        maps = pose.heatmaps
        if maps is not None:
            corner = np.array([[0, 0, self.corner[0]], [0, 0, self.corner[1]]])
            maps = replace(maps, to_image=maps.to_image + corner)
        return replace(pose, points=points, box=moved(pose.box, self.corner), heatmaps=maps)


def cut(image: NDArray[np.uint8], boxes: Sequence[Box], aspect: float, padding: float) -> Region:
    """The part of a frame under the crops of some boxes; all of it where that is most of it.

    Args:
        image: [height, width, 3].
        boxes: upright ones, at least one.
        aspect: width over height of the crops.
        padding: crop size over box size.
    """
    height, width = image.shape[:2]
    edges = []
    for box in boxes:
        wide = padding * max(box.width, box.height * aspect)
        (x, y), tall = box.centre, wide / aspect
        edges.append((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2))
    low, high = np.min(edges, axis=0)[:2] - MARGIN, np.max(edges, axis=0)[2:] + MARGIN
    left, top = np.clip(np.floor(low), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(high), (left + 1, top + 1), (width, height)).astype(int)
    if (right - left) * (bottom - top) >= WORTH_CUTTING * width * height:
        return Region(image, (0, 0))
    return Region(np.ascontiguousarray(image[top:bottom, left:right]), (int(left), int(top)))


def moved(box: Box, by: tuple[int, int], sign: int = 1) -> Box:
    """A box, shifted."""
    return replace(box, x=box.x + sign * by[0], y=box.y + sign * by[1])


def encoded(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8] | bytes:
    """A picture as it is sent.

    Args:
        image: [height, width, 3] RGB.
        quality: of JPEG, 1 to 100; 0: pixels as they are.

    Raises:
        InvalidRequest: no such quality.
    """
    if not 0 <= quality <= 100:
        raise InvalidRequest("--jpeg", f"must be a quality from 1 to 100, or 0 to send pixels, not {quality}")
    if not quality:
        return image
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InvalidRequest("--jpeg", "OpenCV cannot encode this frame; leave the option out to send pixels")
    return data.tobytes()
