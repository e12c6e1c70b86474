"""Who is who over the whole video: the second pass that gives every person an id."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass.video.assignment import assign
from poseglass.video.columns import NOBODY
from poseglass.video.table import PoseTable
from poseglass_core.oks import COMMON_SIGMA, SEGMENT_SHARE, object_keypoint_similarity

Points = NDArray[np.float64]

PACE = 0.2
"""Seconds in which a person moves as far as two careful annotators differ: tolerance grows by that much each time."""

MEMORY = 0.1
"""Seconds over which velocity is averaged."""

FORESIGHT = 0.25
"""Seconds for which a person is expected to keep their velocity."""


@dataclass(frozen=True)
class TrackSettings:
    """How people are followed.

    Attributes:
        gap: seconds that somebody may be missing and still keep their id.
        similarity: the least likeness, 0 to 1, of a person and the track they continue: the mean of object keypoint
            similarity and of the boxes' intersection over union.

    Raises:
        InvalidRequest: a value is out of range.
    """

    gap: float = 1.0
    similarity: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.gap < np.inf:
            raise InvalidRequest("track.gap", f"must be a number of seconds, 0 or more, not {self.gap:g}")
        if not 0 <= self.similarity <= 1:
            raise InvalidRequest("track.similarity", f"must be a number from 0 to 1, not {self.similarity:g}")


def track(table: PoseTable, settings: TrackSettings | None = None) -> PoseTable:
    """The table with `track` ids, from 0 in the order in which people first appear; raw rows stay as they are.

    From frame to frame, people and tracks are paired so that their likeness is greatest (Hungarian assignment). A
    track's joints and box are carried on by its velocity; what passes for alike grows with the time since it was last
    seen, so neither the frame rate nor a segment's boundary matters. The answer depends on the rows alone.

    Args:
        table: rows of one video.
        settings: None: the defaults.
    """
    settings = settings or TrackSettings()
    falloff = np.array(table.skeleton.sigmas or [COMMON_SIGMA] * len(table.skeleton.joints))
    ids = np.full(len(table), NOBODY, np.int32)
    tracks: list[_Track] = []
    count = 0
    joints, boxes = table.joints.astype(np.float64), table.box.astype(np.float64)
    for frame in table.frames():
        tracks = [known for known in tracks if frame.time - known.time <= settings.gap]
        if table.person[frame.rows.start] == NOBODY:
            continue
        people = range(frame.rows.start, frame.rows.stop)
        pairs = _pair(tracks, joints[frame.rows], boxes[frame.rows], frame.time, falloff, settings.similarity)
        for row, person in enumerate(people):
            known = pairs.get(row)
            if known is None:
                known = _Track(count, joints[person], boxes[person], frame.time)
                tracks.append(known)
                count += 1
            else:
                known.move(joints[person], boxes[person], frame.time)
            ids[person] = known.number
    header = {**table.header, "tracking": {**asdict(settings), "tracks": count}}
    return replace(table, track=ids, header=header)


class _Track:
    """Somebody, as last seen.

    Args:
        number: the id.
        joints: [J, 2] pixels.
        box: [4].
        time: seconds.
    """

    def __init__(self, number: int, joints: Points, box: Points, time: float) -> None:
        self.number, self.joints, self.box, self.time = number, joints, box, time
        self.velocity = np.zeros(2)

    def move(self, joints: Points, box: Points, time: float) -> None:
        """Seen again."""
        step = time - self.time
        if step > 0:
            moved = _centre(box) - _centre(self.box)
            share = step / (MEMORY + step)
            self.velocity += share * (moved / step - self.velocity)
        # A joint that is not known now is where it was, moved along with the box.
        here = np.isfinite(joints)
        self.joints = np.where(here, joints, self.joints + (_centre(box) - _centre(self.box)))
        self.box, self.time = box, max(time, self.time)

    def expected(self, time: float) -> Points:
        """[2] how far the person should have moved by then, in pixels."""
        ahead: Points = self.velocity * min(max(time - self.time, 0.0), FORESIGHT)
        return ahead


def _pair(
    tracks: list[_Track], joints: Points, boxes: Points, time: float, falloff: Points, least: float
) -> dict[int, _Track]:
    """The track that each person (by position in the frame) continues; people without one are left out.

    Args:
        tracks: that may go on.
        joints: [P, J, 2] of the frame's people.
        boxes: [P, 4].
        time: seconds.
        falloff: [J] sigmas.
        least: likeness.
    """
    if not tracks:
        return {}
    ahead = np.array([known.expected(time) for known in tracks])  # [T, 2]
    old_joints = np.array([known.joints for known in tracks]) + ahead[:, None]
    old_boxes = np.array([known.box for known in tracks])
    old_boxes[:, :2] += ahead
    elapsed = np.array([max(time - known.time, 0.0) for known in tracks])
    likeness = (_joint_likeness(old_joints, joints, old_boxes, boxes, elapsed, falloff) + _iou(old_boxes, boxes)) / 2
    # Whoever is too unlike counts as not alike at all, so that a bad pair never takes a good one's place.
    likeness = np.where(likeness >= max(least, 1e-9), likeness, 0.0)
    return {person: tracks[old] for old, person in assign(-likeness) if likeness[old, person] > 0}


def _joint_likeness(
    old: Points, new: Points, old_boxes: Points, new_boxes: Points, elapsed: Points, falloff: Points
) -> Points:
    """[T, P] object keypoint similarity, of joints that both have.

    The area is the mean of both people's, and grows as if a person's outline did: by its own scale every `PACE`.
    """
    t, p, j = len(old), len(new), len(falloff)
    areas = SEGMENT_SHARE * (np.prod(old_boxes[:, None, 2:], axis=2) + np.prod(new_boxes[None, :, 2:], axis=2)) / 2
    areas = np.maximum(areas, 1.0) * (1 + elapsed[:, None] / PACE) ** 2
    first = np.broadcast_to(old[:, None], (t, p, j, 2)).reshape(t * p, j, 2)
    second = np.broadcast_to(new[None], (t, p, j, 2)).reshape(t * p, j, 2)
    both = np.asarray(np.isfinite(first + second).all(axis=2))
    return object_keypoint_similarity(second, first, both, areas.reshape(-1), falloff).reshape(t, p)


def _iou(first: Points, second: Points) -> Points:
    """[T, P] intersection over union of boxes."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    overlap = np.prod(np.maximum(high - low, 0), axis=2)
    union = np.prod(first[:, 2:], axis=1)[:, None] + np.prod(second[:, 2:], axis=1)[None] - overlap
    shares: Points = overlap / np.maximum(union, 1e-9)
    return shares


def _centre(box: Points) -> Points:
    centre: Points = box[:2] + box[2:] / 2
    return centre
