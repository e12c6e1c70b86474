"""Which of the poses found in a picture are people, and each of them once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Box
from poseglass_core.manifest import Manifest
from poseglass_core.oks import without_duplicates
from poseglass_core.poses import PERSON, PoseRequest
from poseglass_runtime.estimator import Estimates

CANDIDATE = 0.4
"""Share of a detector's threshold from which a box is worth a look. Somebody in it is a person where box and pose
together, as a product, are as certain as a box at the threshold with a pose at `PERSON`: one makes up for the other."""

CROWDED = 0.7
"""That share where more than `FEW` boxes are at the threshold: there, doubtful ones are mostly parts of people."""

CLOSER = 0.7
"""What a box's score counts that only a closer look at the picture has found: more of its edges look like somebody, and
people who are small in it are the fewer."""

LIKELY = 0.5
"""Share of the person threshold from which somebody is looked at again, in a crop that fits the joints."""

FEW = 4
"""People; where more are likely, nobody is looked at again, so that crowds do not take twice the time."""

OVERLAP = 0.65
"""Object keypoint similarity from which two poses are one person, where the request does not say: joints that lie about
1.9 sigma x the root of the person's area apart, a seventh of it. People who stand close are further apart than that.
Joints count as much as both poses are certain of them."""

SIGMA = 1.5
"""Cells; of the Gaussians that heatmaps are trained on, where the manifest does not say."""


def person_scores(estimates: Estimates) -> NDArray[np.float32]:
    """How much each crop looks like one whole person: the mean joint score, times presence where the model says it."""
    mean: NDArray[np.float32] = estimates.scores.mean(axis=1)
    return mean if estimates.presence is None else mean * estimates.presence


def perfect_score(manifest: Manifest) -> float:
    """What a joint scores that the network has no doubt about."""
    if manifest.score["meaning"] == "calibrated" or manifest.heatmap_activation != "softmax":
        return 1.0
    sigma = float(manifest.training.get("recipe", {}).get("sigma", SIGMA))
    return 1 / (2 * math.pi * sigma**2)  # the peak of a Gaussian that sums to 1


def default_person_threshold(manifest: Manifest) -> float:
    """The score from which somebody is a person, where the request does not say; 0 where the model cannot tell."""
    return PERSON * perfect_score(manifest) if "presence" in manifest.outputs else 0.0


def people_among(
    estimates: Estimates,
    boxes: list[Box],
    manifest: Manifest,
    request: PoseRequest,
    certainty: NDArray[np.floating] | None = None,
    share: float = 1.0,
) -> list[int]:
    """Positions of the poses that are people, the most certain first, each person once.

    Args:
        estimates: of all boxes.
        boxes: where they were looked for.
        manifest: of the pose model.
        request: its thresholds; the defaults are `default_person_threshold` and `OVERLAP`.
        certainty: [P] of the boxes, a detector's score over its threshold; None: they are not in doubt.
        share: of the person threshold that is enough.
    """
    scores = person_scores(estimates)
    sure = np.ones(len(boxes)) if certainty is None else certainty
    default = default_person_threshold(manifest)
    if request.person_threshold is not None:
        is_person = scores >= share * request.person_threshold
    elif default:
        is_person = scores * sure >= share * default
    else:  # a pose that says nothing of it cannot make up for a doubtful box
        is_person = sure >= share
    present = [int(i) for i in np.flatnonzero(is_person)]
    overlap = OVERLAP if request.overlap_threshold is None else request.overlap_threshold
    kept = without_duplicates(
        estimates.joints[present],
        scores[present],
        [boxes[i] for i in present],
        manifest.skeleton.sigmas,
        overlap,
        estimates.scores[present],
    )
    return [present[i] for i in kept]
