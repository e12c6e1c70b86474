"""Bytes to upright RGB pictures, with nothing decoded that should not be."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from poseglass_core.errors import InvalidInput

DEFAULT_MAX_PIXELS = 64_000_000
MOST_PIXELS = 178_000_000
"""The highest limit that can be set: Pillow refuses larger headers by itself."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_FIELD = "image.encoded"
_ORIENTATION = 0x0112

# EXIF orientation -> what makes the picture upright.
_UPRIGHT = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: lambda image: cv2.transpose(image),
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_SIDEWAYS = (5, 6, 7, 8)


def decode_image(
    data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, reserve: Callable[[int], None] | None = None
) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, WebP or BMP file.

    Args:
        data: the file's bytes.
        max_pixels: larger pictures are refused by their header, before anything is decoded.
        reserve: told how many pixels it has, before memory is taken for them; may wait, or raise.

    Returns:
        [height, width, 3] RGB, upright (EXIF orientation applied); alpha is dropped, grey and 16 bit are converted.

    Raises:
        InvalidInput: field `image.encoded`: empty, not one of these formats, truncated, broken or too large.
    """
    kind, width, height, orientation = _inspect(data, max_pixels)
    if reserve is not None:
        reserve(height * width)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None or image.shape[:2] != (height, width):
        raise InvalidInput(_FIELD, f"the {kind} file is broken and cannot be decoded; try writing it anew")
    upright = _UPRIGHT.get(orientation)
    return np.ascontiguousarray(image if upright is None else upright(image)).astype(np.uint8, copy=False)


def image_size(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of a picture once upright, from its header: nothing is decoded.

    Args:
        data: the file's bytes.
        max_pixels: larger pictures are refused.

    Raises:
        InvalidInput: as `decode_image`, but for damage that only decoding shows.
    """
    _, width, height, orientation = _inspect(data, max_pixels)
    return (width, height) if orientation in _SIDEWAYS else (height, width)


def _inspect(data: bytes, max_pixels: int) -> tuple[str, int, int, int]:
    """(format, width, height, EXIF orientation) of a picture that is whole and not too large."""
    if not data:
        raise InvalidInput(_FIELD, "is empty; send the bytes of a JPEG, PNG, WebP or BMP file")
    kind, width, height, orientation = _read_header(data, max_pixels)
    if width * height > max_pixels:
        raise InvalidInput(_FIELD, _too_large(height, width, max_pixels))
    if not _complete(kind, data):
        raise InvalidInput(_FIELD, f"the {kind} file is truncated; send all of its bytes")
    return kind, width, height, orientation


def _read_header(data: bytes, max_pixels: int) -> tuple[str, int, int, int]:
    """(format, width, height, EXIF orientation), from the header alone."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            # JPEGs with several pictures inside (phones write them) are called MPO; the first picture counts.
            kind = "JPEG" if header.format == "MPO" else str(header.format)
            try:
                orientation = int(_exif(header, data).get(_ORIENTATION, 1))
            except Exception:  # a damaged EXIF block should not cost the picture; Pillow raises many kinds
                orientation = 1
            return kind, header.width, header.height, orientation
    except Image.DecompressionBombError:  # Pillow's own bound, which no limit can lift
        reason = f"its pixels are more than the limit of {min(max_pixels, MOST_PIXELS):,}; shrink the picture"
    except Exception:  # anything: hostile headers make Pillow raise SyntaxError, struct.error, ...
        reason = _explain_unknown(data)
    # Raised here and not above: Pillow's exception would hang on to its frames, and they to the picture's bytes.
    raise InvalidInput(_FIELD, reason)


def _exif(header: Image.Image, data: bytes) -> Image.Exif:
    """The EXIF block of an opened picture; empty where it has none."""
    if header.format == "PNG":
        # Pillow decodes the whole picture to look for a block behind its pixels, whatever their number.
        if "exif" not in header.info and (block := _png_exif(data)):
            header.info["exif"] = block
        return Image.Image.getexif(header)
    return header.getexif()


def _png_exif(data: bytes) -> bytes:
    """The content of a PNG's eXIf chunk, wherever it lies."""
    at = len(b"\x89PNG\r\n\x1a\n")
    while at + 8 <= len(data):
        begin, end = at + 8, at + 8 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : begin] == b"eXIf":
            return b"Exif\0\0" + data[begin:end]
        at = end + 4  # past the checksum
    return b""


def _explain_unknown(data: bytes) -> str:
    wanted = "send JPEG, PNG, WebP or BMP"
    if data[4:8] == b"ftyp" and data[8:12] in {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis"}:
        return f"is a HEIC picture, which is not read; {wanted}"
    if data[4:12] == b"ftypavif":
        return f"is an AVIF picture, which is not read; {wanted}"
    if data[:6] in {b"GIF87a", b"GIF89a"}:
        return f"is a GIF, which is not read; {wanted}"
    if data[:2] == b"\xff\xd8" or data[:8] == b"\x89PNG\r\n\x1a\n" or data[:4] == b"RIFF" or data[:2] == b"BM":
        return (
            "the header cannot be read: truncated, broken, or full of metadata; send all bytes, or write the file anew"
        )
    return f"is not a picture in a known format; {wanted}"


def _too_large(height: int, width: int, limit: int) -> str:
    return f"{width} x {height} pixels are more than the limit of {limit:,}; shrink the picture, or raise max_pixels"


def _complete(kind: str, data: bytes) -> bool:
    """Whether a file has its end. The decoder would fill what is missing with grey and say nothing."""
    if kind == "JPEG":
        return data.rfind(b"\xff\xd9") > _start_of_scan(data)
    if kind == "PNG":
        return data.rfind(b"IEND") != -1
    if kind == "WEBP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    return True  # the BMP decoder itself refuses short files


def _start_of_scan(data: bytes) -> int:
    """Where a JPEG's first scan begins: past the EXIF block, whose thumbnail has an end marker of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:
            return at
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


_RAW_CHANNELS = {"RGB24": 3, "BGR24": 3, "GRAY8": 1}


def raw_image(
    data: bytes, height: int, width: int, pixel_format: str, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read raw pixels.

    Args:
        data: row-major, without padding.
        height, width: in pixels.
        pixel_format: "RGB24", "BGR24" or "GRAY8".
        max_pixels: larger pictures are refused.

    Returns:
        [height, width, 3] RGB.

    Raises:
        InvalidInput: naming `image.raw.height`, `.width`, `.format` or `.data`.
    """
    for name, value in (("height", height), ("width", width)):
        if value < 1:
            raise InvalidInput(f"image.raw.{name}", f"must be at least 1, not {value}")
    if pixel_format not in _RAW_CHANNELS:
        raise InvalidInput("image.raw.format", f"must be one of {', '.join(_RAW_CHANNELS)}, not {pixel_format}")
    if height * width > max_pixels:
        raise InvalidInput(
            "image.raw.height",
            _too_large(height, width, max_pixels),
        )
    channels = _RAW_CHANNELS[pixel_format]
    if len(data) != height * width * channels:
        raise InvalidInput(
            "image.raw.data",
            f"has {len(data):,} bytes; {height} x {width} pixels of {pixel_format} are {height * width * channels:,}",
        )
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    if pixel_format == "GRAY8":
        return np.repeat(pixels, 3, axis=2)
    return pixels[..., ::-1] if pixel_format == "BGR24" else pixels
