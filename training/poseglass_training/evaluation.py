"""Accuracy of whatever answers requests for poses: a model in this process, a checkpoint, a server. Needs no torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import box_iou
from poseglass_core.metrics import LIMB_JOINTS, Comparison, PckResult, reference_lengths
from poseglass_core.poses import Locate, ModelRef, Pose, PoseRequest, Prediction
from poseglass_core.reliability import Reliability, reliability
from poseglass_runtime.images import decode_image
from poseglass_training.annotations import AnnotationError, KeypointData, Person
from poseglass_training.pasting import Pasting, encode_png

Mode = Literal["box", "whole", "detect"]

Predict = Callable[[Any, PoseRequest], Prediction]
"""A picture, pixels [H, W, 3] RGB or the bytes of its file, and a request -> the answer."""

MODES: dict[Mode, str] = {"box": "box given", "whole": "whole image", "detect": "everybody detected"}
"""In words, as protocols state them."""

THRESHOLD = 0.2
"""Of PCK: a joint is right within this share of the reference length."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model found the joints of some people.

    Attributes:
        data: name of the data set.
        protocol: how it was measured, in words.
        result: PCK, per joint, with interval and counts.
        limbs: the same over the twelve joints of arms and legs; None where the comparison lacks one of them.
        scores: how far the joints' scores can be believed, over the labelled joints of the people found.
        found: people counted for whom somebody was found at all.
        joints: the joints compared: those that both the data and the model name.
        only_in_data, only_in_model: the joints that were left out for that.
        model: the weights that answered, None where nobody was asked for.
        provider: what ran them.
        seconds: from the first picture to the last answer.
        comparison: what the figures were computed from, a row a person.
        people: who they are, in the same order; joints and boxes as in the picture that was shown.
    """

    data: str
    protocol: str
    result: PckResult
    limbs: PckResult | None
    scores: Reliability | None
    found: int
    joints: tuple[str, ...]
    only_in_data: tuple[str, ...]
    only_in_model: tuple[str, ...]
    model: ModelRef | None
    provider: str
    seconds: float
    comparison: Comparison
    people: tuple[Person, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `data`, `protocol`, `pck`, `per_joint` and `interval` as a manifest's `evaluation` has them."""
        model = self.model
        return {
            "data": self.data,
            "protocol": self.protocol,
            **figure(self.result),
            "per_joint": {name: round(rate, 2) for name, rate in self.result.per_joint.items()},
            "limbs": None if self.limbs is None else figure(self.limbs),
            "people": self.result.people,
            "left_out": self.result.left_out,
            "found": self.found,
            "scores": None if self.scores is None else self.scores.to_json(),
            "only_in_data": list(self.only_in_data),
            "only_in_model": list(self.only_in_model),
            "model": None if model is None else {"name": model.name, "version": model.version, "sha256": model.sha256},
            "provider": self.provider,
            "seconds": round(self.seconds, 2),
        }


def figure(result: PckResult) -> dict[str, Any]:
    """A PCK and its interval as plain values."""
    return {"pck": plain(result.pck, 2), "interval": [plain(side, 2) for side in result.interval]}


def plain(value: float, digits: int = 4) -> float | None:
    """A figure rounded for JSON, which knows no NaN: None where it is not finite."""
    return round(value, digits) if math.isfinite(value) else None


