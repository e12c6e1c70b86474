"""Crops with a person and crops without, for learning to tell them apart. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box, crop_affine, warp, whole_image
from poseglass_training.annotations import AnnotationError, KeypointData, image_folder, read_json

SMALLEST = 48
"""Pixels; people with a box smaller than this are neither shown nor cropped around."""

TOUCHING = 0.1
"""A window is without a person where it covers less of any box than this, and any box less of it."""

TRIES = 30


@dataclass(frozen=True)
class Scene:
    """A picture and where the people in it are.

    Attributes:
        id: of the picture.
        image: path of the picture.
        people: boxes of people large enough to be cropped.
        avoid: boxes of everybody else: small people, crowds.
    """

    id: int
    image: Path
    people: tuple[Box, ...]
    avoid: tuple[Box, ...] = ()


def scenes_of(data: KeypointData) -> list[Scene]:
    """One scene a labelled person; in data sets that label only some of the people, others may be in the windows."""
    return [Scene(person.id, person.image, (person.box,)) for person in data.people]


def load_scenes(path: str | Path, images: str | Path | None = None) -> list[Scene]:
    """The pictures of a COCO file whose annotations are boxes of people; those without any are without people.

    Args:
        path: the JSON file.
        images: folder of the pictures; default: `images` beside the file, else the file's own folder.

    Raises:
        AnnotationError: the file is missing or is not such JSON.
    """
    path = Path(path)
    content = read_json(path)
    folder = image_folder(path) if images is None else Path(images)
    try:
        boxes: dict[int, list[tuple[Box, bool]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            x, y, width, height = map(float, annotation["bbox"])
            if width < 1 or height < 1:
                continue
            usable = not annotation.get("iscrowd") and max(width, height) >= SMALLEST
            boxes[annotation["image_id"]].append((Box(x, y, width, height), usable))
        return [
            Scene(
                image["id"],
                folder / image["file_name"],
                tuple(box for box, usable in boxes[image["id"]] if usable),
                tuple(box for box, usable in boxes[image["id"]] if not usable),
            )
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(f"{path}: not COCO JSON with boxes ({type(error).__name__}: {error})") from None


def draw_crops(
    scenes: Sequence[Scene], size: tuple[int, int], padding: float, each: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Crops around people, and as many windows without anybody where there is room for them.

    Args:
        scenes: to cut from.
        size: (height, width) of the crops.
        padding: crop size over box size.
        each: crops of either kind a scene, at most.
        seed: of what is random.

    Returns:
        crops [N, height, width, 3] and whether each holds a person, [N].

    Raises:
        AnnotationError: a picture is missing or broken.
    """
    crops: list[NDArray[np.uint8]] = []
    person: list[bool] = []
    for scene in scenes:
        rng = np.random.default_rng((seed, scene.id))
        image = _read(scene.image)
        positives = [scene.people[i] for i in rng.permutation(len(scene.people))[:each]]
        windows = [_empty_window(rng, image, scene) for _ in range(each)]
        for box, holds in [(_loosened(rng, b), True) for b in positives] + [(w, False) for w in windows if w]:
            crop = _coarsened(rng, warp(image, crop_affine(box, size, padding if holds else 1.0), size))
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
            person.append(holds)
    if not crops:
        return np.zeros((0, *size, 3), np.uint8), np.zeros(0, bool)
    return np.stack(crops), np.array(person)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    except (OSError, cv2.error) as error:
        raise AnnotationError(f"{path}: cannot be read ({type(error).__name__})") from None
    if image is None:
        raise AnnotationError(f"{path}: broken or not an image")
    return image.astype(np.uint8, copy=False)


def _coarsened(rng: np.random.Generator, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For half of the crops, as if whoever or whatever is in it were small in the picture."""
    if rng.random() < 0.5:
        return crop
    height, width = crop.shape[:2]
    side = float(np.exp(rng.uniform(np.log(32), np.log(128))))
    small = cv2.resize(crop, (round(side), round(side * height / width)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _loosened(rng: np.random.Generator, box: Box) -> Box:
    """About the same box: boxes that are found are never quite those that were labelled; and turned at random."""
    side = max(box.width, box.height)
    factor = rng.uniform(0.8, 1.25)
    width, height = box.width * factor, box.height * factor
    x, y = np.array(box.centre) + rng.uniform(-0.08, 0.08, 2) * side
    angle = float(rng.uniform(-180, 180)) if rng.random() < 0.3 else float(rng.uniform(-30, 30))
    return Box(float(x) - width / 2, float(y) - height / 2, width, height, angle)


def _empty_window(rng: np.random.Generator, image: NDArray[np.uint8], scene: Scene) -> Box | None:
    """A square somewhere in a picture that nobody is in; None where there seems to be no room."""
    height, width = image.shape[:2]
    taken = [*scene.people, *scene.avoid]
    for _ in range(TRIES):
        side = float(np.exp(rng.uniform(np.log(32), np.log(1.1 * max(height, width)))))
        x, y = (rng.uniform(*sorted((-0.15 * side, length - 0.85 * side))) for length in (width, height))
        window = Box(float(x), float(y), side, side)
        if _overlap(window, whole_image(width, height)) < 0.6 * side**2:
            continue
        shared = [(_overlap(window, box), box.width * box.height) for box in taken]
        if all(area < TOUCHING * own and area < TOUCHING * side**2 for area, own in shared):
            return window
    return None


def _overlap(a: Box, b: Box) -> float:
    """Area that two upright boxes share."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(width, 0.0) * max(height, 0.0)
