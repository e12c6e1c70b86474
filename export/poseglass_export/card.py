"""A model card, written from what a model says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.manifest import Manifest

_WORDS = {
    "softmax": "spatial softmax: each map sums to 1",
    "clip": "clipped to 0 … 1",
    "sigmoid": "each cell's own probability",
    "peak": "the heatmap's peak, not a probability: compare scores with each other",
    "calibrated": "probability that the joint is right",
}


def model_card(manifest: Manifest, notes: str = "") -> str:
    """Markdown about one model: what it may be used for, how it was made, how good and how exact it is.

    Args:
        manifest: of the model.
        notes: added as they are, e.g. known failures.
    """
    training = manifest.training
    (height, width), (rows, columns) = manifest.input_size, manifest.heatmap_size
    parts = [
        f"# {manifest.name}, version {manifest.version}",
        f"**The weights may be used**: {manifest.weights_licence}",
        "## What it is",
        _table(
            ("architecture", manifest.architecture),
            ("input", f"{width} × {height} RGB crops, {manifest.box_padding:g} × the person's box"),
            ("joints", f"{len(manifest.skeleton.joints)}: {', '.join(manifest.skeleton.joints)}"),
            ("heatmaps", f"{columns} × {rows}, {_WORDS[manifest.heatmap_activation]}"),
            ("scores", _WORDS[manifest.score["meaning"]]),
            ("precision", manifest.precision),
        ),
        "## How it was made",
        _table(*(("data", _data(part)) for part in training.get("data", ()))),
        *_runs(training),
        "## How good it is" if manifest.evaluation else "",
        *(_evaluation(row) for row in manifest.evaluation),
        *_calibration(training.get("calibration", {})),
        "## How exact the export is",
        _table(*((name.replace("_", " "), _number(value)) for name, value in manifest.parity.items())),
        notes.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def detector_card(manifest: DetectorManifest, notes: str = "") -> str:
    """Markdown about one detector, as `model_card` writes it about a pose model.

    Args:
        manifest: of the detector.
        notes: added as they are, e.g. known failures.
    """
    height, width = manifest.input_size
    less = "" if manifest.step is None else f"; less, in steps of {manifest.step} pixels, where it is not square"
    if manifest.closer is not None:
        less += f"; up to {manifest.closer[1]} × {manifest.closer[0]} for a closer look, where nobody was found"
    parts = [
        f"# {manifest.name}, version {manifest.version}",
        f"**The weights may be used**: {manifest.weights_licence}",
        "## What it is",
        _table(
            ("architecture", manifest.architecture),
            ("input", f"{width} × {height} RGB, the whole picture with black borders{less}"),
            ("answers", f"boxes of people; one is a person from a score of {manifest.threshold:g}"),
            ("precision", manifest.precision),
        ),
        "## How it was made",
        _table(*(("data", _data(part)) for part in manifest.training.get("data", ()))),
        *_runs(manifest.training),
        "## How good it is" if manifest.evaluation else "",
        *(_found(row) for row in manifest.evaluation),
        "## How exact the export is",
        _table(*((name.replace("_", " "), _number(value)) for name, value in manifest.parity.items())),
        notes.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _found(row: Mapping[str, Any]) -> str:
    """How well a detector finds people, from its manifest's row."""

    def figure(name: str) -> str:
        if row[name] is None:
            return "–"
        low, high = row[f"{name}_interval"] if name.startswith("found") else row[f"interval{name[2:]}"]
        return f"{row[name]:.1f} (95 % interval {low:.1f} – {high:.1f})"

    lines = [
        (f"average precision, {row['large']} people larger than 96 × 96 pixels", figure("ap_large")),
        (f"average precision, all {row['people']} people", figure("ap")),
        (f"of {row['without_people']} pictures without people, with a box, percent", f"{row['false_alarms']:.1f}"),
    ]
    if "found" in row:
        whose = f"{row['searched']} people of {row['people_of']}"
        lines += [
            (f"{whose}: found, percent", figure("found")),
            ("the same, pasted at a fifth to two fifths onto scenes without people", figure("found_pasted")),
        ]
    return f"{row['data']} ({row['pictures']} pictures): {row['protocol']}.\n\n" + _table(*lines)


def _data(part: Mapping[str, Any]) -> str:
    people = f", {part['people']:,} people" if "people" in part else ""
    return f"{part['name']}{people} ({part['licence']})"


def _runs(training: Mapping[str, Any]) -> list[str]:
    """The runs that the weights went through, the first one first: each started from the weights of the one before."""
    runs = [training]
    while "init" in runs[0]:
        runs.insert(0, runs[0]["init"])
    rows = [
        (
            run.get("preset", "") + (f", stacks {run['stacks']}" if "stacks" in run else ""),
            run.get("seed", ""),
            f"{run.get('epoch', run.get('epochs', ''))} of {run.get('epochs', '')}",
            _dev(run.get("best_dev_pck")),
            run.get("commit") or "–",
        )
        for run in runs
    ]
    commands = [run["command"] for run in runs if run.get("command")]
    return [
        _wide_table(("preset", "seed", "epochs", "dev PCK@0.2", "commit"), rows),
        "```\n" + "\n".join(commands) + "\n```" if commands else "",
    ]


def _dev(pck: float | None) -> str:
    """Of a run that was left before its final input size there is none."""
    return "–" if pck is None or pck < 0 else f"{pck:.1f}"


def _calibration(made: Mapping[str, Any]) -> list[str]:
    """How presence did on pictures that were held out."""
    presence = made.get("presence", {})
    if not presence:
        return []
    rows = [(name, row["person"], row["nobody"], row["crops"]) for name, row in presence.items()]
    return [
        "Presence, percent right at 0.5 on crops of pictures that it was not fitted to:",
        _wide_table(("data", "a person", "nobody", "crops"), rows),
    ]


def _scores(scores: Mapping[str, Any]) -> str:
    """How far scores can be believed, with a diagram that any reader of Markdown shows."""
    total = sum(count for _, _, count in scores["bins"])
    rows = [
        (f"{score:.2f}", f"{100 * share:.0f} %", _bar(share), f"{100 * count / total:.0f} %")
        for score, share, count in scores["bins"]
    ]
    return (
        f"Scores on the same people: expected calibration error {scores['expected_calibration_error']:.3f}, area under "
        f"ROC {_number(scores['roc_auc'])}, Brier {scores['brier']:.3f} (joint rates alone "
        f"{scores['brier_of_rates']:.3f}).\n\n" + _wide_table(("mean score", "right", "", "of all joints"), rows)
    )


def _bar(share: float) -> str:
    full = round(20 * share)
    return f"`{'█' * full}{'·' * (20 - full)}`"


def _evaluation(row: Mapping[str, Any]) -> str:
    low, high = row.get("interval", (float("nan"), float("nan")))
    head = f"{row['data']}: {row['protocol']}. **{row['pck']:.1f}** (95 % interval {low:.1f} – {high:.1f})"
    if "people" in row:
        head += f", {row['people']} people, {row['left_out']} left out for want of a reference length"
    joints = row.get("per_joint", {})
    table = _table(*((name, f"{rate:.1f}") for name, rate in joints.items()), head=("joint", "PCK@0.2"))
    return "\n\n".join([f"{head}.", table, *([_scores(row["scores"])] if row.get("scores") else [])])


def _table(*rows: tuple[str, Any], head: tuple[str, str] = ("", "")) -> str:
    return _wide_table(head, [(name, value) for name, value in rows if value not in (None, "")])


def _wide_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else value
