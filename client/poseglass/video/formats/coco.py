"""COCO results: the list that `loadRes` of pycocotools takes, one entry a person and frame.

`image_id` is the frame's index and `category_id` 1; `keypoints` are x, y and score of every joint in the skeleton's
order, zeros where a joint is not known. `time`, `track_id` and `bbox` are there too; COCO's tools pass them over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from poseglass.video.columns import round_joints
from poseglass.video.formats.bare import build, by_count
from poseglass.video.formats.jsonl import plain
from poseglass.video.table import PoseTable
from poseglass.video.whole import whole_file
from poseglass_core.skeleton import Skeleton

PERSON = 1
"""COCO's category of people."""


def write(table: PoseTable, path: Path) -> None:
    """Write the file, an entry a line."""
    values = np.concatenate([table.joints, table.joint_scores[..., None]], axis=2)
    values = np.where(np.isfinite(values[..., :2]).all(axis=2, keepdims=True), values, np.float32(0))
    values = np.nan_to_num(values)
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        lines = 0
        for row in np.flatnonzero(table.people).tolist():
            entry: dict[str, Any] = {
                "image_id": int(table.frame[row]),
                "category_id": PERSON,
                "keypoints": plain(values[row].reshape(-1)),
                "score": plain(table.score[row]),
                "bbox": plain(table.box[row]),
                "time": float(table.time[row]),
            }
            if table.track is not None:
                entry["track_id"] = int(table.track[row])
            file.write(f"{',' if lines else '['}\n{json.dumps(entry)}")
            lines += 1
        file.write("\n]\n" if lines else "[]\n")


def read(path: Path, skeleton: Skeleton | None = None) -> PoseTable:
    """Read what the file holds: people, by frame; where it gives no times, a frame's time is its index."""
    entries = json.loads(path.read_text("utf-8"))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "keypoints" in entry for entry in entries):
        raise ValueError("it is not a list of results with keypoints")
    entries.sort(key=lambda entry: (entry["image_id"], -entry["score"]))
    size = len(entries[0]["keypoints"]) // 3 if entries else len((skeleton or by_count(14)).joints)
    skeleton = skeleton or by_count(size)
    values = np.array([entry["keypoints"] for entry in entries], np.float64).reshape(-1, size, 3)
    values[~values.any(axis=2)] = np.nan
    tracked = bool(entries) and all("track_id" in entry for entry in entries)
    return build(
        skeleton,
        frame=np.array([entry["image_id"] for entry in entries], np.int64),
        time=np.array([entry.get("time", entry["image_id"]) for entry in entries], np.float64),
        joints=round_joints(values[..., :2]),
        joint_scores=values[..., 2].astype(np.float32),
        score=np.array([entry["score"] for entry in entries], np.float32),
        box=np.array([entry.get("bbox", [np.nan] * 4) for entry in entries], np.float32).reshape(-1, 4),
        track=np.array([entry["track_id"] for entry in entries], np.int32) if tracked else None,
        nobody=np.zeros(len(entries), bool),
    )
