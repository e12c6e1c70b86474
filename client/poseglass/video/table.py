"""The rows of one video: who was where, in which frame, at what time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.video.columns import GRID, NOBODY, OPTIONAL, check_order, columns
from poseglass.video.columns import round_joints as round_joints
from poseglass_core.geometry import SMALLEST, Box
from poseglass_core.poses import Pose
from poseglass_core.skeleton import Skeleton


@dataclass(frozen=True)
class FrameRows:
    """One decoded frame and its rows: `table.joints[rows]` and so on; without anybody it is one row, of person -1.

    Attributes:
        index: of the decoded frame, from 0.
        time: its presentation time in seconds.
        rows: in the table.
    """

    index: int
    time: float
    rows: slice


@dataclass(frozen=True, eq=False)
class PoseTable:
    """Rows of one video: one a decoded frame and person; a frame without anybody has one row, of person -1 and NaNs.

    R is the number of rows, J that of the skeleton's joints.

    Attributes:
        skeleton: of the model.
        header: plain values that JSON can say: source, counts, model, detector, options, versions, smoothing, ...
        frame: int64 [R], index of the decoded frame, from 0; never falls from row to row.
        time: float64 [R], presentation time in seconds.
        person: int32 [R], index within the frame, the most certain first; -1: nobody.
        box: float32 [R, 4], x, y, width and height in pixels of the upright frame, as edges.
        score: float32 [R], of the person.
        presence: float32 [R], probability that there is a person; NaN where the model does not say.
        joints: float32 [R, J, 2], x and y of pixel centres, multiples of 1/64 pixel; NaN where not known.
        joint_scores: float32 [R, J].
        track: int32 [R], the person's id over the whole video, -1 for nobody; None before the second pass.
        smoothed: float32 [R, J, 2], `joints` after a filter; None where none ran.

    Raises:
        ValueError: an array has the wrong type, shape or order; the message names it.
    """

    skeleton: Skeleton
    header: Mapping[str, Any]
    frame: NDArray[np.int64]
    time: NDArray[np.float64]
    person: NDArray[np.int32]
    box: NDArray[np.float32]
    score: NDArray[np.float32]
    presence: NDArray[np.float32]
    joints: NDArray[np.float32]
    joint_scores: NDArray[np.float32]
    track: NDArray[np.int32] | None = None
    smoothed: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        rows, joints = len(self.frame), len(self.skeleton.joints)
        for name, (kind, inner) in columns(joints).items():
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if not isinstance(value, np.ndarray) or value.dtype != kind or value.shape != (rows, *inner):
                found = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
                raise ValueError(f"{name} must be {np.dtype(kind)} {[rows, *inner]}, not {found}")
        if not np.isfinite(self.time).all():
            raise ValueError("time must be finite: give every frame its presentation time")
        check_order(self.frame, self.time, self.person)
        if not np.array_equal(self.joints, round_joints(self.joints), equal_nan=True):
            raise ValueError(f"joints must be multiples of 1/{GRID} pixel: pass them through round_joints")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def people(self) -> NDArray[np.bool_]:
        """[R] whether the row is of a person."""
        found: NDArray[np.bool_] = self.person >= 0
        return found

    @property
    def frame_starts(self) -> NDArray[np.int64]:
        """[F] the first row of each frame."""
        return np.flatnonzero(np.diff(self.frame, prepend=-1)).astype(np.int64)

    @property
    def frame_count(self) -> int:
        """How many frames there are."""
        return len(self.frame_starts)

    def frames(self) -> Iterator[FrameRows]:
        """The frames in order, each with its rows."""
        starts = self.frame_starts.tolist()
        for start, end in pairwise([*starts, len(self)]):
            yield FrameRows(int(self.frame[start]), float(self.time[start]), slice(start, end))

    def pose(self, row: int, smoothed: bool = False) -> Pose:
        """A row's person, with the joints that are known.

        Args:
            row: of a person.
            smoothed: take the filtered joints.

        Raises:
            ValueError: nobody is in that row, or the table has no smoothed joints.
        """
        if self.person[row] < 0:
            raise ValueError(f"row {row} is of a frame without anybody")
        points = self.joints[row]
        if smoothed:
            if self.smoothed is None:
                raise ValueError("the table has no smoothed joints: smooth it first")
            points = self.smoothed[row]
        known = np.isfinite(points).all(axis=1)
        x, y, width, height = (float(side) for side in self.box[row])
        presence = float(self.presence[row])
        return Pose(
            skeleton=self.skeleton,
            names=tuple(name for name, here in zip(self.skeleton.joints, known, strict=True) if here),
            points=points[known],
            scores=self.joint_scores[row][known],
            box=Box(x, y, max(width, SMALLEST), max(height, SMALLEST)),
            score=float(self.score[row]),
            presence=None if np.isnan(presence) else presence,
        )

    def select(self, rows: NDArray[np.bool_] | NDArray[np.integer] | slice) -> PoseTable:
        """The table of some rows.

        Args:
            rows: a mask [R], rising indices, or a slice.
        """
        arrays = {name: getattr(self, name) for name in columns(len(self.skeleton.joints))}
        chosen: dict[str, Any] = {name: None if value is None else value[rows] for name, value in arrays.items()}
        return replace(self, **chosen)

    def with_header(self, **values: Any) -> PoseTable:
        """The same rows; the header with some of its values new."""
        return replace(self, header={**self.header, **values})

    def equals(self, other: PoseTable, header: bool = False) -> bool:
        """Whether all rows are the same, to the last bit; NaN equals NaN.

        Args:
            other: to compare with.
            header: whether headers must be the same too.
        """
        if self.skeleton != other.skeleton or (header and dict(self.header) != dict(other.header)):
            return False
        for name, (kind, _) in columns(len(self.skeleton.joints)).items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is None or theirs is None:
                if mine is not theirs:
                    return False
            elif not np.array_equal(mine, theirs, equal_nan=np.issubdtype(kind, np.floating)):
                return False
        return True

    @classmethod
    def empty(cls, skeleton: Skeleton, header: Mapping[str, Any] | None = None) -> PoseTable:
        """A table without rows, before the second pass."""
        of_row = columns(len(skeleton.joints)).items()
        arrays: dict[str, Any] = {n: np.empty((0, *inner), kind) for n, (kind, inner) in of_row if n not in OPTIONAL}
        return cls(skeleton=skeleton, header=header or {}, **arrays)

    @classmethod
    def concat(cls, tables: Iterable[PoseTable], header: Mapping[str, Any] | None = None) -> PoseTable:
        """The rows of several tables, one after another, such as a video's segments.

        Args:
            tables: at least one, in the video's order, all of one skeleton.
            header: of the whole; None: the first table's.

        Raises:
            ValueError: there is none, skeletons differ, frames go back, or only some have been tracked or smoothed.
        """
        parts = list(tables)
        if not parts:
            raise ValueError("tables must hold at least one table; PoseTable.empty makes one without rows")
        skeleton = parts[0].skeleton
        if any(part.skeleton != skeleton for part in parts):
            raise ValueError("tables must be of one skeleton")
        arrays: dict[str, Any] = {}
        for name in columns(len(skeleton.joints)):
            values = [getattr(part, name) for part in parts]
            missing = [value is None for value in values]
            if any(missing) and not all(missing):
                raise ValueError(f"{name} is in some of the tables only: do the second pass on the whole video")
            arrays[name] = None if any(missing) else np.concatenate(values)
        return cls(skeleton=skeleton, header=parts[0].header if header is None else header, **arrays)

    @classmethod
    def from_frames(
        cls,
        skeleton: Skeleton,
        frames: Iterable[tuple[int, float, Sequence[Pose]]],
        header: Mapping[str, Any] | None = None,
    ) -> PoseTable:
        """A table of frames in order: (index, time in seconds, poses)."""
        builder = TableBuilder(skeleton)
        for index, time, poses in frames:
            builder.add(index, time, poses)
        return builder.build(header)


@dataclass
class TableBuilder:
    """A table that grows frame by frame.

    Attributes:
        skeleton: that all poses have.
    """

    skeleton: Skeleton
    _rows: dict[str, list[Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._rows = {name: [] for name in columns(len(self.skeleton.joints)) if name not in OPTIONAL}

    def __len__(self) -> int:
        return len(self._rows["frame"])

    def add(self, index: int, time: float, poses: Sequence[Pose] = ()) -> None:
        """One more frame.

        Args:
            index: of the decoded frame, greater than the last one's.
            time: its presentation time in seconds.
            poses: whoever is in it, in any order; joints that a pose does not name become NaN.

        Raises:
            ValueError: a pose is of another skeleton.
        """
        joints = len(self.skeleton.joints)
        for person, pose in enumerate(sorted(poses, key=lambda pose: -pose.score)):
            if pose.skeleton.joints != self.skeleton.joints:
                raise ValueError("poses must be of the table's skeleton: one model a video")
            points, scores = np.full((joints, 2), np.nan, np.float32), np.full(joints, np.nan, np.float32)
            at = [self.skeleton.joints.index(name) for name in pose.names]
            points[at], scores[at] = round_joints(pose.points), pose.scores
            presence = np.nan if pose.presence is None else pose.presence
            self._append(index, time, person, pose.box.to_list()[:4], pose.score, presence, points, scores)
        if not poses:
            nothing = np.full((joints, 2), np.nan, np.float32)
            self._append(index, time, NOBODY, [np.nan] * 4, np.nan, np.nan, nothing, nothing[:, 0])

    def _append(self, *row: Any) -> None:
        for values, value in zip(self._rows.values(), row, strict=True):
            values.append(value)

    def build(self, header: Mapping[str, Any] | None = None) -> PoseTable:
        """The table of the frames so far; the builder can go on growing."""
        of_row = columns(len(self.skeleton.joints))
        rows = len(self)
        arrays: dict[str, Any] = {
            name: np.array(values, of_row[name][0]).reshape(rows, *of_row[name][1])
            for name, values in self._rows.items()
        }
        return PoseTable(skeleton=self.skeleton, header=header or {}, **arrays)
