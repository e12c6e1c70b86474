"""SLEAP analysis HDF5, as SLEAP's own export lays it out (for MATLAB, axes reversed).

`tracks` [tracks, 2, nodes, frames], `track_occupancy` [frames, tracks], `point_scores` [tracks, nodes, frames],
`instance_scores` and `tracking_scores` [tracks, frames], `track_names`, `node_names`, `edge_names`, `edge_inds`; beside
them ours: `frame_times` [frames] (NaN for frames that were not looked at); `provenance` holds the header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.pictures import write_file
from poseglass.video.columns import round_joints
from poseglass.video.formats.bare import build
from poseglass.video.formats.flat import parse_about, to_about
from poseglass.video.table import PoseTable
from poseglass.video.whole import package
from poseglass_core.skeleton import Skeleton, skeleton_from_names

CHUNK = 4096
"""Frames that are compressed together."""


def write(table: PoseTable, path: Path) -> None:
    """Write the file, track by track, so that memory grows with what is in them and not with their number.

    It is made in memory: the library neither says in time nor survives that a disk is full.
    """
    h5py = package("h5py", "writing HDF5")
    # Without ids, the first of every frame is taken for one person, the second for another.
    ids = table.person if table.track is None else table.track
    numbers = np.unique(ids[ids >= 0])
    frames = int(table.frame[-1]) + 1 if len(table) else 0
    joints = len(table.skeleton.joints)
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        shapes = {
            "tracks": (len(numbers), 2, joints, frames),
            "point_scores": (len(numbers), joints, frames),
            "instance_scores": (len(numbers), frames),
            "tracking_scores": (len(numbers), frames),
        }
        for name, shape in shapes.items():
            file.create_dataset(name, shape, "f4", fillvalue=np.nan, **_packed((1, *shape[1:-1], frames), shape))
        occupied = np.zeros((frames, len(numbers)), np.uint8)
        for i, number in enumerate(numbers.tolist()):
            rows = np.flatnonzero(ids == number)
            at = table.frame[rows]
            first, last = int(at[0]), int(at[-1]) + 1
            occupied[at, i] = 1
            for name, values in (
                ("tracks", table.joints[rows].transpose(2, 1, 0)),
                ("point_scores", table.joint_scores[rows].T),
                ("instance_scores", table.score[rows]),
            ):
                dense = np.full((*values.shape[:-1], last - first), np.nan, np.float32)
                dense[..., at - first] = values
                file[name][i, ..., first:last] = dense
        file.create_dataset("track_occupancy", data=occupied)
        times = np.full(frames, np.nan)
        times[table.frame] = table.time
        file.create_dataset("frame_times", data=times)
        _write_names(file, h5py, table, numbers)
        file.flush()
        content = file.id.get_file_image()
    write_file(path, content)


def _packed(chunk: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """Compression, where there is something to compress."""
    if 0 in shape:
        return {}
    return {"chunks": (*chunk[:-1], min(chunk[-1], CHUNK)), "compression": "gzip", "compression_opts": 4}


def _write_names(file: Any, h5py: Any, table: PoseTable, numbers: NDArray[np.integer]) -> None:
    def names(values: list[Any]) -> NDArray[np.bytes_]:
        return np.array([str(value).encode() for value in values] or np.empty(0, "S1"))

    skeleton = table.skeleton
    file.create_dataset("track_names", data=names([f"track_{number}" for number in numbers.tolist()]))
    file.create_dataset("node_names", data=names(list(skeleton.joints)))
    limbs = [name for limb in skeleton.limbs for name in limb]
    file.create_dataset("edge_names", data=names(limbs).reshape(-1, 2))
    file.create_dataset("edge_inds", data=np.array(skeleton.limb_index, np.int64).reshape(-1, 2))
    file.create_dataset("labels_path", data="")
    file.create_dataset("video_path", data=_video(table), dtype=h5py.string_dtype())
    file.create_dataset("video_ind", data=0)
    about = json.dumps(to_about(table))
    file.create_dataset("provenance", data=about, dtype=h5py.string_dtype())


def _video(table: PoseTable) -> str:
    """The video's name, as far as the header knows it."""
    source = table.header.get("source", "")
    return str(source.get("name", "") if isinstance(source, dict) else source)


def read(path: Path) -> PoseTable:
    """Read the file, SLEAP's own too; without times, a frame's time is its index."""
    h5py = package("h5py", "reading HDF5")
    with h5py.File(path, "r") as file:
        points = file["tracks"][:].transpose(3, 0, 2, 1)  # [frames, tracks, nodes, 2]
        occupied = file["track_occupancy"][:].astype(bool)
        skeleton, header = _skeleton(file)
        scores = file["point_scores"][:].transpose(2, 0, 1) if "point_scores" in file else np.ones(points.shape[:3])
        given = file["instance_scores"][:].T if "instance_scores" in file else None
        ids = [name.decode().removeprefix("track_") for name in file["track_names"][:]]
        times = file["frame_times"][:] if "frame_times" in file else np.arange(len(points), dtype=np.float64)
    numbers = [int(number) if number.isdigit() else i for i, number in enumerate(ids)]
    looked = np.isfinite(times) | occupied.any(axis=1)
    rows: list[tuple[int, int]] = []
    for number in np.flatnonzero(looked).tolist():
        here = np.flatnonzero(occupied[number])
        if given is not None:
            here = here[np.argsort(-np.nan_to_num(given[number, here]), kind="stable")]
        rows += [(number, int(known)) for known in here] or [(number, -1)]
    frame, track = np.array(rows, np.int64).reshape(-1, 2).T
    nobody = track < 0

    def pick(values: NDArray[Any]) -> NDArray[np.float32]:
        if not values.shape[1]:
            return np.full((len(frame), *values.shape[2:]), np.nan, np.float32)
        chosen: NDArray[np.float32] = values[frame, np.maximum(track, 0)].astype(np.float32)
        chosen[nobody] = np.nan
        return chosen

    return build(
        skeleton,
        frame=frame,
        time=np.where(np.isfinite(times), times, np.arange(len(times)))[frame],
        joints=round_joints(pick(points)),
        joint_scores=pick(scores),
        nobody=nobody,
        score=None if given is None else pick(given),
        track=np.array([*numbers, -1], np.int32)[track],
        header=header,
    )


def _skeleton(file: Any) -> tuple[Skeleton, dict[str, Any]]:
    """(skeleton, header), of our own files as it was."""
    if "provenance" in file:
        try:
            about = parse_about(file["provenance"][()])
        except ValueError:  # SLEAP's own, with other content
            pass
        else:
            return Skeleton.from_json(about["skeleton"]), dict(about["header"])
    names = [name.decode() for name in file["node_names"][:]]
    edges = file["edge_inds"][:].reshape(-1, 2).tolist() if "edge_inds" in file else []
    return skeleton_from_names(names, [(names[a], names[b]) for a, b in edges]), {}
