"""A table as named columns, which Parquet, CSV and data frames share, and what its header says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.video.angles import joint_angles
from poseglass.video.columns import OPTIONAL, round_joints
from poseglass.video.table import PoseTable
from poseglass_core.skeleton import Skeleton, skeleton_from_names

FORMAT = "poseglass.video/1"
"""Of the header; a later version only adds."""

_BOX = ("box_x", "box_y", "box_width", "box_height")

DESCRIPTIONS = {
    "frame": "index of the decoded frame, from 0",
    "time": "presentation time, seconds",
    "person": "index within the frame, the most certain first; -1: nobody is in this frame",
    "track": "id of the person over the whole video, from 0; -1: nobody",
    "box_x": "left edge of the person's box, pixels of the upright frame",
    "box_y": "top edge of the person's box, pixels",
    "box_width": "pixels",
    "box_height": "pixels",
    "score": "of the person: presence x mean joint score, or the mean joint score",
    "presence": "probability that there is a person; empty where the model does not say",
    "_x": "pixels of the upright frame, from the centre of the top left pixel, multiples of 1/64",
    "_y": "pixels, down",
    "_score": "of the joint, as the model's manifest defines it",
    "_x_smooth": "pixels, after the filter that the header names",
    "_y_smooth": "pixels, after the filter",
    "_angle": "degrees, 0 to 180; of the smoothed joints where there are any",
}
"""Column, or ending of a column's name -> what it holds."""


def describe(column: str) -> str:
    """What a column holds."""
    if column in DESCRIPTIONS:
        return DESCRIPTIONS[column]
    endings = sorted((ending for ending in DESCRIPTIONS if column.endswith(ending)), key=len)
    return DESCRIPTIONS[endings[-1]] if endings else ""


def to_columns(table: PoseTable) -> dict[str, NDArray[Any]]:
    """Columns [R] by name, in the order of a file."""
    columns: dict[str, NDArray[Any]] = {"frame": table.frame, "time": table.time, "person": table.person}
    if table.track is not None:
        columns["track"] = table.track
    columns |= {name: table.box[:, i] for i, name in enumerate(_BOX)}
    columns |= {"score": table.score, "presence": table.presence}
    for i, joint in enumerate(table.skeleton.joints):
        columns |= {f"{joint}_x": table.joints[:, i, 0], f"{joint}_y": table.joints[:, i, 1]}
        columns[f"{joint}_score"] = table.joint_scores[:, i]
        if table.smoothed is not None:
            columns[f"{joint}_x_smooth"] = table.smoothed[:, i, 0]
            columns[f"{joint}_y_smooth"] = table.smoothed[:, i, 1]
    return columns | {f"{name}_angle": values for name, values in joint_angles(table).items()}


def from_columns(columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any] | None) -> PoseTable:
    """Inverse of `to_columns`; angles are computed anew when they are asked for.

    Args:
        columns: [R] by name; others than the table's are left aside.
        about: what `to_about` gave; None: the skeleton is read from the columns' names.

    Raises:
        KeyError: a column is missing.
        ValueError: a column does not fit.
    """
    skeleton = Skeleton.from_json(about["skeleton"]) if about else _skeleton(columns)
    joints = skeleton.joints
    smoothed = (
        np.stack([np.stack([columns[f"{joint}_{axis}_smooth"] for axis in "xy"], axis=1) for joint in joints], axis=1)
        if f"{joints[0]}_x_smooth" in columns
        else None
    )
    raw = np.stack([np.stack([columns[f"{joint}_{axis}"] for axis in "xy"], axis=1) for joint in joints], axis=1)
    return PoseTable(
        skeleton=skeleton,
        header=about["header"] if about else {},
        frame=_whole("frame", columns["frame"], np.int64),
        time=columns["time"].astype(np.float64),
        person=_whole("person", columns["person"], np.int32),
        box=np.stack([columns[name] for name in _BOX], axis=1).astype(np.float32),
        score=columns["score"].astype(np.float32),
        presence=columns["presence"].astype(np.float32),
        joints=round_joints(raw),
        joint_scores=np.stack([columns[f"{joint}_score"] for joint in joints], axis=1).astype(np.float32),
        track=_whole("track", columns["track"], np.int32) if "track" in columns else None,
        smoothed=None if smoothed is None else smoothed.astype(np.float32),
    )


def to_about(table: PoseTable) -> dict[str, Any]:
    """What a file says of itself: format, skeleton, what the second pass added, and the header, as plain values."""
    layers = [name for name in OPTIONAL if getattr(table, name) is not None]
    return {
        "format": FORMAT,
        "skeleton": table.skeleton.to_json(),
        "layers": layers,
        "header": dict(table.header),
    }


def parse_about(text: str | bytes) -> dict[str, Any]:
    """Inverse of `to_about`, from JSON.

    Raises:
        ValueError: it is of another format.
    """
    about = json.loads(text)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"its header is not of the format {FORMAT}")
    return about


def _whole(name: str, values: NDArray[Any], kind: type[np.integer]) -> NDArray[Any]:
    """Whole numbers, also where a reader made them floats."""
    numbers = np.asarray(values)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be a whole number in every row")
    return numbers.astype(kind)


def _skeleton(columns: Mapping[str, NDArray[Any]]) -> Skeleton:
    """From the names of columns: each joint has x, y and a score."""
    names = [name[: -len("_score")] for name in columns if name.endswith("_score")]
    joints = [name for name in names if f"{name}_x" in columns and f"{name}_y" in columns]
    if not joints:
        raise ValueError("it has no joints: no columns NAME_x, NAME_y and NAME_score")
    return skeleton_from_names(joints)
