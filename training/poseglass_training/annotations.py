"""COCO keypoint JSON, with any skeleton. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box, box_around
from poseglass_core.skeleton import Skeleton, mirror_name, skeleton_from_names
from poseglass_runtime.images import image_size
from poseglass_training.structure import SHOWN, listed, structure_complaint

DEV_EVERY = 17
"""Without a dev file, the people whose id is a multiple of this are held out."""


FIXES = {
    "keypoints": "leaves those people out",
    "picture": "leaves those people out",
    "box": "draws those boxes around the joints",
    "outside": "takes those joints as not labelled",
}
"""What can be wrong with a person's annotation, and what is then done where it is asked for."""

MARGIN = 1.0
"""Pixels; labels this far outside of their picture are rounding, not mistakes."""

FARTHEST = 1e6
"""Pixels; no picture is larger."""


class AnnotationError(ValueError):
    """An annotation file that cannot be used; the message names the file, the place and the remedy."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one annotation.

    Attributes:
        kind: one of `FIXES`.
        id: the annotation's.
        text: in words, with the numbers.
    """

    kind: str
    id: int
    text: str


@dataclass(frozen=True)
class Person:
    """One labelled person.

    Attributes:
        id: the annotation's id.
        image: path of the picture.
        box: tight box, edges.
        joints: [J, 2] float32, pixel centres of the upright image.
        visible: [J] which joints are labelled (COCO's v > 0).
        image_id: the picture's id; -1 where it has none that is a number.
    """

    id: int
    image: Path
    box: Box
    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    image_id: int = -1


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


def load_coco(path: str | Path, images: str | Path | None = None, fix: Collection[str] = ()) -> KeypointData:
    """Read COCO keypoint annotations; people without a labelled joint, and crowds, are passed over.

    Args:
        path: the JSON file. Its category names the keypoints (and may list a skeleton, counted from 1, and the names
            that change places in a mirror as `flip_pairs`; else these are read from left and right in the names).
            `info.keypoint_offset` [dx, dy], where present, is added to every label to bring it to pixel centres.
        images: folder of the pictures; default: `images` beside the file, else the file's own folder.
        fix: kinds of problems to mend, of `FIXES`.

    Raises:
        AnnotationError: the file is missing, is not such JSON, or holds problems that are not to be mended.
    """
    data, problems = audit(path, images, pictures=False)
    require_fixed(path, problems, fix)
    return data


def audit(
    path: str | Path, images: str | Path | None = None, pictures: bool = True
) -> tuple[KeypointData, list[Problem]]:
    """Read COCO keypoint annotations, mend what is wrong with them, and say what it was.

    Args:
        path, images: as `load_coco` takes them.
        pictures: read the pictures' headers as well: are they there, whole, and are the joints inside?

    Raises:
        AnnotationError: the file as a whole is not usable.
    """
    path = Path(path)
    content = read_json(path)
    if images is not None and not Path(images).is_dir():
        raise AnnotationError(f"{images}: no such folder of images")
    folder = image_folder(path) if images is None else Path(images)
    if complaint := structure_complaint(content):
        raise AnnotationError(f"{path}: not COCO keypoint JSON that can be used: {complaint}")
    data, problems = _parse(path, content, folder)
    if pictures:
        data, more = _look_at_pictures(data)
        problems += more
    return data, problems


def require_fixed(path: str | Path, problems: Sequence[Problem], fix: Collection[str]) -> None:
    """AnnotationError where there are problems of a kind that is not to be mended."""
    unknown = sorted(set(fix) - FIXES.keys())
    if unknown:
        raise AnnotationError(f"nothing is called {unknown[0]!r} that could be fixed; there are: {', '.join(FIXES)}")
    left = [problem for problem in problems if problem.kind not in fix]
    if left:
        raise AnnotationError(f"{path}: {describe(left, SHOWN)}")


