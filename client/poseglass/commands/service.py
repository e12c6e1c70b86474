"""`poseglass models` and `poseglass health`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from poseglass.cli import FAILED, complain
from poseglass.commands.connection import Connection, only_with_server
from poseglass.commands.console import stdout
from poseglass.commands.modeltables import model_json, print_models
from poseglass.commands.shipped import shipped
from poseglass.exchange import DEFAULT_ADDRESS


def models(
    reload: Annotated[
        bool, typer.Option("--reload", help="Have the server look at its model repository; list what came of it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    *,
    connection: Connection,
) -> None:
    """List models and detectors, a server's or the shipped ones: joints, input size, accuracy and licence.

    With --reload, those that the server loaded, refused or retired: exit code 1 where one is refused.
    """
    only_with_server(connection.server, {"--reload": reload or None})
    if connection.wanted:
        with connection.client() as client:
            found = client.reload() if reload else client.models()
    else:
        found = shipped()
    if as_json:
        typer.echo(json.dumps([model_json(info) for info in found], indent=2))
    elif found:
        print_models(stdout(), found)
    elif reload:
        typer.echo(f"{connection.server} has loaded, refused and retired nothing")
    else:
        typer.echo(f"{connection.server or 'this installation'} has no models")
    if reload and (refused := sum(info.state == "REFUSED" for info in found)):
        complain(f"{connection.server} refuses {refused} of its models")
        raise typer.Exit(FAILED)


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
