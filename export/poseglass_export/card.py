"""A model card, written from what a model says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        _table(
            *(("data", _data(part)) for part in training.get("data", ())),
            ("preset", training.get("preset")),
            ("seed", training.get("seed")),
            ("epochs", training.get("epochs")),
            ("commit", training.get("commit")),
            ("best on dev", _number(training.get("best_dev_pck"))),
        ),
        f"```\n{training['command']}\n```" if training.get("command") else "",
        "## How good it is" if manifest.evaluation else "",
        *(_evaluation(row) for row in manifest.evaluation),
        "## How exact the export is",
        _table(*((name.replace("_", " "), _number(value)) for name, value in manifest.parity.items())),
        notes,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(part: Mapping[str, Any]) -> str:
    people = f", {part['people']:,} people" if "people" in part else ""
    return f"{part['name']}{people} ({part['licence']})"


def _evaluation(row: Mapping[str, Any]) -> str:
    low, high = row.get("interval", (float("nan"), float("nan")))
    head = f"{row['data']}: {row['protocol']}. **{row['pck']:.1f}** (95 % interval {low:.1f} – {high:.1f})"
    if "people" in row:
        head += f", {row['people']} people, {row['left_out']} left out for want of a reference length"
    joints = row.get("per_joint", {})
    return f"{head}.\n\n" + _table(*((name, f"{rate:.1f}") for name, rate in joints.items()), head=("joint", "PCK@0.2"))


def _table(*rows: tuple[str, Any], head: tuple[str, str] = ("", "")) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows if value not in (None, "")]
    return "\n".join(lines)


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else value
