"""The page of a report: one HTML file with everything in it."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from poseglass_core.drawing import LEFT, MIDDLE, RIGHT
from poseglass_core.metrics import LIMB_JOINTS, MINIMUM_REFERENCE, PckResult
from poseglass_core.oks import SEGMENT_SHARE
from poseglass_training.evaluation import THRESHOLD, Evaluation
from poseglass_training.report import plots
from poseglass_training.report.analysis import CURVE, HEAD_THRESHOLD, Analysis, Group, WorstPerson
from poseglass_training.report.tiles import LABEL, MISS


def render(evaluation: Evaluation, analysis: Analysis, tiles: Sequence[bytes], subset: str) -> str:
    """The whole page.

    Args:
        evaluation, analysis: the figures.
        tiles: JPEG files of `analysis.worst`, in that order.
        subset: which people these are.
    """
    model = evaluation.model
    name = "nobody asked" if model is None else f"{model.name} version {model.version}"
    run = "" if model is None else f"{model.sha256[:12]}, {evaluation.provider}, "
    title = f"{name} on {evaluation.data}"
    style = files("poseglass_training.report").joinpath("style.css").read_text("utf-8")
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(evaluation.protocol)}; people: {escape(subset)}</p>",
        f'<p class="soft">{escape(run)}{evaluation.seconds:.0f} s</p>',
        _headline(evaluation, analysis),
        _plots(evaluation, analysis),
        _joints(analysis),
        _groups(analysis),
        _worst(analysis.worst, tiles),
        _method(evaluation, analysis),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _headline(evaluation: Evaluation, analysis: Analysis) -> str:
    result = evaluation.result
    cards = [(f"PCK@{THRESHOLD:g}", f"{result.pck:.1f}", _interval(result))]
    if evaluation.limbs is not None:
        cards.append((f"{len(LIMB_JOINTS)} limb joints", f"{evaluation.limbs.pck:.1f}", _interval(evaluation.limbs)))
    if analysis.mirrored is not None:
        other = at_threshold(analysis.mirrored[1])
        cards.append(("other diagonal", f"{other.pck:.1f}", f"{_interval(other)}, {other.people} people"))
    if analysis.head is not None:
        head = analysis.head
        cards.append((f"PCKh@{HEAD_THRESHOLD:g}", f"{head.pck:.1f}", f"{_interval(head)}, {head.people} people"))
    if analysis.oks is not None:
        oks = analysis.oks
        cards.append(("OKS-AP", f"{oks.ap:.1f}", f"AP50 {oks.ap50:.1f}, AP75 {oks.ap75:.1f}"))
    if evaluation.scores is not None:
        scores = evaluation.scores
        auc = "" if math.isnan(scores.roc_auc) else f"area under ROC {scores.roc_auc:.3f}"
        cards.append(("calibration error", f"{scores.expected_calibration_error:.3f}", auc))
    cards.append(("people", str(result.people), f"{result.left_out} left out, found {evaluation.found}"))
    inside = "".join(
        f'<div class="card"><span>{escape(what)}</span><b>{value}</b><span>{escape(more)}</span></div>'
        for what, value, more in cards
    )
    return f'<div class="grid key">{inside}</div>'


def _plots(evaluation: Evaluation, analysis: Analysis) -> str:
    skeleton = evaluation.comparison.skeleton
    reference = skeleton.reference
    length = "box's longer side" if isinstance(reference, str) else " – ".join(reference).replace("_", " ")
    cards = [
        ("Right joints by threshold", "Mean over joints, with 95 % interval.", plots.curve_plot(analysis, length)),
        ("Each joint", "Left solid, right dashed.", plots.joint_plot(analysis, skeleton)),
    ]
    if evaluation.scores is not None:
        note = f"Of the joints with about that score, how many are within {THRESHOLD:g} of their label."
        cards.append(("Can the scores be believed?", note, plots.reliability_plot(evaluation.scores)))
    return f"<h2>Curves</h2>{_cards(cards)}"


def _cards(cards: Iterable[tuple[str, str, str]]) -> str:
    inside = "".join(
        f'<figure class="card"><h3>{escape(title)}</h3><figcaption>{escape(note)}</figcaption>{drawing}</figure>'
        for title, note, drawing in cards
    )
    return f'<div class="grid">{inside}</div>'


def _joints(analysis: Analysis) -> str:
    rows = [
        "<tr>"
        f"<td>{escape(row.joint.replace('_', ' '))}</td><td>{row.labelled}</td>"
        f'<td class="bar" style="--share: {row.pck:.1f}%">{row.pck:.1f}</td><td>{row.pck_half:.1f}</td>'
        f"<td>{_number(row.median_error)}</td><td>{_number(row.mean_score)}</td>"
        "</tr>"
        for row in analysis.joints
    ]
    head = ("joint", "labelled", f"PCK@{THRESHOLD:g}", f"PCK@{THRESHOLD / 2:g}", "median error", "mean score")
    return f"<h2>Joints</h2>{_table(head, rows)}"


def _groups(analysis: Analysis) -> str:
    cards, rows = [], []
    unknown = f" {analysis.trunkless} people without these labels are not in it." if analysis.trunkless else ""
    for title, note, groups in (
        ("Size", "Longer side of the person's box; three groups of about equal number.", analysis.sizes),
        ("Rotation", f"Angle of mid-hip to neck (or mid-shoulder) from upright.{unknown}", analysis.rotations),
    ):
        if groups:
            cards.append((title, note, plots.group_plot(f"PCK by {title.lower()}", groups)))
            rows += [_group_row(f"{title.lower()} {group.label}", group) for group in groups]
    table = _table(("people", "number", f"PCK@{THRESHOLD:g}", "95 % interval", "median error"), rows)
    return f"<h2>Who is hard</h2>{_cards(cards)}{table}"


def _group_row(label: str, group: Group) -> str:
    result = group.result
    return (
        f"<tr><td>{escape(label)}</td><td>{result.people}</td><td>{result.pck:.1f}</td>"
        f"<td>{_interval(result)}</td><td>{_number(group.median_error)}</td></tr>"
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="card wide"><table><tr>{names}</tr>{"".join(rows)}</table></div>'


def _worst(worst: Sequence[WorstPerson], tiles: Sequence[bytes]) -> str:
    if not worst:
        return "<h2>Worst</h2><p>Nobody has a wrong joint.</p>"
    swatches = ((LEFT, "predicted left"), (RIGHT, "right"), (MIDDLE, "middle"), (LABEL, "labelled"), (MISS, "wrong by"))
    legend = ", ".join(f'<span class="swatch" style="background: {_css(c)}"></span> {name}' for c, name in swatches)
    figures = []
    for person, tile in zip(worst, tiles, strict=True):
        error = f"mean error {person.mean_error:.2f}" if math.isfinite(person.mean_error) else "not found"
        caption = f"{person.image}, id {person.id}: {person.wrong} of {person.labelled} wrong, {error}"
        source = base64.b64encode(tile).decode()
        picture = f'<img alt="predicted and labelled joints" src="data:image/jpeg;base64,{source}">'
        figures.append(f'<figure class="card">{picture}<figcaption>{escape(caption)}</figcaption></figure>')
    return (
        f"<h2>Worst</h2><p>By share of wrong joints, then by mean error (share of the reference length).</p>"
        f'<p class="soft">{legend}</p><div class="grid tiles">{"".join(figures)}</div>'
    )


def _method(evaluation: Evaluation, analysis: Analysis) -> str:
    lines = [
        f"PCK: share of labelled joints within a threshold of the reference length; mean over joints, intervals by "
        f"person (bootstrap, 95 %). People whose length is unknown or under {MINIMUM_REFERENCE:g} pixels are left out; "
        f"so are they from every other figure.",
        "Errors are distances over the reference length. A joint that was not found is wrong.",
    ]
    if analysis.head is not None:
        lines.append(f"PCKh@{HEAD_THRESHOLD:g}: within {HEAD_THRESHOLD:g} x the distance of neck and head top.")
    if analysis.oks is not None:
        lines.append(
            f"OKS-AP: as COCO's keypoint evaluation defines it (cocodataset.org/#keypoints-eval), mean over the "
            f"thresholds 0.50 to 0.95; each labelled person has at most one prediction, ranked by mean joint score. "
            f"The area of a person is taken to be {SEGMENT_SHARE:g} x that of the box."
        )
    for joints, owner in ((evaluation.only_in_data, "data"), (evaluation.only_in_model, "model")):
        if joints:
            lines.append(f"Not compared, only the {owner} has them: {', '.join(joints)}.")
    return "<h2>How it is measured</h2>" + "".join(f'<p class="soft">{escape(line)}</p>' for line in lines)


def at_threshold(curve: Sequence[PckResult]) -> PckResult:
    """A curve's point at `THRESHOLD`."""
    return curve[CURVE.index(THRESHOLD)]


def _interval(result: PckResult) -> str:
    low, high = result.interval
    return f"{low:.1f} – {high:.1f}"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _css(colour: tuple[int, int, int]) -> str:
    return f"rgb{colour}"
