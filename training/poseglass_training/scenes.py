"""Crops with a person and crops without, for learning to tell them apart. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box, crop_affine, warp, whole_image
from poseglass_runtime.images import decode_image
from poseglass_training.annotations import AnnotationError, KeypointData, box_or_complaint, image_folder, read_json
from poseglass_training.crops import Augmentation, Sample, SampleSource, change_look, coarsen, draw_affine

SMALLEST = 48
"""Pixels; people with a box smaller than this are neither shown nor cropped around."""

PERSON = "person"
"""COCO's name for the category of people."""

TOUCHING = 0.1
"""A window is without a person where it covers less of any box than this, and any box less of it."""

TRIES = 30

HELD_OUT_EVERY = 5
"""Pictures whose id is a multiple of this are never learned from."""

COARSE_SHARE = 0.5
"""Of the crops: as if whoever or whatever is in them were small in the picture."""


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

    @property
    def empty(self) -> bool:
        """Whether nobody is in the picture."""
        return not self.people and not self.avoid


def scenes_of(data: KeypointData) -> list[Scene]:
    """One scene a labelled person; in data sets that label only some of the people, others may be in the windows."""
    return [Scene(person.id, person.image, (person.box,)) for person in data.people]


def load_scenes(path: str | Path, images: str | Path | None = None, smallest: float = SMALLEST) -> list[Scene]:
    """The pictures of a COCO file with boxes of people; those without any are without people.

    Of a file with several categories, those boxes count whose category is called "person".

    Args:
        path: the JSON file.
        images: folder of the pictures; default: `images` beside the file, else the file's own folder.
        smallest: pixels; people whose longer side is less are only to be avoided.

    Raises:
        AnnotationError: the file is missing or is not such JSON, or a box or an id in it cannot be used.
    """
    path = Path(path)
    content = read_json(path)
    folder = image_folder(path) if images is None else Path(images)
    try:
        boxes: dict[int, list[tuple[Box, bool]]] = {_number(path, image["id"]): [] for image in content["images"]}
        people = _people(path, content.get("categories", ()))
        for annotation in content["annotations"]:
            if people is not None and annotation["category_id"] not in people:
                continue
            box = _box(path, annotation)
            if annotation["image_id"] not in boxes:
                raise AnnotationError(
                    f"{path}: annotation {annotation.get('id')} is of image {annotation['image_id']!r}, which is not "
                    "in `images`"
                )
            if box is not None:
                usable = not annotation.get("iscrowd") and max(box.width, box.height) >= smallest
                boxes[annotation["image_id"]].append((box, usable))
        return [
            Scene(
                image["id"],
                folder / image["file_name"],
                tuple(box for box, usable in boxes[image["id"]] if usable),
                tuple(box for box, usable in boxes[image["id"]] if not usable),
            )
            for image in content["images"]
        ]
    except AnnotationError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(f"{path}: not COCO JSON with boxes ({type(error).__name__}: {error})") from None


def _number(path: Path, image: Any) -> int:
    """A picture's id, by which it is held out or not."""
    if type(image) is not int:
        raise AnnotationError(f"{path}: the id of a picture must be a whole number, not {image!r}")
    return image


def _people(path: Path, categories: Sequence[dict[str, Any]]) -> set[Any] | None:
    """Ids of the categories that are people; None where there is one category at most, which is theirs."""
    if len(categories) < 2:
        return None
    people = {category["id"] for category in categories if str(category["name"]).lower() == PERSON}
    if not people:
        known = ", ".join(str(category["name"]) for category in categories[:10])
        raise AnnotationError(f"{path}: of its categories ({known}) none is called {PERSON!r}; rename the people's")
    return people


