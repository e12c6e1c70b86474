"""`poseglass models` and `poseglass health`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape

import poseglass_models
from poseglass.cli import FAILED, complain
from poseglass.commands.connection import Connection
from poseglass.commands.console import stdout
from poseglass.convert import ModelInfo
from poseglass.errors import FailedPrecondition
from poseglass.exchange import DEFAULT_ADDRESS
from poseglass.local import load, load_detector
from poseglass_core.poses import ModelRef


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    *,
    connection: Connection,
) -> None:
    """List models and detectors, a server's or the shipped ones: joints, input size, accuracy and licence."""
    if connection.wanted:
        with connection.client() as client:
            found = client.models()
    else:
        found = [*map(_shipped, poseglass_models.names()), *map(_shipped_detector, shipped_detectors())]
    if as_json:
        typer.echo(json.dumps([_as_json(info) for info in found], indent=2))
        return
    if not found:
        typer.echo(f"{connection.server or 'this installation'} has no models")
        return
    console = stdout()
    for info in found:
        state = info.state.lower() + (", default" if info.is_default else "")
        kind = "" if info.kind in {"POSE", "MODEL_KIND_UNSPECIFIED"} else f"{info.kind.lower()}, "
        version = f" version {info.ref.version}" if info.ref.version else ""  # a misplaced file has none
        console.print(f"[bold]{escape(info.ref.name)}[/bold]{version}, {kind}{state}")
        for what, text in _facts(info):
            console.print(f"  {what:9}{escape(text)}")


def health(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The server.")] = DEFAULT_ADDRESS,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for an answer.")] = 5.0,
    *,
    connection: Connection,
) -> None:
    """Ask a server whether it is serving: exit code 0 if so, else 1."""
    with connection.client(timeout=timeout) as client:
        serving = client.health()
    if not serving:
        complain(f"{server} answers, but is not serving")
        raise typer.Exit(FAILED)
    typer.echo(f"{server} is serving")


def _shipped(name: str) -> ModelInfo:
    """A model of this package, loaded to be sure that it works."""
    try:
        engine = load(name, "cpu")
    except FailedPrecondition as error:
        return ModelInfo(ModelRef(name, 0, ""), "POSE", "REFUSED", str(error), "", (), False, {})
    manifest = engine.manifest
    return ModelInfo(
        ref=engine.ref,
        kind="POSE",
        state="READY",
        reason="",
        licence=manifest.weights_licence,
        joints=manifest.skeleton.joints,
        is_default=name == poseglass_models.DEFAULT,
        manifest=manifest.to_json(),
    )


def shipped_detectors() -> list[str]:
    """Names of the shipped detectors: one or none."""
    return list(filter(None, [poseglass_models.detector()]))


def _shipped_detector(name: str) -> ModelInfo:
    """A detector of this package, loaded to be sure that it works."""
    try:
        engine = load_detector(name, "cpu")
    except FailedPrecondition as error:
        return ModelInfo(ModelRef(name, 0, ""), "DETECTOR", "REFUSED", str(error), "", (), False, {})
    manifest = engine.manifest
    return ModelInfo(
        ref=engine.ref,
        kind="DETECTOR",
        state="READY",
        reason="",
        licence=manifest.weights_licence,
        joints=(),
        is_default=True,
        manifest=manifest.to_json(),
    )


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


def _as_json(info: ModelInfo) -> dict[str, Any]:
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
