"""Models as the commands print them, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from poseglass.convert import ModelInfo


def print_models(console: Console, models: Sequence[ModelInfo]) -> None:
    """Print all that is known of models and detectors."""
    for info in models:
        state = info.state.lower() + (", default" if info.is_default else "")
        kind = "" if info.kind in {"POSE", "MODEL_KIND_UNSPECIFIED"} else f"{info.kind.lower()}, "
        version = f" version {info.ref.version}" if info.ref.version else ""  # a misplaced file has none
        console.print(f"[bold]{escape(info.ref.name)}[/bold]{version}, {kind}{state}")
        for what, text in _facts(info):
            console.print(f"  {what:9}{escape(text)}")


def model_json(info: ModelInfo) -> dict[str, Any]:
    """A model as plain values."""
    return {
        "name": info.ref.name,
        "version": info.ref.version,
        "sha256": info.ref.sha256,
        "kind": info.kind,
        "state": info.state,
        "reason": info.reason,
        "is_default": info.is_default,
        "joints": list(info.joints),
        "input": info.manifest.get("input"),
        "evaluation": info.manifest.get("evaluation", []),
        "licence": info.licence,
    }


def _facts(info: ModelInfo) -> Iterator[tuple[str, str]]:
    """What to say of a model, line by line."""
    if info.reason:
        yield "because", info.reason
    if info.joints:
        yield "joints", f"{len(info.joints)}: {', '.join(info.joints)}"
    if size := info.manifest.get("input"):
        yield "input", f"{size['width']} x {size['height']} pixels"
    for row in info.manifest.get("evaluation", ()):
        interval = row.get("interval")
        spread = f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
        how = ", ".join(str(row[key]) for key in ("data", "protocol") if row.get(key))
        for key, name in (("pck", "PCK@0.2"), ("ap50", "AP@0.5")):
            if key in row:
                yield name, f"{row[key]:.1f}{spread}: {how}"
    if info.licence:
        yield "licence", info.licence
