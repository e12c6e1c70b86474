"""People followed from frame to frame inside one segment: where to look next, and when to look anew.

A frame is looked at where the people were `LAG` frames before, so that `LAG` frames are always under way; what follows
from a frame is decided by frame numbers alone, never by which answer comes first. Joints are rounded before anything
uses them, so that whatever computed them, the crop that follows is the same.

Where nobody is followed, only the last of a few frames is searched, and the others are looked at where it showed
somebody: an empty stretch costs a part of the searches, and whoever comes into it is not missed. Whoever is found is
also followed into the frames that were under way by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from poseglass.errors import InvalidRequest
from poseglass.video.columns import round_joints
from poseglass_core.geometry import Box, box_around, box_iou
from poseglass_core.oks import COMMON_SIGMA, SEGMENT_SHARE, object_keypoint_similarity
from poseglass_core.poses import Pose

LAG = 2
"""Frames under way at once: as many as keep two processors, or a server and the way to it, busy. At 30 frames a second
nobody gets far in two of them."""

RULES = 3
"""Raised where the same settings come to give other rows, so that what an older version left undone is done anew."""

SAME_JOINTS = 0.5
"""Object keypoint similarity from which two poses are one person's."""

SAME_BOX = 0.65
"""Intersection over union of the boxes around two poses from which they are one person's, whatever the joints say: left
and right may have been exchanged."""

SMALLEST_BOX = 8.0
"""Pixels; least side of a box to look at next."""


class Ask(Protocol):
    """Finds poses in a frame: in this process, on a server, or as a test pleases. Called from several threads."""

    def __call__(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pose]:
        """Poses of people.

        Args:
            image: [height, width, 3] RGB, upright.
            boxes: where people are, a pose each, in this order, however unlikely; none: look for people anywhere.
        """
        ...


@dataclass(frozen=True)
class FollowSettings:
    """When to look anew, and whom to believe.

    Attributes:
        detect_every: frames after which people are looked for anew, although all are followed.
        search_every: likewise where nobody is followed.
        look_back: look at the frames between two such searches too, once the later one has shown somebody. They have
            to wait for it; without, nobody is in them.
        keep: least score of somebody who is followed; below it the person is lost, and looked for in that same frame.
        joint_threshold: joints below it are left out of the rows (they guide the next crop all the same).

    Raises:
        InvalidRequest: a setting that cannot be; the message names the option.
    """

    detect_every: int = 50
    search_every: int = 5
    look_back: bool = True
    keep: float = 0.2
    joint_threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("detect_every", "search_every"):
            if getattr(self, name) < 1:
                option = "--" + name.replace("_", "-")
                raise InvalidRequest(option, f"must be a whole number of at least 1, not {getattr(self, name)}")
        for name, option in (("keep", "--person-threshold"), ("joint_threshold", "--joint-threshold")):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidRequest(option, f"must be a number from 0 to 1, not {getattr(self, name):g}")

    def to_json(self) -> dict[str, Any]:
        """Everything that rows depend on."""
        return {
            "rules": RULES,
            "lag": LAG,
            "detect_every": self.detect_every,
            "search_every": self.search_every,
            "look_back": self.look_back,
            "keep": self.keep,
            "joint_threshold": self.joint_threshold,
        }


@dataclass(frozen=True)
class Plan:
    """How one frame, or the last of a few, is to be looked at.

    Attributes:
        number: of the frame in its segment, from 0.
        anew: look for people anywhere too.
        boxes: by slot, of those who are followed.
        count: frames up to that one; those before it are looked at where it shows somebody.
    """

    number: int
    anew: bool
    boxes: dict[int, Box]
    count: int = 1


@dataclass(frozen=True)
class Seen:
    """What was found in one frame.

    Attributes:
        followed: by slot, those who were there.
        fresh: whoever else was found.
        anew: whether people were looked for anywhere.
    """

    followed: dict[int, Pose]
    fresh: tuple[Pose, ...]
    anew: bool

    @property
    def poses(self) -> list[Pose]:
        """Everybody."""
        return [*self.followed.values(), *self.fresh]


