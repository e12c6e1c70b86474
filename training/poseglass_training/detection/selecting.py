"""What is chosen on dev: the threshold from which a box is a person."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from poseglass_training.annotations import KeypointData
from poseglass_training.detection.evaluation import (
    Detect,
    empty_pictures,
    main_person_found,
    measure_precision,
    top_scores,
)
from poseglass_training.pasting import Pasting
from poseglass_training.scenes import Scene

ALARMS = 0.1
"""Share of the pictures without people in which somebody may be seen."""

MARGIN = 0.04
"""Over the score that is not to be a person: a quantile of a few dozen scores is uncertain by about as much."""

LOWEST, HIGHEST = 0.1, 0.7

UNKNOWN = 0.3
"""Threshold where there is no picture without people to choose one on."""


def dev_row(detect: Detect, scenes: Sequence[Scene], pasted: tuple[KeypointData, Pasting] | None) -> dict[str, float]:
    """How good a detector is on dev, in percent, at a threshold of `UNKNOWN` where one is needed."""
    precision = measure_precision(detect, scenes)
    row = {"dev_ap": precision.ap, "dev_ap_large": precision.ap_large}
    tops = top_scores(detect, scenes)
    if len(tops):
        row["dev_alarms"] = 100 * float((tops >= UNKNOWN).mean())
    if pasted is not None:
        data, pasting = pasted
        row["dev_found_pasted"] = main_person_found(detect, data, UNKNOWN, pasting)[0]
    return {key: round(value, 2) for key, value in row.items() if math.isfinite(value)}  # of nobody there is no AP


def choose_threshold(detect: Detect, scenes: Sequence[Scene]) -> float:
    """The lowest threshold, within bounds, at which few enough pictures without people should show somebody.

    It is the conformal quantile: the scores of a new picture are as likely to rank anywhere among those of dev, so with
    few pictures to go by the threshold lies above all of them. A picture counts with its mirror image, which is as
    likely to come, and often scores otherwise.

    Args:
        detect: the detector.
        scenes: of dev; those without people count.
    """
    tops = [
        max(detect(np.ascontiguousarray(seen))[1], default=0.0)
        for picture in empty_pictures(scenes)
        for seen in (picture, picture[:, ::-1])
    ]
    if not tops:
        return UNKNOWN
    rank = min(math.ceil((len(tops) + 1) * (1 - ALARMS)), len(tops))
    return round(float(np.clip(np.sort(tops)[rank - 1] + MARGIN, LOWEST, HIGHEST)), 2)
