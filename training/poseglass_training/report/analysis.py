"""The figures of a report, from an evaluation's joints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.metrics import Comparison, PckResult
from poseglass_core.oks import OksResult, oks_ap
from poseglass_training.annotations import AnnotationError
from poseglass_training.evaluation import THRESHOLD, Evaluation, figure, plain

CURVE = tuple(round(0.05 + 0.025 * i, 3) for i in range(19))
"""Thresholds of the curves: 0.05 to 0.5."""

HEAD = ("neck", "head_top")
HEAD_THRESHOLD = 0.5
"""Of PCKh."""

ROTATION_BIN = 45
"""Degrees."""

WORST = 12


@dataclass(frozen=True)
class JointFigures:
    """One joint over the people counted.

    Attributes:
        joint: its name.
        labelled: people who have it labelled.
        pck: percent right at `THRESHOLD`.
        pck_half: the same at half of it.
        median_error: over the reference length; infinite where it was mostly not found.
        mean_score: of those found; NaN where none was.
    """

    joint: str
    labelled: int
    pck: float
    pck_half: float
    median_error: float
    mean_score: float


@dataclass(frozen=True)
class Group:
    """People who have something in common.

    Attributes:
        label: what it is.
        result: their PCK.
        median_error: of their joints, over the reference length.
    """

    label: str
    result: PckResult
    median_error: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        error = plain(self.median_error)
        return {"label": self.label, **figure(self.result), "people": self.result.people, "median_error": error}


@dataclass(frozen=True)
class WorstPerson:
    """Somebody whose joints are mostly wrong.

    Attributes:
        row: in the evaluation.
        id: of the annotation.
        image: name of the picture's file.
        wrong, labelled: joints.
        mean_error: over the reference length; infinite where joints were not found.
    """

    row: int
    id: int
    image: str
    wrong: int
    labelled: int
    mean_error: float


@dataclass(frozen=True)
class Analysis:
    """All figures of a report that an `Evaluation` does not hold already.

    Attributes:
        curve: PCK at each threshold of `CURVE`.
        mirrored: the other diagonal of the torso and PCK's curve by it; None where the skeleton has none.
        head: PCKh; None where the skeleton has no head to measure by.
        oks: None where the skeleton has no sigmas.
        joints: one row a joint.
        sizes: people by the longer side of their box, three groups of about equal number.
        rotations: people by how far their trunk is turned from upright.
        trunkless: people counted whose trunk's direction is not labelled.
        worst: by share of wrong joints, then by mean error; nobody without a wrong joint.
    """

    curve: tuple[PckResult, ...]
    mirrored: tuple[tuple[str, str], tuple[PckResult, ...]] | None
    head: PckResult | None
    oks: OksResult | None
    joints: tuple[JointFigures, ...]
    sizes: tuple[Group, ...]
    rotations: tuple[Group, ...]
    trunkless: int
    worst: tuple[WorstPerson, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; figures that are not finite are null."""
        mirrored = None
        if self.mirrored is not None:
            pair, curve = self.mirrored
            mirrored = {"pair": list(pair), "people": curve[0].people, "curve": [figure(point) for point in curve]}
        curves = {row.joint: [round(point.per_joint[row.joint], 2) for point in self.curve] for row in self.joints}
        return {
            "thresholds": list(CURVE),
            "curve": [figure(point) for point in self.curve],
            "joint_curves": curves,
            "mirrored": mirrored,
            "pckh": None if self.head is None else {**figure(self.head), "people": self.head.people},
            "oks": None if self.oks is None else self.oks.to_json(),
            "joints": [_plain_row(row) for row in self.joints],
            "sizes": [group.to_json() for group in self.sizes],
            "rotations": [group.to_json() for group in self.rotations],
            "rotation_unknown": self.trunkless,
            "worst": [_plain_row(person) for person in self.worst],
        }


def _plain_row(row: JointFigures | WorstPerson) -> dict[str, Any]:
    values = {name: plain(value) if isinstance(value, float) else value for name, value in asdict(row).items()}
    values.pop("row", None)  # of no use outside of the evaluation
    return values


