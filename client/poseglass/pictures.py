"""Picture files: read upright, written whole or not at all; and the contact sheet of a person's heatmaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass.options import read_file
from poseglass_core.drawing import Image, contact_sheet, draw_poses, overlay_heatmap
from poseglass_core.errors import InvalidInput
from poseglass_core.files import write_whole
from poseglass_core.geometry import compose, heatmap_affine, invert, warp
from poseglass_core.poses import Pose

CELL = 4
"""Pixels that a heatmap cell is drawn with, on a sheet: the stride, so that the picture under it is as the model saw
it."""


def read_picture(path: str | Path) -> Image:
    """Read a picture file, by the rules of the server and of prediction in this process.

    Where `poseglass[cpu]` is not installed, OpenCV decides what can be read.

    Returns:
        [height, width, 3] RGB, upright (EXIF orientation applied).

    Raises:
        InvalidRequest: it cannot be read or decoded; the message names it.
    """
    data = read_file(path)
    try:
        return _decoder()(data)
    except InvalidInput as error:
        raise InvalidRequest(error.field, f"{path}: {error.reason}") from None


def _decoder() -> Callable[[bytes], Image]:
    try:
        from poseglass_runtime.images import decode_image
    except ModuleNotFoundError:
        return _decode_image
    return decode_image


def _decode_image(data: bytes) -> Image:
    """The stand-in for `poseglass_runtime.images.decode_image`."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise InvalidInput("image.encoded", "cannot be decoded as a picture")
    return image.astype(np.uint8, copy=False)


def save_picture(path: str | Path, image: Image) -> None:
    """Write a picture; a reader never sees half of it, and a crash leaves what was there before.

    Args:
        path: ends in .jpg, .jpeg, .png, .webp or .bmp; its folder exists.
        image: [height, width, 3] RGB uint8.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise OSError(f"{path}: OpenCV cannot write this picture")
    write_file(path, data.tobytes())


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; it is what the error names, and not the temporary file beside it.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def heatmap_sheet(image: Image, pose: Pose, columns: int = 5) -> Image:
    """A person's joints and, beside them, every heatmap laid over the part of the picture that it covers.

    Args:
        image: [height, width, 3] RGB, upright.
        pose: with heatmaps.
        columns: tiles a row.

    Raises:
        ValueError: the pose has no heatmaps.
    """
    if pose.heatmaps is None:
        raise ValueError("the pose has no heatmaps; predict with heatmaps=True")
    maps = pose.heatmaps
    rows, cells = maps.values.shape[1:]
    # The part of the picture in the model's own orientation, with CELL pixels a heatmap cell.
    to_part = compose(heatmap_affine(CELL), invert(maps.to_image))
    size = (rows * CELL, cells * CELL)
    part = warp(image, to_part, size)
    joints = warp(draw_poses(image, [pose]), to_part, size)
    tiles: list[tuple[str, NDArray[np.uint8]]] = [(f"person {pose.score:.3f}", joints)]
    for name, values in zip(pose.heatmap_names, maps.values, strict=True):
        score = f" {pose[name].score:.3f}" if name in pose else ""
        tiles.append((f"{name}{score}", overlay_heatmap(part, values, heatmap_affine(CELL))))
    return contact_sheet(tiles, columns=columns)
