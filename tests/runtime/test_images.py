"""Decoding: every format upright and in RGB; everything else refused by field, reason and remedy."""

from __future__ import annotations

import io
import resource
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from poseglass_core.errors import InvalidInput
from poseglass_runtime.images import decode_image, image_size, raw_image

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8), (0, 0), 4)
PICTURE[:16, :16] = (250, 20, 20)  # red, top left


def encode(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_come_back_exactly(kind):
    assert np.array_equal(decode_image(encode(kind)), PICTURE)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_come_back_nearly(kind, options):
    image = decode_image(encode(kind, **options))
    assert image.shape == PICTURE.shape
    assert np.abs(image.astype(int) - PICTURE).mean() < 4


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16", "LA"])
def test_other_pixel_kinds_become_rgb(mode):
    if mode == "I;16":
        picture = Image.fromarray((PICTURE[..., 0].astype(np.uint16)) << 8)
    else:
        picture = Image.fromarray(PICTURE).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    image = decode_image(buffer.getvalue())
    assert image.shape == PICTURE.shape
    assert image.dtype == np.uint8


def test_cmyk_jpeg():
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).convert("CMYK").save(buffer, "JPEG", quality=95)
    assert decode_image(buffer.getvalue()).shape == PICTURE.shape


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(kind, orientation):
    undo = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: np.rot90(PICTURE, -1),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PICTURE),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(kind, exif=exif.tobytes(), quality=95)
    image = decode_image(data)
    assert image.shape == undo.shape
    assert image_size(data) == undo.shape[:2]
    assert np.abs(image.astype(int) - undo).mean() < 4


def test_a_thumbnail_in_the_exif_block_does_not_hide_a_truncation():
    exif = Image.Exif()
    exif[0x010E] = "x\xff\xd9y"  # an end marker before the scan, as thumbnails have one
    whole = encode("JPEG", exif=b"Exif\x00\x00" + exif.tobytes() + b"\xff\xd9")
    decode_image(whole)
    with pytest.raises(InvalidInput, match="truncated"):
        decode_image(whole[: len(whole) * 3 // 4])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_the_orientation_of_a_png_may_lie_behind_its_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    data, end = encode("PNG"), chunk(b"IEND", b"")
    assert data.endswith(end)
    turned = data[: -len(end)] + chunk(b"eXIf", exif.tobytes()[6:]) + end
    assert np.array_equal(decode_image(turned), np.rot90(PICTURE, -1))
    assert image_size(turned) == (80, 48)
    cut = data[: -len(end)] + struct.pack(">I", 2**32 - 1) + b"eXIf" + end  # a length that leads nowhere
    assert image_size(cut) == (48, 80)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_pillow_reads_headers_only(kind, monkeypatch):
    data, decoded = encode(kind), []
    with Image.open(io.BytesIO(data)) as opened:
        monkeypatch.setattr(type(opened), "load", lambda self: decoded.append(self.format), raising=False)
    assert image_size(data) == (48, 80)
    with pytest.raises(InvalidInput, match="more than the limit"):
        decode_image(data, max_pixels=1)
    assert decoded == []


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64)
HUGE_HEADER = png_of(60_000, 60_000, zlib.compress(b"\x00" * 100))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty; send the bytes"),
        (b"hello, I am a text", "not a picture in a known format; send JPEG, PNG, WebP or BMP"),
        (HEIC, "HEIC picture, which is not read; send JPEG"),
        (b"\x00\x00\x00\x18ftypavif" + bytes(64), "AVIF"),
        (b"GIF89a" + bytes(32), "GIF"),
        (HUGE_HEADER, "more than the limit of 64,000,000.*shrink the picture"),
        (b"\xff\xd8\xff\xe0", "header cannot be read: truncated, broken"),
        (encode("JPEG")[:-40], "truncated; send all of its bytes"),
        (encode("PNG")[:-40], "truncated; send all of its bytes"),
        (encode("WEBP")[:-10], "truncated"),
        (encode("BMP")[:-3000], "broken|truncated"),
    ],
)
def test_refusals(data, reason):
    with pytest.raises(InvalidInput, match=reason) as caught:
        decode_image(data)
    assert caught.value.field == "image.encoded"


def test_a_valid_one_colour_giant_is_refused_before_decoding():
    side = 16_000
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\x00" + b"\x7f" * side) for _ in range(side)) + packer.flush()
    data = png_of(side, side, rows)
    assert len(data) < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInput, match="more than the limit of 64,000,000"):
        decode_image(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_the_limit_is_the_callers():
    with pytest.raises(InvalidInput, match="80 x 48 pixels are more than the limit of 3,839"):
        decode_image(encode("PNG"), max_pixels=80 * 48 - 1)
    assert decode_image(encode("PNG"), max_pixels=80 * 48).shape == (48, 80, 3)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]), st.data())
def test_damaged_files_give_a_picture_or_a_refusal(kind, data):
    damaged = bytearray(encode(kind))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=6)):
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        image = decode_image(bytes(damaged), max_pixels=1_000_000)
    except InvalidInput:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3


@pytest.mark.parametrize("pixel_format", ["RGB24", "BGR24", "GRAY8"])
def test_raw_formats(pixel_format):
    expected = {"RGB24": PICTURE, "BGR24": PICTURE[..., ::-1], "GRAY8": PICTURE[..., :1].repeat(3, 2)}[pixel_format]
    sent = PICTURE[..., 0] if pixel_format == "GRAY8" else PICTURE
    assert np.array_equal(raw_image(sent.tobytes(), 48, 80, pixel_format), expected)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((b"", 0, 5, "RGB24"), "image.raw.height"),
        ((b"", 5, 0, "RGB24"), "image.raw.width"),
        ((b"123", 1, 1, "PIXEL_FORMAT_UNSPECIFIED"), "image.raw.format"),
        ((b"1234", 1, 1, "RGB24"), "image.raw.data"),
        ((b"", 60_000, 60_000, "GRAY8"), "image.raw.height"),
    ],
)
def test_raw_refusals(arguments, field):
    with pytest.raises(InvalidInput) as caught:
        raw_image(*arguments)
    assert caught.value.field == field