def _box(path: Path, annotation: dict[str, Any]) -> Box | None:
    """An annotation's box; None where it is smaller than a pixel, as a few of COCO's are."""
    values = annotation.get("bbox")
    box = box_or_complaint(values)
    if isinstance(box, Box):
        return box if min(box.width, box.height) >= 1 else None
    if isinstance(values, list) and len(values) == 4 and 0 in values[2:] and min(values[2:]) >= 0:
        return None
    raise AnnotationError(f"{path}: annotation {annotation.get('id')}: bbox {box}")


def split(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Scene]]:
    """Scenes to learn from, and scenes to judge by."""
    return [s for s in scenes if s.id % HELD_OUT_EVERY], [s for s in scenes if s.id % HELD_OUT_EVERY == 0]


class WithNobody:
    """Samples of people, and crops that show nobody.

    Args:
        people: samples of people; they keep their indices.
        scenes: where to cut crops without anybody; their pictures are kept in memory as they are on disk (encoded).
        share: of all samples, those that show nobody.
        augmentation: of the crops without anybody.
        seed: of these.

    Raises:
        AnnotationError: there are no scenes, or a picture is missing.
    """

    def __init__(
        self, people: SampleSource, scenes: Sequence[Scene], share: float, augmentation: Augmentation, seed: int = 0
    ) -> None:
        if not scenes:
            raise AnnotationError("there are no pictures to take crops without people from")
        self.people, self.scenes, self.augmentation, self.seed = people, scenes, augmentation, seed
        self.skeleton = people.skeleton
        self.empty = round(len(people) * share / (1 - share))
        self._encoded = [read_picture(scene.image) for scene in scenes]

    def __len__(self) -> int:
        return len(self.people) + self.empty

    def sample(self, epoch: int | None, index: int, size: tuple[int, int]) -> Sample:
        """A person's sample, or a crop without anybody; another one every epoch."""
        if index < len(self.people):
            return self.people.sample(epoch, index, size)
        rng = np.random.default_rng((self.seed, 0 if epoch is None else epoch + 1, index))
        joints = len(self.skeleton.joints)
        return Sample(self._empty_crop(rng, size), np.zeros((joints, 2), np.float32), np.zeros(joints, bool), True)

    def _empty_crop(self, rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
        for i in rng.permutation(len(self.scenes)):
            image = _decode(self._encoded[i], self.scenes[i].image)
            window = _empty_window(rng, image, self.scenes[i])
            if window is not None:
                affine, _ = draw_affine(rng, self.augmentation, window, size, 1.0)
                return change_look(rng, warp(image, affine, size), self.augmentation)
        raise AnnotationError("none of the pictures to take crops without people from has room for one")


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
        image = _decode(read_picture(scene.image), scene.image)
        positives = [scene.people[i] for i in rng.permutation(len(scene.people))[:each]]
        windows = [_empty_window(rng, image, scene) for _ in range(each)]
        for box, holds in [(_loosened(rng, b), True) for b in positives] + [(w, False) for w in windows if w]:
            crop = warp(image, crop_affine(box, size, padding if holds else 1.0), size)
            if rng.random() < COARSE_SHARE:
                crop = coarsen(rng, crop)
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
            person.append(holds)
    if not crops:
        return np.zeros((0, *size, 3), np.uint8), np.zeros(0, bool)
    return np.stack(crops), np.array(person)


def read_picture(path: Path) -> bytes:
    """The bytes of a picture file; AnnotationError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path}: the picture cannot be read ({error.strerror})") from None


def _decode(content: bytes, path: Path) -> NDArray[np.uint8]:
    try:
        return decode_image(content)
    except InvalidInput as error:
        raise AnnotationError(f"{path}: {error.reason}") from None


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
        if shared_area(window, whole_image(width, height)) < 0.6 * side**2:
            continue
        shared = [(shared_area(window, box), box.width * box.height) for box in taken]
        if all(area < TOUCHING * own and area < TOUCHING * side**2 for area, own in shared):
            return window
    return None


def shared_area(a: Box, b: Box) -> float:
    """Area that two upright boxes share."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(width, 0.0) * max(height, 0.0)
