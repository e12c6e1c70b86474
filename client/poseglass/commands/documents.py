"""JSON that commands print."""

from __future__ import annotations

import json
from typing import Any

import typer

from poseglass.cli import explain
from poseglass.errors import PoseglassError


class JsonList:
    """One JSON list on stdout, written as it grows, and closed even where the run breaks off.

    Args:
        wanted: where not, there is no list, and nothing to add to.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted, self._started = wanted, False

    def __enter__(self) -> JsonList:
        if self._wanted:
            typer.echo("[", nl=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            typer.echo("\n]" if self._started else "]")

    def add(self, value: dict[str, Any]) -> None:
        """One more element."""
        typer.echo(f"{',' if self._started else ''}\n{json.dumps(value)}", nl=False)
        self._started = True


def error_json(error: Exception) -> dict[str, Any]:
    """An expected error as plain values."""
    if isinstance(error, PoseglassError):
        return error.to_json()
    return {"code": "UNKNOWN", "message": explain(error)}
