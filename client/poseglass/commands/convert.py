"""`poseglass convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poseglass.cli import complain
from poseglass.errors import InvalidRequest
from poseglass.video import formats
from poseglass_core.skeleton import BUILT_IN

_NAMES = "|".join(formats.FORMATS)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A result file; for OpenPose JSON, its folder.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; its suffix says the format.")],
    to: Annotated[str, typer.Option("--format", metavar=_NAMES, help="Of OUT; default: by its suffix.")] = "",
    origin: Annotated[str, typer.Option("--from", metavar=_NAMES, help="Of IN; default: by its suffix.")] = "",
    skeleton: Annotated[
        str, typer.Option(metavar="|".join(BUILT_IN), help="Of IN, where it does not name joints.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it is there already.")] = False,
) -> None:
    """Write a video's result file in another format, and say on stderr what that format cannot hold."""
    if skeleton and skeleton not in BUILT_IN:
        raise InvalidRequest("--skeleton", f"must be one of {', '.join(BUILT_IN)}, not {skeleton!r}")
    formats.format_of(source, origin, "--from")
    form = formats.format_of(target, to)
    if target.exists():
        if target.resolve() == source.resolve():
            raise InvalidRequest("OUT", f"{target} is IN itself; give another name")
        if not overwrite:
            raise InvalidRequest("OUT", f"{target} is there already; give another name, or add --overwrite")
    if not target.resolve().parent.is_dir():
        raise InvalidRequest("OUT", f"{target.parent}: no such folder; make it first")
    table = formats.read(source, origin, BUILT_IN.get(skeleton))
    dropped = formats.write(table, target, form.name)
    if dropped:
        complain(formats.loss_line(form, dropped))
    typer.echo(f"{target}: {table.frame_count} frames, {int(table.people.sum())} people in them")
