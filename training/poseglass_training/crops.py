"""People to augmented training crops. NumPy and OpenCV only; every sample is a function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box, compose, crop_affine, mirror_affine, transform, warp
from poseglass_core.skeleton import Skeleton
from poseglass_training.annotations import AnnotationError, Person

COARSE = (32, 128)
"""Pixels; heights of crops of people who are small in the picture."""


@dataclass(frozen=True)
class Augmentation:
    """How far training crops stray from the plain ones; the default strays nowhere.

    Attributes:
        flip: probability of a mirrored crop.
        rotation: largest turn in degrees, either way; drawn for `rotated` of the crops.
        rotated: share of crops that are turned at all.
        tumbled: share of crops that are turned by anything up to half a turn either way, whatever `rotation` says.
        scale: largest change of the crop's size, as a factor less 1.
        shift: largest shift, as a fraction of the box's longer side.
        colour: largest change of each channel's gain and offset, as a fraction.
        coarse: share of crops that look as if the person were small in the picture: see `coarsen`.
    """

    flip: float = 0.0
    rotation: float = 0.0
    rotated: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    colour: float = 0.0
    coarse: float = 0.0
    tumbled: float = 0.0


class Sample(NamedTuple):
    """One crop and its truth.

    Attributes:
        image: [H, W, 3] uint8 RGB.
        joints: [J, 2] float32, crop pixels.
        visible: [J] bool: labelled, and inside the crop.
        nobody: there is nobody in the crop, so that no joint is anywhere.
    """

    image: NDArray[np.uint8]
    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    nobody: bool = False


class SampleSource(Protocol):
    """What the training loop draws from. `epoch` None asks for the plain, unaugmented sample."""

    skeleton: Skeleton

    def __len__(self) -> int: ...

    def sample(self, epoch: int | None, index: int, size: tuple[int, int]) -> Sample: ...


class PhotoCrops:
    """Crops of labelled people out of photographs, which are kept in memory as they are on disk (encoded).

    Args:
        people: whom to crop.
        skeleton: their joints.
        padding: crop size over box size.
        augmentation: applied when an epoch is given.
        seed: of the augmentation.
    """

    def __init__(
        self,
        people: Sequence[Person],
        skeleton: Skeleton,
        padding: float,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.people, self.skeleton, self.padding = people, skeleton, padding
        self.augmentation, self.seed = augmentation or Augmentation(), seed
        self._encoded: dict[str, bytes] = {}
        for person in people:
            try:
                self._encoded[str(person.image)] = person.image.read_bytes()
            except OSError as error:
                raise AnnotationError(
                    f"annotation {person.id}: picture {person.image} cannot be read ({error.strerror})"
                ) from None

    def __len__(self) -> int:
        return len(self.people)

    def sample(self, epoch: int | None, index: int, size: tuple[int, int]) -> Sample:
        """The crop of person `index` at `size` (height, width), augmented for that epoch or plain."""
        person = self.people[index]
        data = np.frombuffer(self._encoded[str(person.image)], np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
        if image is None:
            raise AnnotationError(f"annotation {person.id}: picture {person.image} is broken or not an image")
        rng = None if epoch is None else np.random.default_rng((self.seed, epoch, index))
        return cut_sample(
            image.astype(np.uint8, copy=False),
            person.joints,
            person.visible,
            person.box,
            size,
            self.padding,
            self.skeleton,
            self.augmentation,
            rng,
        )


def cut_sample(
    image: NDArray[np.uint8],
    joints: NDArray[np.float32],
    visible: NDArray[np.bool_],
    box: Box,
    size: tuple[int, int],
    padding: float,
    skeleton: Skeleton,
    augmentation: Augmentation,
    rng: np.random.Generator | None,
) -> Sample:
    """One labelled person, cut out of a picture.

    Args:
        image: [height, width, 3] RGB.
        joints: [J, 2] pixel centres in the picture.
        visible: [J] which are labelled.
        box: the person.
        size: (height, width) of the crop.
        padding: crop size over box size.
        skeleton: says which joints change places in a mirror.
        augmentation: how far the crop may stray.
        rng: decides how far it does; None: the plain crop.
    """
    if rng is None:
        affine, mirrored = crop_affine(box, size, padding), False
    else:
        affine, mirrored = draw_affine(rng, augmentation, box, size, padding)
    crop = warp(image, affine, size)
    if rng is not None:
        crop = change_look(rng, crop, augmentation)
    placed = transform(affine, joints)
    if mirrored:
        swap = skeleton.flip_index
        placed, visible = placed[swap], visible[swap]
    height, width = size
    inside = (placed >= -0.5).all(axis=1) & (placed < (width - 0.5, height - 0.5)).all(axis=1)
    return Sample(crop, placed.astype(np.float32), visible & inside)


def change_look(rng: np.random.Generator, crop: NDArray[np.uint8], augmentation: Augmentation) -> NDArray[np.uint8]:
    """What augmentation does to a crop's pixels once they are where they belong: colour and detail."""
    if augmentation.colour:
        crop = _jitter_colour(rng, crop, augmentation.colour)
    return coarsen(rng, crop) if rng.random() < augmentation.coarse else crop


def coarsen(rng: np.random.Generator, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The crop as it would be, had it been cut out of so small a picture that it is `COARSE` pixels high there.

    Args:
        rng: draws the height, evenly on a logarithmic scale.
        crop: [height, width, 3].
    """
    height, width = crop.shape[:2]
    factor = min(float(np.exp(rng.uniform(*np.log(COARSE)))) / height, 1.0)
    small = cv2.resize(crop, (max(round(width * factor), 1), round(height * factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def draw_affine(
    rng: np.random.Generator, a: Augmentation, box: Box, size: tuple[int, int], padding: float
) -> tuple[NDArray[np.float64], bool]:
    """Image -> augmented crop of a box; and whether it mirrors."""
    side = max(box.width, box.height)
    shift = rng.uniform(-a.shift, a.shift, 2) * side
    angle = rng.uniform(-a.rotation, a.rotation) if rng.random() < a.rotated else 0.0
    scale = 1 + rng.uniform(-a.scale, a.scale)
    mirrored = bool(rng.random() < a.flip)
    if a.tumbled and rng.random() < a.tumbled:
        angle = rng.uniform(-180.0, 180.0)
    moved = Box(box.x + float(shift[0]), box.y + float(shift[1]), box.width, box.height, angle)
    affine = crop_affine(moved, size, padding * scale)
    return (compose(mirror_affine(size[1]), affine) if mirrored else affine), mirrored


def _jitter_colour(rng: np.random.Generator, image: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Brightness and contrast together, then each channel a little by itself."""
    gain = (1 + rng.uniform(-amount, amount)) * (1 + rng.uniform(-amount, amount, 3) / 2)
    offset = 255 * rng.uniform(-amount, amount) / 2
    table = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[:, None, :])  # type: ignore[return-value]
