"""JSON Lines: first a line with the skeleton and the header, then a line a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.video.angles import joint_angles
from poseglass.video.formats.flat import from_columns, parse_about, to_about
from poseglass.video.table import PoseTable
from poseglass.video.whole import whole_file

BLOCK = 1000
"""Rows that are plain values at once: these take many times the memory of arrays."""

_BOX = ("x", "y", "width", "height")


def write(table: PoseTable, path: Path) -> None:
    """Write the file; what is not known is null."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(to_about(table)) + "\n")
        for start in range(0, len(table), BLOCK):
            for row in rows(table.select(slice(start, start + BLOCK))):
                file.write(json.dumps(row, separators=(",", ":")) + "\n")


def rows(table: PoseTable) -> Iterator[dict[str, Any]]:
    """Each row as plain values: `frame`, `time`, `person`, `track`, `box`, `score`, `presence`, `joints`, `angles`."""
    boxes, scores, presence = plain(table.box), plain(table.score), plain(table.presence)
    joints, joint_scores = plain(table.joints), plain(table.joint_scores)
    smoothed = None if table.smoothed is None else plain(table.smoothed)
    angles = {name: plain(values) for name, values in joint_angles(table).items()}
    for i in range(len(table)):
        row: dict[str, Any] = {
            "frame": int(table.frame[i]),
            "time": float(table.time[i]),
            "person": int(table.person[i]),
        }
        if table.track is not None:
            row["track"] = int(table.track[i])
        row |= {"box": dict(zip(_BOX, boxes[i], strict=True)), "score": scores[i], "presence": presence[i]}
        row["joints"] = {
            name: {"x": x, "y": y, "score": score}
            for name, (x, y), score in zip(table.skeleton.joints, joints[i], joint_scores[i], strict=True)
        }
        if smoothed is not None:
            for name, (x, y) in zip(table.skeleton.joints, smoothed[i], strict=True):
                row["joints"][name] |= {"x_smooth": x, "y_smooth": y}
        yield row | {"angles": {name: values[i] for name, values in angles.items()}}


def plain(values: NDArray[np.float32]) -> list[Any]:
    """Nested lists of the shortest numbers that give the same float32 again; None for NaN."""
    shortest: NDArray[Any] = np.asarray(values).astype(str).astype(np.float64).astype(object)
    shortest[np.isnan(values)] = None
    nested: list[Any] = shortest.tolist()
    return nested


def read(path: Path) -> PoseTable:
    """Read the file."""
    with path.open(encoding="utf-8") as file:
        about = parse_about(file.readline())
        found = [json.loads(line) for line in file if line.strip()]
    columns: dict[str, NDArray[Any]] = {
        name: np.array([row[name] for row in found], kind)
        for name, kind in (("frame", np.int64), ("time", float), ("person", np.int32), ("score", float))
    }
    columns["presence"] = np.array([row["presence"] for row in found], float)
    if "track" in about["layers"]:
        columns["track"] = np.array([row["track"] for row in found], np.int32)
    for side in _BOX:
        columns[f"box_{side}"] = np.array([row["box"][side] for row in found], float)
    keys = ["x", "y", "score", *(["x_smooth", "y_smooth"] if "smoothed" in about["layers"] else [])]
    for joint in about["skeleton"]["joints"]:
        for key in keys:
            columns[f"{joint}_{key}"] = np.array([row["joints"][joint][key] for row in found], float)
    return from_columns(columns, about)
