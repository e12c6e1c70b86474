"""What may be said about a picture, and the picture itself: checked, and the same for a server and for this process."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from poseglass import checks
from poseglass.errors import InvalidRequest, too_large
from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box
from poseglass_core.poses import Locate, PoseRequest

ImageLike = bytes | bytearray | memoryview | str | Path | NDArray[np.uint8]
"""A picture: the bytes of a JPEG, PNG, WebP or BMP file; a path to one; or pixels, uint8 [H, W, 3] RGB or [H, W] grey.

Files go to the server as they are and are decoded there, upright by their EXIF orientation. Pixels go raw."""

BoxLike = Box | Sequence[float]
"""A box, or (x, y, width, height) or (x, y, width, height, angle)."""

LOCATE = {name: kind for kind in Locate for name in (kind.name.lower(), kind.value)}
"""Names of where to look, in lower case."""

MIB = 1 << 20

MAX_FILE = 256 * MIB
"""Largest picture file that is read for work in this process; what goes to a server has the message limit."""


class PredictOptions(TypedDict, total=False):
    """What may be said about a picture, by keyword, wherever pictures are predicted.

    Keys:
        boxes: people already found, edges in pixels of the upright picture; they win over `locate`.
        locate: where to look without boxes, as a `Locate` or its name in any case: "detect" finds everybody,
            "whole_image" one person; default `Locate.AUTO`, which detects where there is a detector.
        detector: name of the detector that finds them; default the server's (in-process: the shipped one; a path will
            do too).
        model: name; default the server's (in-process: the shipped one; a path will do too).
        version: of the model; 0 or left out: the newest.
        joints: names to return, in that order; left out: all.
        heatmaps: return heatmaps too.
        heatmap_type: how they travel: "float16" (default), "float32" or "uint8". They arrive as float32 in any case.
        flip_test: average with the mirrored picture: a little better, twice the work.
        joint_threshold: leave out joints with a lower score, 0 ... 1.
        person_threshold: leave out people with a lower score, 0 ... 1; never those with a given box.
        overlap_threshold: of two people whose joints are more alike, by object keypoint similarity 0 ... 1, leave out
            the less certain one; never those with a given box.
        request_id: echoed in the answer.
        timestamp_s: echoed in the answer; presentation time of a frame.
    """

    boxes: Sequence[BoxLike]
    locate: Locate | str
    detector: str
    model: str
    version: int
    joints: Sequence[str]
    heatmaps: bool
    heatmap_type: str
    flip_test: bool
    joint_threshold: float | None
    person_threshold: float | None
    overlap_threshold: float | None
    request_id: str
    timestamp_s: float


@dataclass(frozen=True)
class Checked:
    """Options that were checked, one by one.

    Attributes:
        pose: what inference itself is about.
        joint_threshold: None where it is left to whoever answers.
        heatmap_type: "FLOAT16", "FLOAT32" or "UINT8".
        model, version, detector, request_id, timestamp_s: as given, or their defaults.
    """

    pose: PoseRequest
    joint_threshold: float | None
    heatmap_type: str
    model: str
    version: int
    detector: str
    request_id: str
    timestamp_s: float


def check_options(options: PredictOptions) -> None:
    """Catch misspelt options.

    Raises:
        TypeError: an option that does not exist.
    """
    if unknown := options.keys() - PredictOptions.__annotations__.keys():
        known = ", ".join(PredictOptions.__annotations__)
        raise TypeError(f"no option is called {min(map(str, unknown))!r}; there are: {known}")


def checked(options: PredictOptions) -> Checked:
    """The options with their defaults: the only place that looks at what callers gave.

    Raises:
        InvalidRequest: naming the field: of a wrong type, or out of bounds.
        TypeError: an option that does not exist.
    """
    check_options(options)
    joints = checks.several("outputs.joints", options.get("joints", ()), "a list of joint names")
    threshold, person, overlap = (
        None if (value := options.get(f"{what}_threshold")) is None else checks.number(f"thresholds.{what}", value)
        for what in ("joint", "person", "overlap")
    )
    try:
        pose = PoseRequest(
            boxes=as_boxes(options.get("boxes", ())),
            locate=checks.choice(
                "locate", options.get("locate", Locate.AUTO), LOCATE, "a Locate, or auto, whole_image or detect"
            ),
            joints=tuple(checks.text(f"outputs.joints[{i}]", name) for i, name in enumerate(joints)),
            heatmaps=checks.flag("outputs.heatmaps", options.get("heatmaps", False)),
            flip_test=checks.flag("flip_test", options.get("flip_test", False)),
            joint_threshold=threshold or 0.0,
            person_threshold=person,
            overlap_threshold=overlap,
        )
    except InvalidInput as error:
        raise InvalidRequest(error.field, error.reason) from None
    heatmap_type = options.get("heatmap_type", "float16")
    return Checked(
        pose=pose,
        joint_threshold=threshold,
        heatmap_type=checks.choice("outputs.heatmap_type", heatmap_type, _HEATMAP_TYPES, "float16, float32 or uint8"),
        model=checks.text("model", options.get("model", "")),
        version=as_version(options.get("version", 0)),
        detector=checks.text("detector", options.get("detector", "")),
        request_id=checks.text("request_id", options.get("request_id", "")),
        timestamp_s=checks.number("timestamp_s", options.get("timestamp_s", 0.0)),
    )


_HEATMAP_TYPES = {name: name.upper() for name in ("float16", "float32", "uint8")}


def as_version(value: object) -> int:
    """The version of a model; 0 is the newest."""
    return checks.whole("version", value, 0, (1 << 32) - 1, "a positive whole number, or 0 for the newest")


def as_boxes(value: Iterable[BoxLike]) -> list[Box]:
    """Boxes from a list of them.

    Raises:
        InvalidRequest: naming the box.
    """
    meaning = "a list of boxes"
    if isinstance(value, Box):
        raise InvalidRequest("boxes", f"must be {meaning}: put the one box into a list")
    return [as_box(box, i) for i, box in enumerate(checks.several("boxes", value, meaning))]


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
    field, meaning = f"boxes[{index}]", "a Box, or 4 or 5 numbers: x, y, width, height[, angle]"
    sides = checks.several(field, value, meaning)
    if len(sides) not in (4, 5):
        raise InvalidRequest(field, f"must be {meaning}, not {len(sides)}")
    named = zip(("x", "y", "width", "height", "angle"), sides, strict=False)
    numbers = [checks.number(f"{field}.{name}", side) for name, side in named]
    try:
        return Box(*numbers)
    except ValueError as error:
        side, reason = str(error).split(" ", 1)
        raise InvalidRequest(f"{field}.{side}", reason) from None


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


def content(image: ImageLike, limit: int | None = None) -> bytes | NDArray[np.uint8]:
    """A picture, looked at and not decoded: the bytes of a file, or checked pixels.

    Raises:
        InvalidRequest: it is no picture at all, or its file or pixels will not do.
        MessageTooLarge: its file is over the limit; see `read_file`.
    """
    if isinstance(image, np.ndarray):
        return as_pixels(image)
    if isinstance(image, str | Path):
        return read_file(image, limit)
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    raise InvalidRequest("image", f"must be bytes, a path or a NumPy array, not {checks.said(image)}")


def read_file(path: str | Path, limit: int | None = None) -> bytes:
    """The bytes of a picture file.

    Args:
        path: the file; `~` is the home folder.
        limit: most bytes that can be sent; None: the picture stays in this process, whose own bound is 256 MiB. A
            larger file is not read.

    Raises:
        InvalidRequest: it is no ordinary file or cannot be read; the message names it.
        MessageTooLarge: it is over the limit.
    """
    path = checks.path(path)
    most = MAX_FILE if limit is None else limit
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
            raise InvalidRequest("image", f"{path}: is {what}, not a picture file")
        size = status.st_size
        if size <= most:
            with path.open("rb") as file:
                data = file.read(most + 1)  # it may have grown; and some files do not say how long they are
            if len(data) <= most:
                return data
            size = len(data)
    except OSError as error:
        raise InvalidRequest("image", f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        if isinstance(error, InvalidRequest):
            raise
        raise InvalidRequest("image", f"{str(path)!a} is no path ({error})") from None
    if limit is None:
        raise InvalidRequest("image", f"{path}: has {size / MIB:.1f} MiB; more than {most // MIB} MiB are not read")
    raise too_large(f"{path} has {size / MIB:.1f} MiB", limit // MIB)
