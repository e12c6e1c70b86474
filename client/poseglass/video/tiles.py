"""The crops of a frame, one below the other: what is sent to a server instead of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass_core.geometry import Affine, Box, compose, crop_affine, invert, transform, warp
from poseglass_core.poses import Pose


@dataclass(frozen=True)
class Tiles:
    """A frame's crops as one picture, and where a server is to look so that it sees these pixels and no others.

    Attributes:
        image: [P * height, width, 3] RGB.
        boxes: of the people in it: each one's crop is its tile, to the pixel.
        to_frame: P affines, pixels of `image` -> pixels of the frame.
    """

    image: NDArray[np.uint8]
    boxes: tuple[Box, ...]
    to_frame: tuple[Affine, ...]

    def placed(self, poses: Sequence[Pose], boxes: Sequence[Box]) -> list[Pose]:
        """The tiles' poses in the frame.

        Args:
            poses: one a tile.
            boxes: which the tiles were cut by.
        """
        return [_placed(pose, box, to_frame) for pose, box, to_frame in zip(poses, boxes, self.to_frame, strict=True)]


def _placed(pose: Pose, box: Box, to_frame: Affine) -> Pose:
    maps = pose.heatmaps
    if maps is not None:
        maps = replace(maps, to_image=compose(to_frame, maps.to_image))
    return replace(pose, points=transform(to_frame, pose.points).astype(np.float32), box=box, heatmaps=maps)


def cut(image: NDArray[np.uint8], boxes: Sequence[Box], size: tuple[int, int], padding: float) -> Tiles:
    """The crops that a model sees of some boxes.

    Args:
        image: [height, width, 3] RGB.
        boxes: at least one.
        size: (height, width) of the model's input.
        padding: crop size over box size.
    """
    height, width = size
    affines = [crop_affine(box, size, padding) for box in boxes]
    side = width / padding, height / padding
    corner = (width - side[0]) / 2, (height - side[1]) / 2
    return Tiles(
        image=np.concatenate([warp(image, affine, size) for affine in affines]),
        boxes=tuple(Box(corner[0], corner[1] + i * height, *side) for i in range(len(boxes))),
        to_frame=tuple(
            compose(invert(affine), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, -float(i * height)]]))
            for i, affine in enumerate(affines)
        ),
    )


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
