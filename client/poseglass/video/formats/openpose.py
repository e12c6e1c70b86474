"""OpenPose JSON: a folder with one file a frame, `FRAME_keypoints.json`, as OpenPose's --write_json gives them.

`pose_keypoints_2d` are x, y and score of every joint in the skeleton's own order, which is not that of BODY_25; zeros
where a joint is not known. `person_id` is the track. Hands, face and 3-D lists are there and empty, as readers expect.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from poseglass.video.columns import round_joints
from poseglass.video.formats.bare import build, by_count
from poseglass.video.formats.jsonl import plain
from poseglass.video.table import PoseTable
from poseglass.video.whole import whole_folder
from poseglass_core.skeleton import Skeleton

VERSION = 1.3
"""Of OpenPose's format."""

_EMPTY = (
    *("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d"),
    *("face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d"),
)

_NUMBER = re.compile(r"(\d+)_keypoints\.json$")


def write(table: PoseTable, path: Path) -> None:
    """Write the folder; one that is there already is replaced as a whole."""
    stem = path.name.removesuffix(".openpose")
    values = np.concatenate([table.joints, table.joint_scores[..., None]], axis=2)
    values = np.nan_to_num(np.where(np.isfinite(values[..., :2]).all(axis=2, keepdims=True), values, np.float32(0)))
    with whole_folder(path) as folder:
        for frame in table.frames():
            people: list[dict[str, Any]] = [
                {
                    "person_id": [-1 if table.track is None else int(table.track[row])],
                    "pose_keypoints_2d": plain(values[row].reshape(-1)),
                    **{name: [] for name in _EMPTY},
                }
                for row in range(frame.rows.start, frame.rows.stop)
                if table.person[row] >= 0
            ]
            name = f"{stem}_{frame.index:012d}_keypoints.json"
            (folder / name).write_text(json.dumps({"version": VERSION, "people": people}), "utf-8")


def read(path: Path, skeleton: Skeleton | None = None) -> PoseTable:
    """Read what the folder holds: people in the order of each file; a frame's time is its index."""
    found = sorted((int(match[1]), file) for file in path.iterdir() if (match := _NUMBER.search(file.name)))
    if not found:
        raise ValueError("it holds no file FRAME_keypoints.json")
    frames = [(number, json.loads(file.read_text("utf-8"))["people"]) for number, file in found]
    lengths = {len(person["pose_keypoints_2d"]) for _, people in frames for person in people}
    if len(lengths) > 1 or any(length % 3 for length in lengths):
        raise ValueError("pose_keypoints_2d must be as long for everybody, three numbers a joint")
    size = max(lengths) // 3 if lengths else len((skeleton or by_count(14)).joints)
    rows: list[tuple[int, list[float], int]] = []
    for number, people in frames:
        rows += [(number, p["pose_keypoints_2d"], int(p.get("person_id", [-1])[0])) for p in people]
        rows += [] if people else [(number, [0.0] * (3 * size), -1)]
    values = np.array([points for _, points, _ in rows], np.float64).reshape(-1, size, 3)
    values[~values.any(axis=2)] = np.nan
    frame = np.array([number for number, _, _ in rows], np.int64)
    nobody = np.repeat([not people for _, people in frames], [max(len(people), 1) for _, people in frames])
    track = np.array([number for _, _, number in rows], np.int32)
    return build(
        skeleton or by_count(size),
        frame=frame,
        time=frame.astype(np.float64),
        joints=round_joints(values[..., :2]),
        joint_scores=values[..., 2].astype(np.float32),
        nobody=nobody,
        track=track if (track[~nobody] >= 0).all() and not nobody.all() else None,
    )