def describe(problems: Sequence[Problem], shown: int | None = None) -> str:
    """Problems by kind, with their number, the annotations' ids and the remedy; several lines.

    Args:
        problems: at least one.
        shown: ids a kind, at most; None: all.
    """
    lines = [f"{len({p.id for p in problems})} annotations cannot be used as they are"]
    for kind, remedy in FIXES.items():
        ours = [problem for problem in problems if problem.kind == kind]
        if not ours:
            continue
        ids = [str(number) for number in dict.fromkeys(problem.id for problem in ours)]
        lines.append(f"  {kind}: {len(ids)} ({listed(ids, shown)})")
        lines.append(f"    {ours[0].text}; mend the file, or train with --fix {kind}, which {remedy}")
    return "\n".join(lines)


def require_other_file(source: Path, out: Path, option: str) -> None:
    """AnnotationError, naming the option, where `out` cannot be written without harm to `source`, or not at all."""
    if out.is_dir():
        raise AnnotationError(f"{option} {out} is a folder; name a file")
    if out.exists() and source.exists() and out.samefile(source):
        raise AnnotationError(f"{option} {out} is the input; name another file, so that the labels as given are kept")
    if not out.parent.is_dir():
        raise AnnotationError(f"{option}: {out.parent}: no such folder to write into")


def read_json(path: Path) -> Any:
    """The content of a JSON file; AnnotationError where it is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such annotation file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not a readable JSON file ({error})") from None


def image_folder(path: Path) -> Path:
    """Where the pictures of an annotation file are: `images` beside it, else its own folder."""
    folder = path.parent / "images"
    return folder if folder.is_dir() else path.parent


def _parse(path: Path, content: dict[str, Any], folder: Path) -> tuple[KeypointData, list[Problem]]:
    category = next((c for c in content["categories"] if c.get("keypoints")), None)
    if category is None:
        raise AnnotationError(f"{path}: no category lists `keypoints`; is this a detection file?")
    skeleton = _skeleton(path, category)
    info = content.get("info", {})
    offset = np.array(info.get("keypoint_offset", (0.0, 0.0)))
    files = {image["id"]: folder / image["file_name"] for image in content["images"]}
    people: list[Person] = []
    problems: list[Problem] = []
    for annotation in content["annotations"]:
        if annotation.get("iscrowd") or not annotation.get("keypoints"):
            continue
        if annotation.get("category_id", category.get("id")) != category.get("id"):
            continue  # of another kind
        number, image = annotation["id"], annotation["image_id"]
        values = _keypoints(annotation["keypoints"], len(skeleton.joints))
        if isinstance(values, str):
            problems.append(Problem("keypoints", number, f"annotation {number} has {values}"))
            continue
        visible = values[:, 2] > 0
        if not visible.any():
            continue
        if image not in files:
            what = f"image {image}, which is not in `images`"
            problems.append(Problem("picture", number, f"annotation {number} is of {what}"))
            continue
        joints = (values[:, :2] + offset).astype(np.float32)
        box = box_or_complaint(annotation.get("bbox"))
        if isinstance(box, str):
            problems.append(Problem("box", number, f"annotation {number}: bbox {box}"))
            box = box_around(joints[visible])
        people.append(Person(number, files[image], box, joints, visible, image if isinstance(image, int) else -1))
    data = KeypointData(
        name=info.get("description") or path.stem,
        skeleton=skeleton,
        people=people,
        licence=info.get("licence") or "see the data set",
    )
    return data, problems


def _skeleton(path: Path, category: dict[str, Any]) -> Skeleton:
    names = category["keypoints"]
    if any(not 1 <= end <= len(names) for limb in category.get("skeleton", ()) for end in limb):
        raise AnnotationError(f"{path}: `skeleton` must count the keypoints from 1 to {len(names)}")
    limbs = [(names[a - 1], names[b - 1]) for a, b in category.get("skeleton", ())]
    try:
        skeleton = skeleton_from_names(names, limbs)
        if "flip_pairs" not in category:
            _require_pairs(path, names)
            return skeleton
        pairs = tuple((a, b) for a, b in category["flip_pairs"])
        for a, b in (*pairs, *((b, a) for a, b in pairs)):
            if mirror_name(a) in names and mirror_name(a) not in (a, b):
                raise AnnotationError(f"{path}: flip_pairs: {a} changes places with {mirror_name(a)}, not with {b}")
        return replace(skeleton, flip_pairs=pairs)
    except AnnotationError:
        raise
    except ValueError as error:
        raise AnnotationError(f"{path}: not a skeleton that can be used: {error}") from None


def _numbers(values: Any) -> NDArray[np.float64] | None:
    """A flat list of numbers; None where it is something else."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.ndim == 1 else None


