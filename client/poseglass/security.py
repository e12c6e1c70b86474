"""TLS and tokens: files as callers give them, and credentials as gRPC takes them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc

from poseglass import checks
from poseglass.errors import InvalidRequest
from poseglass_core.credentials import is_token, read_authorities, read_file, read_pair, stamp
from poseglass_core.errors import InvalidInput


def tls_credentials(
    ca_file: str | Path | None = None, certificate: str | Path | None = None, key: str | Path | None = None
) -> grpc.ChannelCredentials:
    """What a connection proves, and wants to be proven.

    Args:
        ca_file: PEM file of the authorities that sign servers' certificates; None: those that gRPC brings.
        certificate, key: PEM files by which this client proves who it is; None: it does not.

    Raises:
        InvalidRequest: a file cannot be read, does not hold what it should, or does not belong to the other.
    """
    for field, given, other, missing in (
        ("certificate", certificate, key, "key (--tls-key)"),
        ("key", key, certificate, "certificate (--tls-cert)"),
    ):
        if given is not None and other is None:
            raise InvalidRequest(field, f"needs {missing}: certificate and key belong together; give both")
    with _refused():
        roots = None if ca_file is None else read_authorities("ca_file", _path("ca_file", ca_file))
        if certificate is None or key is None:
            return grpc.ssl_channel_credentials(roots)
        chain, secret = read_pair(("certificate", _path("certificate", certificate)), ("key", _path("key", key)))
    return grpc.ssl_channel_credentials(roots, secret, chain)


class Token:
    """A bearer token. One from a file is read again when the file changes, so that it can be replaced under way.

    Args:
        token: itself; empty: it is in the file.
        file: holds the token and nothing else.

    Raises:
        InvalidRequest: both are given, or what is there is no token. It is never in the message.
    """

    def __init__(self, token: str = "", file: str | Path | None = None) -> None:
        if token and file is not None:
            raise InvalidRequest("token", "is given twice: give the token or token_file (--token-file), not both")
        self._file = None if file is None else _path("token_file", file)
        self._lock = threading.Lock()
        self._seen = None if self._file is None else stamp(self._file)
        self._value = _checked("token", token, "it") if self._file is None else self._read(self._file)

    def __call__(self) -> str:
        """The token as it is now. A file that is gone, or half-written, leaves the last one in use."""
        if self._file is not None:
            with self._lock:
                found = stamp(self._file)
                if found != self._seen:
                    with suppress(InvalidRequest):
                        self._value, self._seen = self._read(self._file), found
        return self._value

    @staticmethod
    def _read(file: Path) -> str:
        with _refused():
            text = read_file("token_file", file).decode("utf-8", "replace").strip()
        return _checked("token_file", text, str(file))


class BearerToken(grpc.AuthMetadataPlugin):
    """Gives each call over TLS its token; gRPC sends it over nothing else.

    Args:
        token: of each call.
    """

    def __init__(self, token: Token) -> None:
        self._token = token

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:  # noqa: ARG002
        """Called by gRPC, once a call."""
        callback(bearer(self._token), None)


def bearer(token: Token) -> tuple[tuple[str, str], ...]:
    """The header of one call."""
    return (("authorization", f"Bearer {token()}"),)


def _path(field: str, value: Any) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise InvalidRequest(field, f"must be the path of a file, not {checks.said(value)}")
    return Path(value)


def _checked(field: str, text: Any, what: str) -> str:
    if not isinstance(text, str) or not is_token(text):
        state = "holds other characters than letters, digits and . _ ~ + / = -" if text else "is empty"
        raise InvalidRequest(field, f"{what} {state}; give one token and nothing else")
    return text


@contextmanager
def _refused() -> Iterator[None]:
    """What is wrong with a file, as the client's error."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidRequest(error.field, error.reason) from None
