"""What every server does with a picture: decode, crop, infer, and back to the picture's coordinates."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Affine, Box, crop_affine, invert, transform, warp
from poseglass_runtime.engine import load_engine
from poseglass_runtime.images import decode_image

HOST = "127.0.0.1"
MODEL = "pose"
"""What a server that wants a name calls the model."""

WAIT = 0.001
"""Seconds that a batch waits for more crops, where a server knows no "not at all"."""

TIMEOUT = 60
"""Seconds that a server gives a request; more than the load's own deadline, so that none is cut short here."""

READY = "ready-"
"""How the files begin by which processes say that they work."""

_VARIABLE = "POSEGLASS_PEER"
_BOX = struct.Struct("<4f")


@dataclass(frozen=True)
class Settings:
    """How an application is to serve. It finds them in its environment, as some servers read the command line.

    Attributes:
        port: of its address.
        other_port: free too, for a server that wants two.
        workers: processes that infer; 0: the one that takes requests does.
        threads: of each one's session.
        decoders: processes that decode and crop before them; 0: those that infer do.
        batch: most crops a run of the network.
        model: the ONNX file.
        folder: empty; where each process that works leaves a file once it is ready.
    """

    port: int
    other_port: int
    workers: int
    threads: int
    decoders: int
    batch: int
    model: str
    folder: str

    @property
    def processes(self) -> int:
        """That say that they are ready."""
        return max(self.workers, 1) + self.decoders

    def environment(self) -> dict[str, str]:
        """What the application's process must find in its environment."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Settings:
        """As they were given."""
        return cls(**json.loads(os.environ[_VARIABLE]))

    def ready(self) -> None:
        """Say that one of the processes works."""
        handle, _ = tempfile.mkstemp(prefix=READY, dir=self.folder)
        os.close(handle)


class Crop(NamedTuple):
    """What the network sees of a picture.

    Attributes:
        pixels: [H, W, 3] RGB.
        to_image: crop pixels -> the picture's.
    """

    pixels: NDArray[np.uint8]
    to_image: Affine


class Joints(NamedTuple):
    """An answer.

    Attributes:
        joints: [J, 2] pixels of the picture.
        scores: [J].
    """

    joints: NDArray[np.float32]
    scores: NDArray[np.float32]

    def to_json(self) -> bytes:
        """{"joints": [[x, y], ...], "scores": [...]}, pixels to a hundredth."""
        joints = self.joints.astype(np.float64).round(2).tolist()
        return json.dumps({"joints": joints, "scores": self.scores.astype(np.float64).round(4).tolist()}).encode()


class Cutter:
    """Decodes pictures and cuts crops, each on one thread.

    Args:
        size: (height, width) of crops.
        padding: crop size over box size.
    """

    def __init__(self, size: tuple[int, int], padding: float) -> None:
        cv2.setNumThreads(0)
        self._size, self._padding = size, padding

    def __call__(self, picture: bytes, box: Sequence[float]) -> Crop:
        """The crop of a person.

        Args:
            picture: a JPEG file's bytes.
            box: x, y, width, height.
        """
        affine = crop_affine(Box(*map(float, box)), self._size, self._padding)
        return Crop(warp(decode_image(picture), affine, self._size), invert(affine))


class Work:
    """All of the work.

    Args:
        model: ONNX file.
        threads: of its session.

    Attributes:
        cut: picture and box -> crop.
    """

    def __init__(self, model: str, threads: int) -> None:
        self._engine = load_engine(model, "cpu", threads)
        manifest = self._engine.manifest
        self.cut = Cutter(manifest.input_size, manifest.box_padding)

    def infer(self, crops: Sequence[Crop]) -> list[Joints]:
        """The joints of crops, in one run of the network."""
        raw = self._engine.run(np.stack([crop.pixels for crop in crops]))
        return [
            Joints(transform(crop.to_image, joints).astype(np.float32), scores)
            for crop, joints, scores in zip(crops, raw.joints, raw.scores, strict=True)
        ]


def pack(picture: bytes, box: Sequence[float]) -> bytes:
    """A request as an HTTP body: the box, four little-endian float32, and the picture's file. Nothing is cheaper."""
    return _BOX.pack(*box) + picture


def unpack(body: bytes) -> tuple[bytes, tuple[float, ...]]:
    """The picture and the box of such a body."""
    return body[_BOX.size :], _BOX.unpack_from(body)
