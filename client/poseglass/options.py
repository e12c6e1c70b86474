"""What may be said about a picture, and the picture itself: checked, and the same for a server and for this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest, too_large
from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box
from poseglass_core.poses import Locate, PoseRequest

ImageLike = bytes | bytearray | memoryview | str | Path | NDArray[np.uint8]
"""A picture: the bytes of a JPEG, PNG, WebP or BMP file; a path to one; or pixels, uint8 [H, W, 3] RGB or [H, W] grey.

Files go to the server as they are and are decoded there, upright by their EXIF orientation. Pixels go raw."""

BoxLike = Box | Sequence[float]
"""A box, or (x, y, width, height) or (x, y, width, height, angle)."""

MIB = 1 << 20


class PredictOptions(TypedDict, total=False):
    """What may be said about a picture, by keyword, wherever pictures are predicted.

    Keys:
        boxes: people already found, edges in pixels of the upright picture; they win over `locate`.
        locate: where to look without boxes; default `Locate.AUTO`.
        model: name; default the server's (in-process: the shipped one; a path will do too).
        version: of the model; 0 or left out: the newest.
        joints: names to return, in that order; left out: all.
        heatmaps: return heatmaps too.
        heatmap_type: how they travel: "float16" (default), "float32" or "uint8". They arrive as float32 in any case.
        flip_test: average with the mirrored picture: a little better, twice the work.
        joint_threshold: leave out joints with a lower score, 0 ... 1.
        person_threshold: leave out people with a lower score, 0 ... 1; never those with a given box.
        request_id: echoed in the answer.
        timestamp_s: echoed in the answer; presentation time of a frame.
    """

    boxes: Sequence[BoxLike]
    locate: Locate
    model: str
    version: int
    joints: Sequence[str]
    heatmaps: bool
    heatmap_type: str
    flip_test: bool
    joint_threshold: float | None
    person_threshold: float | None
    request_id: str
    timestamp_s: float


def check_options(options: PredictOptions) -> None:
    """Catch misspelt options.

    Raises:
        TypeError: an option that does not exist.
    """
    if unknown := options.keys() - PredictOptions.__annotations__.keys():
        known = ", ".join(PredictOptions.__annotations__)
        raise TypeError(f"no option is called {sorted(unknown)[0]!r}; there are: {known}")


def pose_request(options: PredictOptions) -> PoseRequest:
    """The part of the options that inference itself is about.

    Raises:
        InvalidRequest: naming the field: a box, a threshold.
        TypeError: an option that does not exist.
    """
    check_options(options)
    joints = options.get("joints", ())
    if isinstance(joints, str):
        raise InvalidRequest("outputs.joints", f"must be a list of names, not the one text {joints!r}")
    try:
        return PoseRequest(
            boxes=[as_box(box, i) for i, box in enumerate(options.get("boxes", ()))],
            locate=options.get("locate", Locate.AUTO),
            joints=tuple(joints),
            heatmaps=options.get("heatmaps", False),
            flip_test=options.get("flip_test", False),
            joint_threshold=options.get("joint_threshold") or 0.0,
            person_threshold=options.get("person_threshold"),
        )
    except InvalidInput as error:
        raise InvalidRequest(error.field, error.reason) from None


def as_box(value: BoxLike, index: int = 0) -> Box:
    """A box from numbers.

    Args:
        value: a Box, or 4 or 5 numbers.
        index: its place in `boxes`, for messages.

    Raises:
        InvalidRequest: naming `boxes[index]` and, where it can, the side.
    """
    if isinstance(value, Box):
        return value
    try:
        numbers = [float(number) for number in value]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (4, 5):
        raise InvalidRequest(f"boxes[{index}]", f"must be 4 or 5 numbers: x, y, width, height[, angle], not {value!r}")
    try:
        return Box(*numbers)
    except ValueError as error:
        side, reason = str(error).split(" ", 1)
        raise InvalidRequest(f"boxes[{index}].{side}", reason) from None


def as_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels as they can be sent: checked, and without gaps in memory.

    Raises:
        InvalidRequest: not uint8, or neither [H, W, 3] nor [H, W].
    """
    colour = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or image.size == 0 or not (colour or image.ndim == 2):
        raise InvalidRequest(
            "image.raw", f"must be uint8 [H, W, 3] RGB or [H, W] grey, not {image.dtype} {list(image.shape)}"
        )
    return np.ascontiguousarray(image)


def read_file(path: str | Path, limit: int | None = None) -> bytes:
    """The bytes of a picture file.

    Args:
        path: the file.
        limit: most bytes that can be sent; a larger file is not read at all.

    Raises:
        InvalidRequest: it cannot be read; the message names it.
        MessageTooLarge: it is over the limit.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise too_large(f"{path} has {size / MIB:.1f} MiB", limit // MIB)
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest("image", f"{path}: cannot be read ({error.strerror})") from None
