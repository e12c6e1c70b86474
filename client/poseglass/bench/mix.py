"""Which pictures are sent, and how often each kind: files as they are, or pictures made here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass.options import MIB, ImageLike
from poseglass.pictures import read_picture

FORMATS = {"raw": "", "gray": "", "jpeg": ".jpg", "png": ".png", "webp": ".webp"}
"""Of pictures made here -> suffix; empty: sent as pixels."""

QUALITY = 90
"""Of JPEG and WebP pictures made here."""

DEFAULT = "raw:256x256"

_PICTURE = re.compile(r"(?P<format>\w+):(?P<width>[0-9]{1,5})x(?P<height>[0-9]{1,5})")
_WEIGHTED = re.compile(r"(?P<what>.+)=(?P<weight>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_GRAMMAR = "must be FORMAT:WIDTHxHEIGHT or FORMAT:WIDTHxHEIGHT=WEIGHT, e.g. jpeg:640x480 or raw:256x256=3"

_STEEPNESS, _CONTRAST = 1.32, 40.0
"""How much stronger a scene's coarser octave is than the next; grey levels of its standard deviation."""

_VARIANTS, _VARIANTS_MIB = 8, 64
"""Different pictures of a kind, and MiB that their pixels may take together: no cache on the way sees one picture
only."""


@dataclass(frozen=True)
class Kind:
    """Pictures that count as one in the report.

    Attributes:
        name: as it was asked for, without the weight.
        weight: its share of the requests is weight / sum of weights.
        pictures: one of them is drawn for each request, all with the same chance.
        sizes: (height, width) of each, upright; None where nobody needed to know.
    """

    name: str
    weight: float
    pictures: tuple[ImageLike, ...]
    sizes: tuple[tuple[int, int] | None, ...]


FindFiles = Callable[[Sequence[str]], list[Path]]
"""Paths, folders and globs -> picture files; raises InvalidRequest where one names nothing."""


def kinds_of(
    synthetic: Sequence[str], files: Sequence[str], find: FindFiles, measured: bool, rng: np.random.Generator
) -> tuple[Kind, ...]:
    """The mix that was asked for; `DEFAULT` alone where nothing was.

    Args:
        synthetic: of `--picture`, as `FORMAT:WIDTHxHEIGHT[=WEIGHT]`.
        files: of `--images`: files, folders or quoted globs, each with `=WEIGHT` or not.
        find: tells the files that one of them names.
        measured: the sizes of files are needed, which takes decoding each.
        rng: for what the pictures made here show.

    Raises:
        InvalidRequest: naming the option.
    """
    kinds = [_file_kind(text, find, measured) for text in files]
    kinds += [_synthetic_kind(text, rng) for text in synthetic or (() if files else (DEFAULT,))]
    twice = {kind.name for kind in kinds if sum(kind.name == other.name for other in kinds) > 1}
    if twice:
        raise InvalidRequest("--picture", f"{min(twice)} is there twice; give it once, with a weight: {min(twice)}=2")
    return tuple(kinds)


def _weighted(option: str, text: str) -> tuple[str, float]:
    """What is sent, and its weight."""
    match = _WEIGHTED.fullmatch(text)
    if match is None or (option == "--images" and Path(text).exists()):
        return text, 1.0
    weight = float(match["weight"])
    if not weight > 0:
        raise InvalidRequest(option, f"{text!r}: the weight must be greater than 0; leave out what is not to be sent")
    return match["what"], weight


def _file_kind(text: str, find: FindFiles, measured: bool) -> Kind:
    name, weight = _weighted("--images", text)
    try:
        found = find([name])
    except InvalidRequest as error:
        raise InvalidRequest("--images", error.reason) from None
    sizes = [read_picture(path).shape[:2] if measured else None for path in found]
    return Kind(name, weight, tuple(found), tuple(sizes))


def _synthetic_kind(text: str, rng: np.random.Generator) -> Kind:
    name, weight = _weighted("--picture", text)
    match = _PICTURE.fullmatch(name)
    if match is None:
        raise InvalidRequest("--picture", f"{text!r} {_GRAMMAR}")
    if match["format"] not in FORMATS:
        raise InvalidRequest("--picture", f"{text!r}: the format must be one of {', '.join(FORMATS)}")
    height, width = int(match["height"]), int(match["width"])
    if not (0 < height <= 16384 and 0 < width <= 16384):
        raise InvalidRequest("--picture", f"{text!r}: width and height must be from 1 to 16384 pixels")
    count = min(_VARIANTS, max(1, _VARIANTS_MIB * MIB // (3 * height * width)))
    scene = _scene(height, width, rng)
    shifts = [(int(rng.integers(height)), int(rng.integers(width))) for _ in range(count)]
    pictures = tuple(_stored(np.roll(scene, shift, axis=(0, 1)), match["format"]) for shift in shifts)
    return Kind(name, weight, pictures, ((height, width),) * count)


def _stored(pixels: NDArray[np.uint8], form: str) -> ImageLike:
    if form == "gray":
        return np.ascontiguousarray(pixels[..., 1])
    if form == "raw":
        return pixels
    quality = {"jpeg": [cv2.IMWRITE_JPEG_QUALITY, QUALITY], "webp": [cv2.IMWRITE_WEBP_QUALITY, QUALITY]}
    done, data = cv2.imencode(FORMATS[form], pixels, quality.get(form, []))
    if not done:
        raise InvalidRequest("--picture", f"OpenCV cannot write {form} pictures here; choose another format")
    return bytes(data.tobytes())


def _scene(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Clouds whose contrast falls with their frequency as that of photographs does: as JPEG of 640 x 480 they take as
    many bits, and as long to decode, as COCO's photographs of that size. Nobody is in them.

    Returns:
        [height, width, 3].
    """
    sizes = [(height, width)]
    while max(sizes[-1]) > 2:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    scene = np.zeros((1, 1, 3), np.float32)
    for rows, columns in reversed(sizes):
        grey = rng.standard_normal((rows, columns, 1), np.float32)
        noise = grey + 0.3 * rng.standard_normal((rows, columns, 3), np.float32)
        scene = _STEEPNESS * cv2.resize(scene, (columns, rows), interpolation=cv2.INTER_LINEAR) + noise
    return np.asarray(np.clip(_CONTRAST * scene / scene.std() + 128, 0, 255), np.uint8)
