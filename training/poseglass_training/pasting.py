"""Labelled pictures pasted onto larger backgrounds, to see whether a person is found anywhere. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box
from poseglass_runtime.images import decode_image
from poseglass_training.annotations import AnnotationError, Person, image_folder, read_json

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}

SHARE = 1 / 3
"""Size of a pasted picture, as a share of its own."""


def backgrounds_of(source: str | Path) -> list[Path]:
    """Pictures to paste onto.

    Args:
        source: a folder of pictures, all of which are taken; or a COCO annotation file, of which those without any
            annotation are.

    Raises:
        AnnotationError: there is no such thing, or no picture in it.
    """
    source = Path(source)
    if source.is_dir():
        found = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    else:
        content = read_json(source)
        folder = image_folder(source)
        try:
            annotated = {annotation["image_id"] for annotation in content["annotations"]}
            found = [folder / image["file_name"] for image in content["images"] if image["id"] not in annotated]
        except (KeyError, TypeError) as error:
            raise AnnotationError(f"{source}: not COCO JSON ({type(error).__name__}: {error})") from None
    if not found:
        raise AnnotationError(f"{source}: holds no picture to paste onto")
    return found


class Pasting:
    """Puts pictures at random places on random backgrounds; which, is a function of the seed and the person's id.

    Args:
        backgrounds: picture files; those that a pasted picture does not fit on are passed over.
        name: of the backgrounds, for the protocol.
        share: size of the pasted picture, as a share of its own; of two numbers, one between them is drawn.
        seed: of places and choices.
    """

    def __init__(
        self, backgrounds: Sequence[Path], name: str, share: float | tuple[float, float] = SHARE, seed: int = 0
    ) -> None:
        self.backgrounds, self.name, self.seed = backgrounds, name, seed
        self.share = share if isinstance(share, tuple) else (share, share)

    def describe(self) -> str:
        """What was done, for the protocol."""
        low, high = self.share
        share = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        return (
            f"each picture pasted at {share} of its size at a random place on one of "
            f"{len(self.backgrounds)} pictures of {self.name} (seed {self.seed})"
        )

    def paste(self, image: NDArray[np.uint8], people: Sequence[Person]) -> tuple[NDArray[np.uint8], list[Person]]:
        """A background with the picture on it, and the people where they are now.

        Args:
            image: [height, width, 3] RGB.
            people: labelled in it, at least one; their boxes are upright.

        Raises:
            AnnotationError: a background is broken, or none is large enough.
        """
        rng = np.random.default_rng((self.seed, people[0].id))
        low, high = self.share
        share = low if low == high else rng.uniform(low, high)  # one number draws nothing: places stay as they were
        height, width = (max(1, round(side * share)) for side in image.shape[:2])
        scene = self._background(rng, height, width)
        top = int(rng.integers(scene.shape[0] - height + 1))
        left = int(rng.integers(scene.shape[1] - width + 1))
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        scene[top : top + height, left : left + width] = small
        factor = np.array([width / image.shape[1], height / image.shape[0]])
        return scene, [_moved(person, factor, np.array([left, top])) for person in people]

    def _background(self, rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
        for i in rng.permutation(len(self.backgrounds)):
            path = self.backgrounds[i]
            try:
                scene = decode_image(path.read_bytes())
            except OSError as error:
                raise AnnotationError(f"{path}: the background cannot be read ({error.strerror})") from None
            except InvalidInput as error:
                raise AnnotationError(f"{path}: {error.reason}") from None
            if scene.shape[0] >= height and scene.shape[1] >= width:
                return scene
        raise AnnotationError(f"{self.name}: no background is as large as {width} x {height} pixels")


def _moved(person: Person, factor: NDArray[np.float64], corner: NDArray[np.int64]) -> Person:
    """A person whose picture was scaled about its top left edge, then moved."""
    joints = (person.joints + 0.5) * factor - 0.5 + corner
    box = person.box
    x, y = np.array([box.x, box.y]) * factor + corner
    width, height = np.array([box.width, box.height]) * factor
    return replace(
        person, joints=joints.astype(np.float32), box=Box(float(x), float(y), float(width), float(height), box.angle)
    )


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file with an RGB picture."""
    done, data = cv2.imencode(".png", image[..., ::-1])
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG")
    return data.tobytes()
