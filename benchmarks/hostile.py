"""Requests that mean harm, or are nonsense: each made from a number alone, so that one that hurts can be sent again."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from poseglass_proto.oip import inference_pb2 as oip
from poseglass_proto.v1 import pose_pb2 as pb

PREDICT = "/poseglass.v1.PoseService/Predict"
STREAM = "/poseglass.v1.PoseService/PredictStream"
INFER = "/inference.GRPCInferenceService/ModelInfer"
SOCKET = "socket"
"""In place of a method: bytes for the port itself."""

_OTHER = (
    "/poseglass.v1.PoseService/GetModel",
    "/poseglass.v1.PoseService/ListModels",
    "/poseglass.v1.PoseService/Nothing",
    "/poseglass.v1.AdminService/Reload",
    "/inference.GRPCInferenceService/ModelMetadata",
    "/inference.GRPCInferenceService/ModelReady",
    "/grpc.health.v1.Health/Check",
    "/no.such.Service/Call",
    "//",
)
_STREAMS = ("/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", STREAM)
_LARGE = (0, 1, 2**16, 10**9, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e-38, 1e9, 3e38, -3e38)
_MODEL = "cnn"
_BOX = pb.Box(x=0, y=0, width=64, height=48)


@dataclass(frozen=True)
class Attack:
    """One call.

    Attributes:
        method: as `/service/method`, or `SOCKET`.
        messages: bytes to send; those of a stream one by one.
        stream: whether the method takes a stream.
        timeout_s: deadline.
        cancel: give the call up as soon as it is sent.
        compress: send it as gzip.
        metadata: of the call.
    """

    method: str
    messages: tuple[bytes, ...]
    stream: bool = False
    timeout_s: float = 40.0
    cancel: bool = False
    compress: bool = False
    metadata: tuple[tuple[str, str | bytes], ...] = ()


@cache
def pictures() -> tuple[bytes, ...]:
    """Small picture files that are whole."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    files = []
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(file, kind, **({"exif": exif} if kind in {"JPEG", "PNG", "WEBP"} else {}))
        files.append(file.getvalue())
    return tuple(files)


def good() -> pb.PredictRequest:
    """A request that must be answered, and always alike."""
    return pb.PredictRequest(model=_MODEL, image=pb.Image(encoded=pictures()[0]), boxes=[_BOX])


def generated(seed: int) -> tuple[str, Attack]:
    """The kind and the call that a number stands for."""
    random_ = random.Random(seed)
    (kind,) = random_.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])
    return kind, _KINDS[kind][1](random_)


def mutated(data: bytes, r: random.Random) -> bytes:
    """Bytes that have been meddled with, a few times."""
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 4, 16))):
        at = r.randrange(len(changed) + 1)
        match r.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << r.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = r.randbytes(r.choice((1, 2, 8, 200)))
            case 3:
                changed[at : at + r.randrange(64)] = b""
            case 4:
                changed[at:at] = b"\xff" * 9 + b"\x01"  # the largest number of the wire format
            case 5:
                changed[at : at + 4] = r.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
            case 6:
                other = r.randrange(len(changed) + 1)
                changed[at:at] = changed[other : other + r.randrange(256)]
            case _ if at < len(changed):
                changed[at] = r.randrange(256)
    return bytes(changed)