def _keypoints(values: Any, joints: int) -> NDArray[np.float64] | str:
    """[joints, 3] x, y, v; or what is wrong with them."""
    numbers = _numbers(values)
    if numbers is None:
        return "keypoints that are no list of numbers"
    if numbers.size != 3 * joints:
        return f"{numbers.size} keypoint numbers, not 3 x {joints} joints"
    if not (np.abs(numbers) < FARTHEST).all():
        return "a keypoint that is not a finite number of pixels"
    rows = numbers.reshape(-1, 3)
    if not np.isin(rows[:, 2], (0, 1, 2)).all():
        return "a keypoint whose v is not 0 (not labelled), 1 (covered) or 2 (to be seen)"
    return rows


def box_or_complaint(values: Any) -> Box | str:
    """A box; or what is wrong with it."""
    numbers = _numbers(values)
    if numbers is None or numbers.size != 4:
        return "must be four numbers: x, y, width, height"
    try:
        return Box(*numbers.tolist())
    except ValueError as error:
        return str(error)


def _require_pairs(path: Path, names: Sequence[str]) -> None:
    """AnnotationError where a joint with a side has no counterpart: mirrored crops would teach it wrongly."""
    alone = [name for name in names if mirror_name(name) != name and mirror_name(name) not in names]
    if alone:
        raise AnnotationError(
            f"{path}: flip pairs do not pair: {', '.join(f'{n} has no {mirror_name(n)}' for n in alone)}; rename the "
            f"joints, or list the pairs of names that change places in a mirror as the category's `flip_pairs`"
        )


def _look_at_pictures(data: KeypointData) -> tuple[KeypointData, list[Problem]]:
    """The people whose pictures are there and whole, without joints outside of them."""
    people: list[Person] = []
    problems: list[Problem] = []
    sizes: dict[Path, tuple[int, int] | str] = {}
    for person in data.people:
        if person.image not in sizes:
            sizes[person.image] = _size_or_complaint(person.image)
        size = sizes[person.image]
        if isinstance(size, str):
            shown = str(person.image).encode("utf-8", "backslashreplace").decode()
            problems.append(Problem("picture", person.id, f"annotation {person.id}: {shown} {size}"))
            continue
        height, width = size
        box = person.box
        if box.x >= width or box.y >= height or box.x + box.width <= 0 or box.y + box.height <= 0:
            what = f"bbox lies outside the picture of {width} x {height} pixels"
            problems.append(Problem("box", person.id, f"annotation {person.id}: {what}"))
            box = box_around(person.joints[person.visible])
        away = np.maximum(-0.5 - person.joints, person.joints - (width - 0.5, height - 0.5)).max(axis=1)
        outside = person.visible & (away > MARGIN)
        if outside.any():
            names = ", ".join(data.skeleton.joints[i] for i in np.flatnonzero(outside))
            what = f"{names} outside the picture of {width} x {height} pixels"
            problems.append(Problem("outside", person.id, f"annotation {person.id} has {what}"))
        people.append(replace(person, box=box, visible=person.visible & ~outside))
    return replace(data, people=people), problems


def require_pictures(source: str | Path, pictures: Iterable[Path]) -> None:
    """Make sure that an annotation file's pictures are there and whole, before work begins that needs them.

    Args:
        source: the annotation file.
        pictures: files.

    Raises:
        AnnotationError: some are not; the message names the first.
    """
    paths = sorted(set(pictures))
    wrong = [f"{path}: {said}" for path in paths if isinstance(said := _size_or_complaint(path), str)]
    if wrong:
        raise AnnotationError(
            f"{source}: {len(wrong)} of {len(paths)} pictures cannot be used, the first of them: {wrong[0]}; mend "
            "them, or leave them out of the file"
        )


def _size_or_complaint(path: Path) -> tuple[int, int] | str:
    """A picture's upright height and width, or what is wrong with it."""
    try:
        return image_size(path.read_bytes())
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except InvalidInput as error:
        return error.reason
    except ValueError:
        return "cannot be read (no file can have that name)"
