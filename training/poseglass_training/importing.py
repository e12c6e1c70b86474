"""Other annotation formats to COCO keypoint JSON: LSP and LSPET, MPII, and lines of text. Needs scipy for `.mat` files.

Labels of all three count pixels from 1, as MATLAB does, unless said otherwise; the file that is written says so in
`info.keypoint_offset`, and keeps the numbers as they were.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import box_around
from poseglass_core.skeleton import LSP
from poseglass_runtime.images import image_size
from poseglass_training.annotations import FARTHEST, AnnotationError

MPII_JOINTS: tuple[str, ...] = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "pelvis",
    "thorax",
    "upper_neck",
    "head_top",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
)
MPII_LIMBS: tuple[tuple[str, str], ...] = (
    *((a, b) for a, b in LSP.limbs if {a, b} <= set(MPII_JOINTS)),
    ("pelvis", "thorax"),
    ("left_shoulder", "thorax"),
    ("right_shoulder", "thorax"),
    ("thorax", "upper_neck"),
    ("upper_neck", "head_top"),
)

HIDDEN, VISIBLE = 1, 2
"""COCO's v of a joint that is labelled: covered, or to be seen. 0 is not labelled."""

FROM_ONE = (-1.0, -1.0)
"""Brings labels that count from 1 to pixel centres that count from 0."""

Row = tuple[str, NDArray[np.float64], list[float] | None]
"""A picture's file name, [J, 3] x, y, v, and the box [x, y, width, height] where the source has one."""


def lsp_rows(path: Path) -> list[Row]:
    """The people of a `joints.mat` of LSP (3 x 14 x N) or LSPET (14 x 3 x N).

    LSP flags joints that are covered, and labels them all the same; LSPET flags those that are to be seen, and what it
    says of the others is not a label. (Johnson and Everingham, BMVC 2010 and CVPR 2011.)

    Raises:
        AnnotationError: the file is missing or is not one of the two.
    """
    variable = _load_mat(path).get("joints")
    if variable is None:
        raise AnnotationError(f"{path}: holds no variable `joints`; is it LSP's or LSPET's joints.mat?")
    try:
        joints = np.asarray(variable, dtype=np.float64)
    except (TypeError, ValueError):
        raise AnnotationError(f"{path}: `joints` must be an array of numbers") from None
    if joints.ndim == 3 and joints.shape[:2] == (3, 14):
        people, digits = joints.transpose(2, 1, 0), 4
        flags = np.where(people[..., 2] > 0, HIDDEN, VISIBLE)
    elif joints.ndim == 3 and joints.shape[:2] == (14, 3):
        people, digits = joints.transpose(2, 0, 1), 5
        flags = np.where(people[..., 2] > 0, VISIBLE, 0)
    else:
        raise AnnotationError(f"{path}: `joints` must be 3 x 14 x N (LSP) or 14 x 3 x N (LSPET), not {joints.shape}")
    _require_places(path, people[..., :2][flags > 0])
    return [
        (f"im{i:0{digits}d}.jpg", np.column_stack([person[:, :2], flag]), None)
        for i, (person, flag) in enumerate(zip(people, flags, strict=True), 1)
    ]