def _field(number: int, wire_type: int, payload: bytes) -> bytes:
    return _number(number << 3 | wire_type) + (_number(len(payload)) if wire_type == 2 else b"") + payload


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _message(r: random.Random) -> bytes:
    """What is no message, or not the one that is meant."""
    whole = good().SerializeToString()
    match r.randrange(8):
        case 0:
            return r.randbytes(r.choice((0, 1, 10, 1000, 100_000)))
        case 1:
            return whole + b"".join(
                _field(r.randrange(1, 2**29), r.choice((0, 2)), b"\x05") for _ in range(r.randrange(1, 300))
            )
        case 2:
            return whole + _field(r.randrange(1, 13), r.randrange(8), r.randbytes(r.randrange(40)))
        case 3:
            nested = b""
            for _ in range(r.choice((20, 99, 101, 500))):
                nested = _field(4, 2, nested)
            return r.choice((nested, _field(99, 3, b"") * r.choice((50, 10_000))))
        case 4:
            return whole + _number(4 << 3 | 2) + _number(r.choice((2**31, 2**32 - 1, 2**63, 2**64 - 1))) + whole
        case 5:
            return whole + _field(r.choice((1, 2, 12)), 2, r.choice((b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80")))
        case _:
            return mutated(whole, r)


def _values(r: random.Random) -> bytes:
    """A whole message whose values are out of all bounds."""
    message: Any = good()  # its enums are given numbers that are none of theirs
    for _ in range(r.choice((1, 1, 2, 3))):
        match r.randrange(11):
            case 0:
                names = ("x", "y", "width", "height", "angle")
                setattr(message.boxes.add(x=9, y=9, width=9, height=9), r.choice(names), r.choice(_FLOATS))
            case 1:
                size = r.choice(_LARGE), r.choice(_LARGE)
                pixels = bytes(r.choice((0, 3, 9999)))
                message.image.raw.CopyFrom(pb.RawImage(data=pixels, height=size[0], width=size[1]))
                message.image.raw.format = r.choice((0, 1, 2, 3, 9, -1))
            case 2:
                message.outputs.joints.extend(r.choice((["neck"], ["x" * 99] * 50)) * r.choice((1, 200)))
            case 3:
                message.request_id = r.choice("a\0\n\u202e💩") * r.choice(
                    (256, 257, 1_000_000 if r.random() < 0.1 else 999)
                )
            case 4:
                message.boxes.extend([_BOX] * r.choice((1, 99, 100, 800) if r.random() < 0.1 else (800, 2)))
            case 5:
                message.locate, message.outputs.heatmap_type = r.choice((-1, 3, 2**31 - 1)), r.choice((-5, 0, 7))
            case 6:
                message.thresholds.joint = r.choice(_FLOATS)
                message.thresholds.overlap = r.choice((*_FLOATS, 0.5))
            case 7:
                message.model = r.choice(("../../etc/passwd", "", "\0", "a" * 100_000, "person", "%s{0}"))
                message.version = r.choice(_LARGE)
            case 8:
                message.detector = r.choice(("person", "cnn", "x" * 5000, "\n"))
                if r.random() < 0.3:
                    del message.boxes[:]
            case 9:
                message.timestamp_s, message.timeout_ms = r.choice(_FLOATS), r.choice(_LARGE)
            case _:
                message.outputs.heatmaps, message.flip_test = True, r.random() < 0.5
                message.boxes.add(
                    x=r.uniform(-1e7, 1e7), y=5, width=r.uniform(0.01, 1e7), height=0.02, angle=r.random()
                )
    data: bytes = message.SerializeToString()
    return data


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, depth: int, colour: int, rows: int) -> bytes:
    """A PNG of zeros, of which so many rows are there."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(rows * (min(width, 10_000) + 1)), 1)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _file(r: random.Random) -> bytes:
    """A picture file that is broken, too large, or none."""
    picture = r.choice(pictures())
    match r.randrange(8):
        case 0:
            sides = (0, 1, 3000, 9000, 30_000, 65_535, 2**31 - 1, 2**32 - 1)
            return _png(
                r.choice(sides), r.choice(sides), r.choice((1, 8, 16)), r.choice((0, 2, 3, 6)), r.choice((0, 1))
            )
        case 1 if r.random() < 0.04:
            return _png(7000, 7000, 8, 0, 7000)
        case 2:
            head = r.choice(
                (
                    b"\x89PNG\r\n\x1a\n",
                    b"\xff\xd8\xff",
                    b"RIFF\0\0\0\0WEBPVP8 ",
                    b"BM",
                    b"GIF89a",
                    b"\0\0\0\x18ftypheic",
                )
            )
            return head + r.randbytes(r.choice((0, 4, 60, 5000)))
        case 3:
            return r.choice(
                (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!DOCTYPE html><html>", b"%PDF-1.7", b"PK\3\4")
            )
        case 4:
            jpeg = pictures()[0]
            exif = b"Exif\0\0" + r.choice((b"MM\0*", b"II*\0")) + r.randbytes(r.choice((4, 40, 4000)))
            return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
        case 5:
            bmp = bytearray(pictures()[3])
            struct.pack_into("<ii", bmp, 18, *(r.choice((-1, 0, 1, 2**31 - 1, -(2**31), 40_000)) for _ in "wh"))
            return bytes(bmp)
        case _:
            return mutated(picture, r)


def _picture(r: random.Random) -> bytes:
    message = good()
    message.image.encoded = _file(r)
    if r.random() < 0.04:  # to look for people costs most
        del message.boxes[:]
    return message.SerializeToString()


def _tensors(r: random.Random) -> bytes:
    """A request of the Open Inference Protocol with something wrong in it."""
    side = 192
    request = oip.ModelInferRequest(model_name=_MODEL)
    tensor = request.inputs.add(name="image", datatype="UINT8", shape=(1, side, side, 3))
    match r.randrange(8):
        case 0:
            sizes = (-1, 0, 1, 3, side, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))
            tensor.shape[:] = [r.choice(sizes) for _ in range(r.choice((0, 1, 3, 4, 5, 2000)))]
        case 1:
            tensor.shape[0] = r.choice((2, 100, 101, 2**40))
            request.raw_input_contents.append(bytes(side))
        case 2:
            request.raw_input_contents.extend([b""] * r.choice((1, 2, 5000)))
        case 3:
            tensor.contents.uint_contents.extend(
                [r.choice((0, 255, 256, 2**32 - 1))] * r.choice((1, 999, side * side * 3))
            )
        case 4:
            tensor.contents.fp32_contents.extend(_FLOATS)
            tensor.contents.bytes_contents.append(b"\xff" * 99)
        case 5:
            tensor.datatype = r.choice(("", "FP32", "BYTES", "\0" * 999))
            request.outputs.add(name=r.choice(("", "joints", "x" * 9999)))
        case 6:
            request.model_version = r.choice(("-1", "0", "1e9", "99999999", "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}"))
            tensor.parameters["shared_memory_region"].string_param = "x"
        case _:
            request.raw_input_contents.append(bytes(side * side * 3))
            return mutated(request.SerializeToString(), r)
    return request.SerializeToString()


def _any_message(r: random.Random) -> bytes:
    return r.choice((_message, _values, _picture))(r)


def _streamed(r: random.Random) -> Attack:
    whole = good().SerializeToString()
    frames = [whole if r.random() < 0.3 else _any_message(r) for _ in range(r.randrange(0, 9))]
    return Attack(STREAM, tuple(frames), stream=True, cancel=r.random() < 0.1)


def _other_stream(r: random.Random) -> Attack:
    frames = [r.choice((b"", r.randbytes(20), _message(r))) for _ in range(r.randrange(0, 4))]
    return Attack(r.choice(_STREAMS), tuple(frames), stream=True, timeout_s=0.5)


def _metadata(r: random.Random) -> Attack:
    junk = r.choice(("", "Bearer", "Bearer " + "x" * 5000, "Basic Og==", "bearer !"))
    metadata: tuple[tuple[str, str | bytes], ...] = (("authorization", junk),) * r.choice((1, 3))
    return Attack(PREDICT, (_message(r),), metadata=(*metadata, ("x-bin", r.randbytes(r.choice((0, 9, 3000))))))


def _large(r: random.Random) -> Attack:
    size = r.choice((1, 33, 65)) * 2**20
    return Attack(PREDICT, (_field(r.choice((1, 4, 77)), 2, bytes(size)),), compress=r.random() < 0.7)


def _socket(r: random.Random) -> Attack:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    frames = b"".join(
        struct.pack(">I", r.choice((0, 8, 16_384, 2**24 - 1)))[1:] + r.randbytes(6 + r.randrange(20)) for _ in range(5)
    )
    return Attack(
        SOCKET, (r.choice((r.randbytes(99), b"GET / HTTP/1.1\r\n\r\n", preface + frames, preface, b"\x16\3\1")),)
    )


_KINDS: dict[str, tuple[float, Callable[[random.Random], Attack]]] = {
    "malformed": (25, lambda r: Attack(PREDICT, (_message(r),))),
    "values": (18, lambda r: Attack(PREDICT, (_values(r),))),
    "pictures": (22, lambda r: Attack(PREDICT, (_picture(r),))),
    "tensors": (14, lambda r: Attack(INFER, (_tensors(r),))),
    "streams": (5, _streamed),
    "other streams": (1, _other_stream),
    "other methods": (5, lambda r: Attack(r.choice(_OTHER), (r.choice((b"", r.randbytes(9), _message(r))),))),
    "cancelled": (4, lambda r: Attack(PREDICT, (_any_message(r),), cancel=True)),
    "deadlines": (4, lambda r: Attack(PREDICT, (_any_message(r),), timeout_s=r.uniform(0, 0.005))),
    "metadata": (2, _metadata),
    "large": (0.15, _large),
    "sockets": (0.5, _socket),
}