def look(ask: Ask, images: Sequence[NDArray[np.uint8]], plan: Plan, settings: FollowSettings) -> list[Seen]:
    """Look at the frames of a plan; needs nothing else, so that plans can be looked at side by side.

    Args:
        ask: finds poses.
        images: [height, width, 3] RGB, upright; `plan.count` of them, or fewer where the segment ends.
        plan: where to look.
        settings: whom to believe.

    Returns:
        What was seen, an image each, in their order.
    """
    seen = [_look(ask, images[-1], plan, settings)]
    for image in reversed(images[:-1]):
        seen.append(_look_back(ask, image, seen[-1].poses, settings))
    return seen[::-1]


def _look(ask: Ask, image: NDArray[np.uint8], plan: Plan, settings: FollowSettings) -> Seen:
    followed: dict[int, Pose] = {}
    if plan.boxes:
        poses = [settled(pose) for pose in ask(image, list(plan.boxes.values()))]
        slots = list(plan.boxes)
        followed = {slots[i]: poses[i] for i in _believed(poses, settings)}
    anew = plan.anew or len(followed) < len(plan.boxes)
    fresh: list[Pose] = []
    if anew:
        for pose in map(settled, ask(image, ())):
            if not any(alike(pose, other) for other in [*followed.values(), *fresh]):
                fresh.append(pose)
    return Seen(dict(sorted(followed.items())), tuple(fresh), anew)


def _look_back(ask: Ask, image: NDArray[np.uint8], later: Sequence[Pose], settings: FollowSettings) -> Seen:
    """Look at a frame where people are in the one after it."""
    if not later:
        return Seen({}, (), False)
    poses = [settled(pose) for pose in ask(image, [next_box(pose) for pose in later])]
    return Seen({}, tuple(poses[i] for i in _believed(poses, settings)), False)


def look_on(
    ask: Ask,
    images: Sequence[NDArray[np.uint8]],
    seen: Sequence[Seen],
    people: Mapping[int, Pose],
    settings: FollowSettings,
) -> list[Seen]:
    """Follow people into frames that were looked at before anybody knew of them.

    Args:
        ask: finds poses.
        images: of a plan's frames.
        seen: what was seen in each.
        people: by slot, where they were in the frame before the first.
        settings: whom to believe.

    Returns:
        What was seen, and those of the people who had been missed, as far as each of them can be followed.
    """
    answer = []
    for image, there in zip(images, seen, strict=True):
        met = {slot: next((o for o in there.poses if alike(pose, o)), None) for slot, pose in people.items()}
        missing = [slot for slot, other in met.items() if other is None]
        poses = [settled(pose) for pose in ask(image, [next_box(people[slot]) for slot in missing])] if missing else []
        found = {
            missing[i]: poses[i]
            for i in _believed(poses, settings)
            if not any(alike(poses[i], other) for other in there.poses)
        }
        people = {slot: other for slot, other in met.items() if other is not None} | found
        answer.append(replace(there, followed=dict(sorted({**there.followed, **found}.items()))))
    return answer


def _believed(poses: Sequence[Pose], settings: FollowSettings) -> list[int]:
    """Positions of the poses at given boxes that are people, the most certain first.

    Where two crops have slid onto one person, the more certain pose stays; of equals, the first.
    """
    kept: list[int] = []
    for i in sorted(range(len(poses)), key=lambda i: -poses[i].score):
        if poses[i].score >= settings.keep and not any(alike(poses[i], poses[other]) for other in kept):
            kept.append(i)
    return kept


