"""How well people are found: average precision, false alarms, and whether a picture's one labelled person is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box, box_iou
from poseglass_runtime.images import decode_image
from poseglass_training.annotations import KeypointData
from poseglass_training.pasting import Pasting
from poseglass_training.scenes import Scene, read_picture, shared_area

Detect = Callable[[NDArray[np.uint8]], tuple[list[Box], NDArray[np.float32]]]
"""A picture [height, width, 3] RGB -> boxes in its pixels and their scores, without a threshold."""

IOU = 0.5
LARGE = 96.0**2
"""Square pixels; from here on a person counts as large."""

RESAMPLES = 1000


@dataclass(frozen=True)
class Precision:
    """Average precision at an IoU of 0.5 over scenes in which everybody is labelled.

    Attributes:
        ap, ap_large: percent, of everybody and of people larger than 96 x 96 pixels.
        interval, interval_large: bootstrap 95 % intervals, by picture.
        people, large: how many.
        pictures: how many.
    """

    ap: float
    ap_large: float
    interval: tuple[float, float]
    interval_large: tuple[float, float]
    people: int
    large: int
    pictures: int

    def to_json(self) -> dict[str, Any]:
        """For manifests and reports; None for what is not defined, as where nobody is large."""
        return {k: _defined(v) for k, v in asdict(self).items()}


def _defined(value: Any) -> Any:
    """A figure with two digits; None for NaN, which JSON does not have."""
    if isinstance(value, tuple):
        return None if any(math.isnan(end) for end in value) else value
    return (None if math.isnan(value) else round(value, 2)) if isinstance(value, float) else value


@dataclass(frozen=True)
class Match:
    """One picture's boxes against its people.

    Attributes:
        scores: [K] of the boxes.
        hit: [K] the person that a box is on, -1 for none.
        ignored: [K] boxes on crowds, or (for the large) on and of small people.
        people: how many there are to be found.
    """

    scores: NDArray[np.float64]
    hit: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    people: int


def average_precision(matches: Sequence[Match]) -> float:
    """Area under the precision-recall curve, precision made monotonous and read at 101 recalls as COCO does; percent.

    NaN where there is nobody to be found.
    """
    people = sum(match.people for match in matches)
    if not people:
        return float("nan")
    scores = np.concatenate([match.scores[~match.ignored] for match in matches])
    hits = np.concatenate([match.hit[~match.ignored] >= 0 for match in matches])
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(hits[order])
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / people, np.linspace(0, 1, 101), side="left")
    return 100 * float(np.append(envelope, 0.0)[at].mean())


def match_picture(
    boxes: Sequence[Box], scores: NDArray[np.floating], people: Sequence[Box], ignore: Sequence[Box], least: float = 0.0
) -> Match:
    """Assign boxes to people, the surest box first, each person to one box, at an IoU of at least 0.5.

    Args:
        boxes, scores: what was found.
        people: who is there.
        ignore: regions in which boxes are neither right nor wrong.
        least: area in square pixels from which people and boxes count; smaller people are neither right nor wrong.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    wanted = [i for i, person in enumerate(people) if person.width * person.height >= least]
    free = set(range(len(people)))
    hit, ignored = np.full(len(boxes), -1), np.zeros(len(boxes), bool)
    for rank, i in enumerate(order):
        best = max(free, key=lambda p: (box_iou(boxes[i], people[p]), p in wanted), default=None)
        if best is not None and box_iou(boxes[i], people[best]) >= IOU:
            free.discard(best)
            hit[rank], ignored[rank] = best, best not in wanted
        else:
            ignored[rank] = boxes[i].width * boxes[i].height < least or any(
                shared_area(boxes[i], region) >= IOU * boxes[i].width * boxes[i].height for region in ignore
            )
    return Match(np.asarray(scores, np.float64)[order], hit, ignored, len(wanted))


def measure_precision(detect: Detect, scenes: Sequence[Scene], seed: int = 0) -> Precision:
    """Average precision on pictures in which everybody is labelled.

    Args:
        detect: finds people.
        scenes: the pictures; `avoid` of each is ignored.
        seed: of the bootstrap.
    """
    everybody, large = [], []
    for scene in scenes:
        boxes, scores = detect(decode_image(read_picture(scene.image)))
        everybody.append(match_picture(boxes, scores, scene.people, scene.avoid))
        large.append(match_picture(boxes, scores, scene.people, scene.avoid, LARGE))
    ap, interval = _with_interval(everybody, seed)
    ap_large, interval_large = _with_interval(large, seed)
    return Precision(
        ap,
        ap_large,
        interval,
        interval_large,
        sum(match.people for match in everybody),
        sum(match.people for match in large),
        len(scenes),
    )


def _with_interval(matches: Sequence[Match], seed: int) -> tuple[float, tuple[float, float]]:
    if not any(match.people for match in matches):
        return float("nan"), (float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    draws = [
        average_precision([matches[i] for i in rng.integers(len(matches), size=len(matches))]) for _ in range(RESAMPLES)
    ]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return average_precision(matches), (round(float(low), 2), round(float(high), 2))


def false_alarms(detect: Detect, scenes: Sequence[Scene], threshold: float) -> float:
    """Percent of the pictures without anybody in which a box scores at least the threshold.

    Raises:
        ValueError: everybody is somewhere.
    """
    tops = top_scores(detect, scenes)
    if not len(tops):
        raise ValueError("there is no picture without people to count false alarms on")
    return 100 * float((tops >= threshold).mean())


def top_scores(detect: Detect, scenes: Sequence[Scene]) -> NDArray[np.float64]:
    """The highest score in each picture without anybody."""
    return np.array([max(detect(picture)[1], default=0.0) for picture in empty_pictures(scenes)])


def empty_pictures(scenes: Sequence[Scene]) -> Iterator[NDArray[np.uint8]]:
    """The pictures without anybody, [height, width, 3] RGB."""
    for scene in scenes:
        if scene.empty:
            yield decode_image(read_picture(scene.image))


def main_person_found(
    detect: Detect, data: KeypointData, threshold: float, pasting: Pasting | None = None
) -> tuple[float, tuple[float, float]]:
    """Percent of labelled people that some box above the threshold is on (IoU of at least 0.5), and its interval.

    Args:
        detect: finds people.
        data: pictures with one labelled person each; others may be in them.
        threshold: of the scores.
        pasting: puts the pictures onto others first.
    """
    found = []
    for person in data.people:
        image = decode_image(read_picture(person.image))
        if pasting is not None:
            image, (person,) = pasting.paste(image, [person])
        boxes, scores = detect(image)
        sure = [box for box, score in zip(boxes, scores, strict=True) if score >= threshold]
        found.append(any(box_iou(box, person.box) >= IOU for box in sure))
    rate = np.array(found, float)
    rng = np.random.default_rng(0)
    draws = rate[rng.integers(len(rate), size=(RESAMPLES, len(rate)))].mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return 100 * float(rate.mean()), (round(100 * float(low), 2), round(100 * float(high), 2))