def mpii_rows(path: Path) -> list[Row]:
    """The labelled people of MPII's training pictures, `mpii_human_pose_v1_u12_1.mat`.

    A person's box is the square of 200 times `scale` pixels around `objpos`. (Andriluka et al., CVPR 2014.)

    Raises:
        AnnotationError: the file is missing or is not this one.
    """
    content = _load_mat(path)
    try:
        release = content["RELEASE"]
        training = np.atleast_1d(release.img_train).astype(bool)
        pictures = np.atleast_1d(release.annolist)
        rows: list[Row] = []
        for picture in pictures[training]:
            name = str(picture.image.name)
            rows += [_mpii_row(name, person) for person in _each(picture.annorect) if _has_points(person)]
        for _, values, box in rows:
            _require_places(path, np.append(values[values[:, 2] > 0, :2].ravel(), box or ()))
        return rows
    except (KeyError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise AnnotationError(f"{path}: not MPII's annotations ({type(error).__name__}: {error})") from None


def _mpii_row(name: str, person: Any) -> Row:
    values = np.zeros((len(MPII_JOINTS), 3))
    for point in _each(person.annopoints.point):
        # Some joints have no flag: the file leaves it out for the head.
        seen = np.size(getattr(point, "is_visible", ())) == 0 or int(point.is_visible) > 0
        values[int(point.id)] = point.x, point.y, VISIBLE if seen else HIDDEN
    side = 200 * float(person.scale)
    return name, values, [float(person.objpos.x) - side / 2, float(person.objpos.y) - side / 2, side, side]


def _each(value: Any) -> list[Any]:
    """MATLAB's struct arrays come as nothing, one or an array."""
    return list(np.atleast_1d(value)) if np.size(value) else []


def _has_points(person: Any) -> bool:
    points = getattr(person, "annopoints", None)
    return np.size(getattr(points, "point", ())) > 0 and np.size(getattr(person, "scale", ())) > 0


def text_rows(path: Path, joints: int) -> list[Row]:
    """People of lines `image x_min y_min x_max y_max x1 y1 x2 y2 …`; a joint at negative coordinates is not labelled.

    A name with spaces stands in quotes.

    Args:
        path: the file; empty lines and those that begin with # are passed over.
        joints: that each line must have.

    Raises:
        AnnotationError: the file is missing, or a line is not of this form.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not a readable text file ({error})") from None
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, *words = shlex.split(line)
            values = np.array([float(word) for word in words])
        except ValueError as error:
            raise AnnotationError(f"{path}: line {number}: {error}") from None
        if len(values) != 4 + 2 * joints:
            what = f"{len(values)} numbers, not a box's 4 and 2 for each of {joints} joints"
            raise AnnotationError(f"{path}: line {number} has {what}; name the joints with --joints")
        if not (np.abs(values) < FARTHEST).all():
            raise AnnotationError(f"{path}: line {number} has a number that is not a finite number of pixels")
        left, top, right, bottom = (float(value) for value in values[:4])
        if right <= left or bottom <= top:
            raise AnnotationError(f"{path}: line {number}: x_max and y_max of the box must be beyond x_min and y_min")
        places = values[4:].reshape(-1, 2)
        flags = np.where((places >= 0).all(axis=1), VISIBLE, 0)
        rows.append((name, np.column_stack([places, flags]), [left, top, right - left, bottom - top]))
    return rows


def _require_places(path: Path, places: NDArray[np.float64]) -> None:
    if not (np.abs(places) < FARTHEST).all():
        raise AnnotationError(f"{path}: a labelled joint or a box is not at a finite number of pixels")


def coco_content(
    rows: Sequence[Row],
    name: str,
    joints: Sequence[str],
    limbs: Sequence[tuple[str, str]],
    images: Path,
    offset: tuple[float, float] = FROM_ONE,
) -> dict[str, Any]:
    """COCO keypoint JSON of some people.

    Args:
        rows: the people; those without a labelled joint are left out.
        name: of the data set.
        joints, limbs: of the skeleton.
        images: folder of the pictures, for their sizes; those that are not there get none.
        offset: brings the labels to pixel centres.
    """
    numbers = {file: i for i, file in enumerate(dict.fromkeys(row[0] for row in rows), 1)}
    annotations = []
    for i, (file, values, box) in enumerate(rows, 1):
        seen = values[:, 2] > 0
        if not seen.any():
            continue
        if box is None:
            box = box_around(values[seen, :2] + np.array(offset)).to_list()[:4]
        values = np.where(seen[:, None], values, 0)
        annotations.append(
            {
                "id": i,
                "image_id": numbers[file],
                "category_id": 1,
                "bbox": [round(side, 2) for side in box],
                "keypoints": [round(float(value), 3) for value in values.ravel()],
                "num_keypoints": int(seen.sum()),
                "iscrowd": 0,
            }
        )
    index = {joint: i for i, joint in enumerate(joints, 1)}
    return {
        "info": {"description": name, "keypoint_offset": list(offset)},
        "images": [{"id": number, "file_name": file, **_size(images / file)} for file, number in numbers.items()],
        "annotations": annotations,
        "categories": [
            {
                "id": 1,
                "name": "person",
                "keypoints": list(joints),
                "skeleton": [[index[a], index[b]] for a, b in limbs],
            }
        ],
    }


def _size(path: Path) -> dict[str, int]:
    try:
        height, width = image_size(path.read_bytes())
    except (OSError, ValueError):  # InvalidInput is one
        return {}
    return {"width": width, "height": height}


def _load_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file, structs as objects."""
    from scipy.io import loadmat

    if not path.is_file():
        raise AnnotationError(f"{path}: no such file")
    load: Callable[..., dict[str, Any]] = loadmat
    try:
        return load(path, squeeze_me=True, struct_as_record=False)
    except NotImplementedError:
        raise AnnotationError(f"{path}: is of MATLAB 7.3; save it there again with -v7") from None
    except Exception as error:  # scipy raises many kinds over files that are not MATLAB's
        raise AnnotationError(f"{path}: not a MATLAB file that can be read ({error})") from None