class Follower:
    """Who is followed in one segment. Plans and answers strictly alternate in the order of frames.

    Args:
        settings: when to look anew.
    """

    def __init__(self, settings: FollowSettings) -> None:
        self._settings = settings
        self._people: dict[int, Pose] = {}
        self._next_slot = self._next_frame = 0
        self._last_anew: int | None = None
        self._under_way: deque[Plan] = deque()

    def ready(self) -> bool:
        """Whether the next frame can be planned: what it depends on has been taken in.

        Those who are found by a look anew are followed at once, so a frame that does not itself look waits for it; so
        does everything for the first look of all, which mostly shows somebody.
        """
        waiting = self._under_way
        if len(waiting) >= LAG:
            return False
        return not (waiting and waiting[-1].anew and (waiting[-1].number == 0 or not self._due()))

    def plan(self) -> Plan:
        """How to look at the next frame, or the next few."""
        boxes = {slot: next_box(pose) for slot, pose in self._people.items()}
        together = self._settings.search_every if self._searching() else 1
        anew = self._due()
        self._next_frame += together
        plan = Plan(self._next_frame - 1, anew, boxes, together)
        if anew:
            self._last_anew = plan.number
        self._under_way.append(plan)
        return plan

    def unknown(self) -> dict[int, Pose]:
        """By slot, whom the oldest plan does not know of, since they were found when it was under way already."""
        return {slot: pose for slot, pose in self._people.items() if slot not in self._under_way[0].boxes}

    def take(self, answer: Sequence[Seen]) -> None:
        """Learn from the oldest plan.

        Args:
            answer: what was seen in its frames, in order, those of `unknown` followed into them by `look_on`.
        """
        plan = self._under_way.popleft()
        if answer[-1].anew:
            self._last_anew = max(self._last_anew or 0, plan.number)
        for slot in plan.boxes:
            if slot not in answer[-1].followed:
                self._people.pop(slot, None)
        for seen in answer:  # one after another, so that who moves fast is known again
            self._meet(seen)
        here = answer[-1].poses
        self._people = {s: pose for s, pose in self._people.items() if any(pose is other for other in here)}

    def _meet(self, seen: Seen) -> None:
        newcomers = list(seen.fresh)
        for slot, pose in seen.followed.items():
            if slot in self._people:
                self._people[slot] = pose
            else:  # lost in the frame before, when this one was already under way
                newcomers.append(pose)
        for pose in newcomers:
            known = next((slot for slot, other in self._people.items() if alike(pose, other)), None)
            if known is None:
                known, self._next_slot = self._next_slot, self._next_slot + 1
            self._people[known] = pose

    def _searching(self) -> bool:
        """Whether the next few frames are one plan, the last of which is searched."""
        return self._settings.look_back and not self._people and self._last_anew is not None

    def _due(self) -> bool:
        """Whether the next plan looks anew, as far as is known."""
        if self._last_anew is None or self._searching():
            return True
        every = self._settings.detect_every if self._people else self._settings.search_every
        return self._next_frame - self._last_anew >= every


def settled(pose: Pose) -> Pose:
    """A pose as everything after it sees it: joints rounded to 1/64 pixel, its box drawn around them."""
    rounded = replace(pose, points=round_joints(pose.points))
    return replace(rounded, box=next_box(rounded)) if len(pose.points) else rounded


def next_box(pose: Pose) -> Box:
    """Where to look next: the box around a person's joints, less those that are mere guesses."""
    if not len(pose.points):
        return pose.box
    return box_around(pose.points[pose.scores >= 0.5 * np.median(pose.scores)].astype(np.float64), minimum=SMALLEST_BOX)


def alike(one: Pose, other: Pose) -> bool:
    """Whether two poses of a frame, or of two frames close to each other, are one person's."""
    if box_iou(one.box, other.box) >= SAME_BOX:
        return True
    if one.names != other.names or not one.names:
        return False
    joints = one.skeleton.joints
    all_sigmas = dict(zip(joints, one.skeleton.sigmas or [COMMON_SIGMA] * len(joints), strict=True))
    area = SEGMENT_SHARE * (one.box.width * one.box.height + other.box.width * other.box.height) / 2
    similarity = object_keypoint_similarity(
        one.points[None],
        other.points[None],
        np.ones((1, len(one.names)), bool),
        np.array([area]),
        np.array([all_sigmas[name] for name in one.names]),
    )
    return bool(similarity[0] >= SAME_JOINTS)


def visible(pose: Pose, settings: FollowSettings) -> Pose:
    """A pose as it is written: without the joints under the threshold."""
    kept = pose.scores >= settings.joint_threshold
    names = tuple(name for name, here in zip(pose.names, kept, strict=True) if here)
    return pose if kept.all() else replace(pose, names=names, points=pose.points[kept], scores=pose.scores[kept])
