"""COCO keypoint JSON, with any skeleton. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box
from poseglass_core.skeleton import Skeleton, skeleton_from_names

DEV_EVERY = 17
"""Without a dev file, the people whose id is a multiple of this are held out."""


class AnnotationError(ValueError):
    """An annotation file that cannot be used; the message names the file, the place and the remedy."""


@dataclass(frozen=True)
class Person:
    """One labelled person.

    Attributes:
        id: the annotation's id.
        image: path of the picture.
        box: tight box, edges.
        joints: [J, 2] float32, pixel centres of the upright image.
        visible: [J] which joints are labelled (COCO's v > 0).
    """

    id: int
    image: Path
    box: Box
    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class KeypointData:
    """The people of one annotation file and the skeleton they are labelled with."""

    name: str
    skeleton: Skeleton
    people: Sequence[Person]
    licence: str = "unknown"

    def where(self, keep: Callable[[Person], bool]) -> KeypointData:
        """The same data with some of its people."""
        return replace(self, people=[person for person in self.people if keep(person)])

    def hold_out(self, every: int = DEV_EVERY) -> tuple[KeypointData, KeypointData]:
        """(train, dev): people whose id is a multiple of `every` are dev."""
        return self.where(lambda p: p.id % every != 0), self.where(lambda p: p.id % every == 0)


def load_coco(path: str | Path, images: str | Path | None = None) -> KeypointData:
    """Read COCO keypoint annotations; people without a labelled joint, and crowds, are passed over.

    Args:
        path: the JSON file. Its category names the keypoints (and may list a skeleton, counted from 1).
            `info.keypoint_offset` [dx, dy], where present, is added to every label to bring it to pixel centres.
        images: folder of the pictures; default: `images` beside the file, else the file's own folder.

    Raises:
        AnnotationError: the file is missing, is not such JSON, or refers to what it does not hold.
    """
    path = Path(path)
    content = read_json(path)
    if images is not None and not Path(images).is_dir():
        raise AnnotationError(f"{images}: no such folder of images")
    folder = image_folder(path) if images is None else Path(images)
    try:
        return _parse(path, content, folder)
    except AnnotationError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise AnnotationError(f"{path}: not COCO keypoint JSON ({type(error).__name__}: {error})") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file; AnnotationError where it is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such annotation file") from None
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not a readable JSON file ({error})") from None


def image_folder(path: Path) -> Path:
    """Where the pictures of an annotation file are: `images` beside it, else its own folder."""
    folder = path.parent / "images"
    return folder if folder.is_dir() else path.parent


def _parse(path: Path, content: dict[str, Any], folder: Path) -> KeypointData:
    category = next((c for c in content["categories"] if c.get("keypoints")), None)
    if category is None:
        raise AnnotationError(f"{path}: no category lists `keypoints`; is this a detection file?")
    names = category["keypoints"]
    if any(not 1 <= end <= len(names) for limb in category.get("skeleton", ()) for end in limb):
        raise AnnotationError(f"{path}: `skeleton` must count the keypoints from 1 to {len(names)}")
    limbs = [(names[a - 1], names[b - 1]) for a, b in category.get("skeleton", ())]
    skeleton = skeleton_from_names(names, limbs)
    info = content.get("info", {})
    offset = np.array(info.get("keypoint_offset", (0.0, 0.0)), dtype=np.float32)
    files = {image["id"]: folder / image["file_name"] for image in content["images"]}
    people = []
    for annotation in content["annotations"]:
        if annotation.get("iscrowd") or not annotation.get("keypoints"):
            continue
        number = annotation["id"]
        values = np.array(annotation["keypoints"], dtype=np.float32)
        if values.size != 3 * len(names):
            raise AnnotationError(
                f"{path}: annotation {number} has {values.size} keypoint numbers, not 3 x {len(names)} joints"
            )
        values = values.reshape(-1, 3)
        if not np.isfinite(values).all():
            raise AnnotationError(f"{path}: annotation {number} has a keypoint that is not a finite number")
        visible = values[:, 2] > 0
        if not visible.any():
            continue
        if annotation["image_id"] not in files:
            raise AnnotationError(f"{path}: annotation {number} is of image {annotation['image_id']}, not in `images`")
        try:
            box = Box(*(float(side) for side in annotation["bbox"]))
        except ValueError as error:
            raise AnnotationError(f"{path}: annotation {number}: bbox {error}") from None
        people.append(Person(number, files[annotation["image_id"]], box, values[:, :2] + offset, visible))
    return KeypointData(
        name=info.get("description") or path.stem,
        skeleton=skeleton,
        people=people,
        licence=info.get("licence") or "see the data set",
    )