def analyse(evaluation: Evaluation) -> Analysis:
    """All figures of a report.

    Raises:
        AnnotationError: nobody counted has a joint labelled that the model has.
    """
    compared = evaluation.comparison
    if np.isnan(compared.errors).all():
        raise AnnotationError(
            f"{evaluation.data}: no person has a joint labelled that the model has: nothing to report"
        )
    skeleton = compared.skeleton
    mirrored = None
    if not isinstance(skeleton.reference, str):
        a, b = (skeleton.joints[skeleton.flip_index[skeleton.index(name)]] for name in skeleton.reference)
        if {a, b} != set(skeleton.reference):
            other = compared.measured_by((a, b))
            mirrored = ((a, b), _curve(other)) if other.counted.any() else None
    head = compared.measured_by(HEAD) if set(HEAD) <= set(skeleton.joints) else None
    angles = trunk_angles(compared)
    trunkless = int((compared.counted & np.isnan(angles)).sum())
    return Analysis(
        curve=_curve(compared),
        mirrored=mirrored,
        head=head.pck(HEAD_THRESHOLD) if head is not None and head.counted.any() else None,
        oks=oks_ap(compared) if skeleton.sigmas else None,
        joints=_joints(compared),
        sizes=_by_size(compared),
        rotations=_by_rotation(compared, angles),
        trunkless=trunkless,
        worst=_worst(evaluation),
    )


def trunk_angles(compared: Comparison) -> NDArray[np.float64]:
    """[P] degrees between upright and the labelled line from mid-hip to neck (or mid-shoulder); NaN where unknown."""
    hips = _middle(compared, ("left_hip", "right_hip"))
    top = _middle(compared, ("neck",))
    top = np.where(np.isnan(top), _middle(compared, ("left_shoulder", "right_shoulder")), top)
    across, up = (top - hips).T * np.array([[1.0], [-1.0]])
    angles: NDArray[np.float64] = np.degrees(np.arctan2(np.abs(across), up))
    return angles


def _middle(compared: Comparison, names: Sequence[str]) -> NDArray[np.float64]:
    """[P, 2] mean of labelled joints; NaN where one is missing."""
    if not set(names) <= set(compared.skeleton.joints):
        return np.full((len(compared.truth), 2), np.nan)
    columns = [compared.skeleton.index(name) for name in names]
    points: NDArray[np.float64] = np.where(compared.visible[:, columns, None], compared.truth[:, columns], np.nan)
    middle: NDArray[np.float64] = points.mean(axis=1)
    return middle


def _curve(compared: Comparison) -> tuple[PckResult, ...]:
    return tuple(compared.pck(threshold) for threshold in CURVE)


def _joints(compared: Comparison) -> tuple[JointFigures, ...]:
    at, half = compared.pck(THRESHOLD, resamples=0), compared.pck(THRESHOLD / 2, resamples=0)
    rows = []
    for column, name in enumerate(compared.joints):
        errors = compared.errors[:, column]
        labelled = ~np.isnan(errors)
        if not labelled.any():
            continue
        scores = compared.scores[labelled, compared.columns[column]]
        found = scores[np.isfinite(scores)]
        score = float(found.mean()) if len(found) else math.nan
        count, error = int(labelled.sum()), float(np.median(errors[labelled]))
        rows.append(JointFigures(name, count, at.per_joint[name], half.per_joint[name], error, score))
    return tuple(rows)


def _by_size(compared: Comparison) -> tuple[Group, ...]:
    side = compared.boxes[:, 2:4].max(axis=1)
    low, high = np.quantile(side[compared.counted], [1 / 3, 2 / 3])
    return _groups(
        compared,
        [
            (f"under {low:.0f} px", side < low),
            (f"{low:.0f} – {high:.0f} px", (side >= low) & (side < high)),
            (f"{high:.0f} px and more", side >= high),
        ],
    )


def _by_rotation(compared: Comparison, angles: NDArray[np.float64]) -> tuple[Group, ...]:
    bins = np.minimum(angles // ROTATION_BIN, 180 // ROTATION_BIN - 1)  # 180 itself is in the last
    starts = range(0, 180, ROTATION_BIN)
    return _groups(compared, [(f"{a}° – {a + ROTATION_BIN}°", bins == i) for i, a in enumerate(starts)])


def _groups(compared: Comparison, parts: Sequence[tuple[str, NDArray[np.bool_]]]) -> tuple[Group, ...]:
    """Those parts that hold somebody with a label to judge."""
    groups = []
    for label, chosen in parts:
        some = compared.rows(chosen & compared.counted)
        errors = some.errors
        if not np.isnan(errors).all():
            groups.append(Group(label, some.pck(THRESHOLD), float(np.median(errors[~np.isnan(errors)]))))
    return tuple(groups)


def _worst(evaluation: Evaluation) -> tuple[WorstPerson, ...]:
    people = []
    for row, errors in enumerate(evaluation.comparison.errors):
        judged = errors[~np.isnan(errors)]
        wrong = int((judged > THRESHOLD).sum())
        if wrong:
            person = evaluation.people[row]
            mean = float(judged.mean())
            people.append(WorstPerson(row, person.id, person.image.name, wrong, len(judged), mean))
    people.sort(key=lambda p: (p.wrong / p.labelled, p.mean_error), reverse=True)
    return tuple(people[:WORST])
