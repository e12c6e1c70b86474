"""`poseglass models` and `poseglass health`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

import poseglass_models
from poseglass.cli import FAILED, complain
from poseglass.client import PoseClient
from poseglass.commands.console import stdout
from poseglass.convert import ModelInfo
from poseglass.errors import FailedPrecondition
from poseglass.exchange import DEFAULT_ADDRESS
from poseglass.local import load
from poseglass_core.poses import ModelRef


def models(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="List a server's; else the shipped ones.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List models with their joints, input size, accuracy and licence."""
    if server:
        with PoseClient(server) as client:
            found = client.models()
    else:
        found = [_shipped(name) for name in poseglass_models.names()]
    if as_json:
        typer.echo(json.dumps([_as_json(info) for info in found], indent=2, ensure_ascii=False))
        return
    table = Table(header_style="bold")
    for column in ("model", "version", "state", "joints", "input", "PCK@0.2", "licence of the weights"):
        table.add_column(column)
    for info in found:
        state = f"{info.state.lower()}{' (default)' if info.is_default else ''}"
        accuracy = "\n".join(_accuracy(row) for row in info.manifest.get("evaluation", ()))
        cells = [info.ref.name, str(info.ref.version), info.reason or state, str(len(info.joints)), _input(info)]
        table.add_row(*(escape(cell) for cell in [*cells, accuracy or "not measured", info.licence]))
    stdout().print(table, soft_wrap=False)


def health(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The server.")] = DEFAULT_ADDRESS,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for an answer.")] = 5.0,
) -> None:
    """Ask a server whether it is serving: exit code 0 if so, else 1."""
    with PoseClient(server, timeout=timeout) as client:
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


def _input(info: ModelInfo) -> str:
    size = info.manifest.get("input")
    return f"{size['width']} x {size['height']}" if size else ""


def _accuracy(row: Any) -> str:
    """One result of a manifest: the figure, its interval, and how it was measured."""
    interval = row.get("interval")
    spread = f" ({interval[0]:.1f}-{interval[1]:.1f})" if interval else ""
    what = ", ".join(str(row[key]) for key in ("data", "protocol") if row.get(key))
    return f"{row['pck']:.1f}{spread} {what}" if "pck" in row else what


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
