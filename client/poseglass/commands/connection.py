"""The options that say how to talk to a server, for every command that does.

A command that has a parameter `connection` gets them in its place, but for those that `Without` names; those that it
has itself, such as a `timeout` with another default, stay its own.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from poseglass.client import PoseClient
from poseglass.errors import InvalidRequest
from poseglass.exchange import DEFAULT_ADDRESS, DEFAULT_MAX_MESSAGE_MB, DEFAULT_TIMEOUT, Exchange
from poseglass.retrying import DEFAULT_RETRIES

TOKEN = "POSEGLASS_TOKEN"
"""Environment variable with a token: unlike an option's value, other users of the machine do not see it."""

_option = functools.partial(typer.Option, rich_help_panel="Server")


def _options(
    *,
    server: Annotated[str | None, _option(metavar="HOST:PORT", help="Ask a server; else work in-process.")] = None,
    timeout: Annotated[
        float | None,
        _option(metavar="SECONDS", help=f"How long one answer of --server may take; default {DEFAULT_TIMEOUT:g}."),
    ] = None,
    retries: Annotated[
        int | None,
        _option(
            metavar="N",
            help=f"How often to ask again, in that time, a server that is away or busy; default {DEFAULT_RETRIES}.",
        ),
    ] = None,
    max_message_mb: Annotated[
        int | None,
        _option(
            metavar="MIB",
            help=f"Message limit with --server; default {DEFAULT_MAX_MESSAGE_MB}; `serve` has the same option.",
        ),
    ] = None,
    tls: Annotated[bool, _option("--tls", help="Encrypt, and check the server's certificate.")] = False,
    tls_ca: Annotated[Path | None, _option(metavar="FILE", help="Who signed it; default: public authorities.")] = None,
    tls_cert: Annotated[
        Path | None, _option(metavar="FILE", help="Certificate to show, where it asks for one.")
    ] = None,
    tls_key: Annotated[Path | None, _option(metavar="FILE", help="Key of --tls-cert.")] = None,
    tls_server_name: Annotated[
        str | None, _option(metavar="NAME", help="In its certificate, if not that of --server.")
    ] = None,
    token_file: Annotated[
        Path | None, _option(metavar="FILE", help=f"Token to send with each call; or set {TOKEN}.")
    ] = None,
    insecure: Annotated[bool, _option("--insecure", help="Send the token to other machines without TLS.")] = False,
) -> None:
    """The options; only their signature counts."""


_SETTINGS = {
    "timeout": "timeout",
    "retries": "retries",
    "max_message_mb": "max_message_mb",
    "tls": "tls",
    "tls_ca": "ca_file",
    "tls_cert": "certificate",
    "tls_key": "key",
    "tls_server_name": "server_name",
    "token_file": "token_file",
    "insecure": "insecure",
}
"""Options -> what the client calls them."""

_FIELDS = {"address": "--server", **{name: f"--{option.replace('_', '-')}" for option, name in _SETTINGS.items()}}
"""What the client calls its settings -> the options."""


@dataclass(frozen=True)
class Connection:
    """How to talk to a server, as said on the command line.

    Attributes:
        server: its address; empty: none was named.
        given: the client's settings that were.
        token: of the environment; used where no file with one was given.
    """

    server: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    token: str = field(default="", repr=False)

    @property
    def wanted(self) -> bool:
        """Whether a server is to be asked.

        Raises:
            InvalidRequest: none is named, and yet it is said how to talk to it.
        """
        only_with_server(self.server, {_FIELDS[name]: value for name, value in self.given.items()})
        return bool(self.server)

    def client(self, **settings: Any) -> PoseClient:
        """A client of the server, or of the usual address where none is named.

        Args:
            **settings: of `PoseClient`, where nothing else was said.

        Raises:
            InvalidRequest: naming the option that cannot be.
        """
        with self._named():
            return PoseClient(self.server or DEFAULT_ADDRESS, **self._settings(settings))

    def exchange(self, **settings: Any) -> Exchange:
        """What `client` knows without its calls; see there."""
        with self._named():
            return Exchange(self.server or DEFAULT_ADDRESS, **self._settings(settings))

    def _settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        known = {**settings, **self.given}
        return {**known, "token": self.token} if self.token and "token_file" not in known else known

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors name options, not settings."""
        try:
            yield
        except InvalidRequest as error:
            token = "--token-file" if "token_file" in self.given else TOKEN
            name = token if error.field == "token" else _FIELDS.get(error.field, error.field)
            raise InvalidRequest(name, error.reason) from None


class Without:
    """Options that say nothing to a command: `connection: Annotated[Connection, Without("retries")]`.

    Args:
        *names: of parameters.
    """

    def __init__(self, *names: str) -> None:
        self.names = names


def only_with_server(server: str, given: Mapping[str, object]) -> None:
    """Refuse options that say how to talk to a server where there is none.

    Args:
        server: its address; empty: none.
        given: option -> value; None: it was left out.

    Raises:
        InvalidRequest: naming the option.
    """
    for option, value in given.items():
        if value is not None and not server:
            raise InvalidRequest(option, "is for talking to a server: add --server HOST:PORT, or leave it out")


def with_connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with the options in the place of its parameter `connection`.

    Args:
        command: a function for typer.
    """
    hints = get_type_hints(command, localns={"Connection": Connection}, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != "connection"
    ]
    names = {parameter.name for parameter in own}
    notes = getattr(hints["connection"], "__metadata__", ())
    names.update(name for note in notes if isinstance(note, Without) for name in note.names)
    shared = [p for p in inspect.signature(_options, eval_str=True).parameters.values() if p.name not in names]

    @functools.wraps(command)
    def filled(**values: Any) -> Any:
        said = {p.name: values.pop(p.name) for p in shared}
        server = said.pop("server", values.get("server"))
        if server is not None and not server.strip():
            raise InvalidRequest("--server", "is empty; name HOST:PORT, or leave it out")
        server = server or ""
        given = {_SETTINGS[name]: value for name, value in said.items() if value is not None and value is not False}
        return command(**values, connection=Connection(server, given, os.environ.get(TOKEN, "").strip()))

    filled.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    filled.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return filled