def evaluate(
    predict: Predict,
    data: KeypointData,
    mode: Mode = "box",
    flip: bool = False,
    encoded: bool = False,
    pasting: Pasting | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Evaluation:
    """Measure PCK@0.2 as the project's protocol says.

    A labelled joint is right when it lies within 0.2 x the reference length (the data's reference pair, or its box's
    longer side) of its label. People without that length, or with one under 8 pixels, are left out. Where nobody is
    found, every labelled joint is wrong. The figure is the mean over joints of their rates.

    Args:
        predict: anything that answers.
        data: labelled people.
        mode: "box": each person's box is given. "whole": none is, and the one person found in the whole picture is
            compared with everybody labelled in it. "detect": none is, and everybody is looked for: each labelled person
            is compared with the one found whose box overlaps theirs most, with nobody where none does.
        flip: whether the mirrored crops are averaged in.
        encoded: whether `predict` takes the bytes of picture files; else it gets pixels.
        pasting: puts each picture somewhere on a larger background first.
        on_progress: called with (people done, people).

    Raises:
        AnnotationError: nobody has a reference length, a picture cannot be read or be asked about, or model and data
            share no joint.
    """
    if not data.people:
        raise AnnotationError(f"{data.name}: there are no people to evaluate on")
    count, joints = len(data.people), data.skeleton.joints
    predicted, scores = np.full((count, len(joints), 2), np.nan), np.full((count, len(joints)), np.nan)
    truth, boxes, lengths = np.zeros((count, len(joints), 2)), np.zeros((count, 5)), np.full(count, np.nan)
    visible = np.stack([person.visible for person in data.people])
    shown: list[Person] = []
    found, model_joints, last = 0, None, None
    began = time.perf_counter()
    done = 0
    for path, group in groupby(data.people, key=lambda person: person.image):
        content, people = _scene(path, list(group), encoded, pasting)
        shown += people
        rows = range(done, done + len(people))
        truth[rows] = [person.joints for person in people]
        boxes[rows] = [person.box.to_list() for person in people]
        lengths[rows] = reference_lengths(data.skeleton, truth[rows], visible[rows], boxes[rows])
        asked = [i for i in rows if np.isfinite(lengths[i])]
        if asked:
            last = _ask(predict, content, [people[i - done] for i in asked], mode, flip)
            for row, pose in zip(asked, _matched(last.poses, [people[i - done] for i in asked], mode), strict=True):
                if pose is None:
                    continue
                found += 1
                model_joints = pose.skeleton.joints
                _require_shared(data, model_joints)
                for name in pose.names:
                    if name in joints:
                        _, x, y, score = pose[name]
                        predicted[row, joints.index(name)], scores[row, joints.index(name)] = (x, y), score
        done += len(people)
        on_progress(done, count)
    seconds = time.perf_counter() - began
    if not np.isfinite(lengths).any():
        raise AnnotationError(f"{data.name}: no person has a reference length, so PCK is not defined for them")
    named = joints if model_joints is None else model_joints
    shared = tuple(name for name in joints if name in named)
    comparison = Comparison(data.skeleton, shared, predicted, scores, truth, visible, boxes, lengths)
    return Evaluation(
        data=data.name,
        protocol=_protocol(data, mode, flip, pasting),
        result=comparison.pck(THRESHOLD),
        limbs=comparison.pck(THRESHOLD, LIMB_JOINTS) if set(LIMB_JOINTS) <= set(shared) else None,
        scores=_reliability(comparison),
        found=found,
        joints=shared,
        only_in_data=tuple(name for name in joints if name not in named),
        only_in_model=tuple(name for name in named if name not in joints),
        model=None if last is None else last.model,
        provider="" if last is None else last.provider,
        seconds=seconds,
        comparison=comparison,
        people=tuple(shown),
    )


def _reliability(comparison: Comparison) -> Reliability | None:
    """Scores against correctness, over the joints that have both; None where there are none."""
    errors, scores = comparison.errors, comparison.scores[:, comparison.columns]
    judged = ~np.isnan(errors) & np.isfinite(scores)
    if not judged.any():
        return None
    joint = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return reliability(scores[judged], errors[judged] <= THRESHOLD, joint[judged])


def picture_of(path: Path, people: list[Person], pasting: Pasting | None) -> tuple[NDArray[np.uint8], list[Person]]:
    """A picture's pixels, pasted where that is asked for, and where its people then are.

    Raises:
        AnnotationError: the picture cannot be read.
    """
    try:
        image = decode_image(_bytes(path))
    except InvalidInput as error:
        raise AnnotationError(f"{path}: {error.reason}") from None
    return (image, people) if pasting is None else pasting.paste(image, people)


def _scene(
    path: Path, people: list[Person], encoded: bool, pasting: Pasting | None
) -> tuple[bytes | NDArray[np.uint8], list[Person]]:
    """What the predictor is shown, and where the people are in it."""
    if encoded and pasting is None:
        return _bytes(path), people
    image, people = picture_of(path, people, pasting)
    return (encode_png(image) if encoded else image), people


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path}: the picture cannot be read ({error.strerror})") from None


def _ask(
    predict: Predict, content: bytes | NDArray[np.uint8], people: Sequence[Person], mode: Mode, flip: bool
) -> Prediction:
    boxes = [person.box for person in people] if mode == "box" else []
    try:
        locate = Locate.DETECT if mode == "detect" else Locate.WHOLE_IMAGE
        return predict(content, PoseRequest(boxes=boxes, locate=locate, flip_test=flip))
    except InvalidInput as error:
        raise AnnotationError(f"{people[0].image if people else 'a picture without people'}: {error}") from None


def _matched(poses: Sequence[Pose], people: Sequence[Person], mode: Mode) -> list[Pose | None]:
    """The pose to compare with each person: that of their box, the one that was found, or the nearest one found."""
    if mode == "whole":
        return [poses[0] if poses else None] * len(people)
    if mode == "detect":
        nearest = [max(poses, key=lambda pose: box_iou(pose.box, person.box), default=None) for person in people]
        return [
            pose if pose is not None and box_iou(pose.box, person.box) > 0 else None
            for pose, person in zip(nearest, people, strict=True)
        ]
    return [poses[i] if i < len(poses) else None for i in range(len(people))]


def answered_with_nobody(
    predict: Predict,
    pictures: Sequence[Path],
    mode: Mode = "detect",
    encoded: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """How many of some pictures without people are answered with nobody.

    Args:
        predict, encoded, on_progress: as for `evaluate`.
        pictures: files.
        mode: "whole" or "detect".

    Raises:
        AnnotationError: a picture cannot be read.
    """
    empty = 0
    for i, path in enumerate(pictures):
        content, _ = _scene(path, [], encoded, None)
        empty += not _ask(predict, content, [], mode, flip=False).poses
        on_progress(i + 1, len(pictures))
    return empty


def _require_shared(data: KeypointData, model_joints: tuple[str, ...]) -> None:
    if not set(data.skeleton.joints) & set(model_joints):
        raise AnnotationError(
            f"{data.name} and the model name no joint in common: the data has {', '.join(data.skeleton.joints)}; "
            f"the model has {', '.join(model_joints)}"
        )


def _protocol(data: KeypointData, mode: Mode, flip: bool, pasting: Pasting | None) -> str:
    """The protocol in words, as reports state it."""
    reference = data.skeleton.reference
    length = "the box's longer side" if isinstance(reference, str) else " – ".join(reference)
    parts = [f"PCK@{THRESHOLD:g} of {length}", MODES[mode]]
    if flip:
        parts.append("flip test")
    if pasting is not None:
        parts.append(pasting.describe())
    return ", ".join(parts)
