"""How a server is reached: over TLS or not, by whom, and from where."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

import grpc

from poseglass_core.errors import InvalidInput
from poseglass_server.tls import CERTIFICATE, CLIENT_CA, KEY, TlsFiles, server_credentials
from poseglass_server.tokens import Tokens


@dataclass(frozen=True)
class Security:
    """What stands at the doors.

    Attributes:
        credentials: for TLS; None: without.
        tokens: who may come in; None: everybody, and operators from this machine only.
        insecure: whether other machines may be listened to without TLS.
    """

    credentials: grpc.ServerCredentials | None = None
    tokens: Tokens | None = None
    insecure: bool = False

    def check_host(self, host: str) -> None:
        """Have an address that other machines reach encrypted, unless something else was said.

        Args:
            host: to listen on.

        Raises:
            InvalidInput: it is neither.
        """
        if self.credentials is not None or _is_local(host):
            return
        if not self.insecure:
            raise InvalidInput(
                "--host",
                f"other machines reach {host}, and without TLS whoever is on the way can read and change everything: "
                f"give {CERTIFICATE} and {KEY}, or say --insecure where something in front of the server encrypts",
            )


def security(
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    tls_client_ca: Path | None = None,
    tokens: Path | None = None,
    insecure: bool = False,
) -> Security:
    """What stands at the doors, from the options of `poseglass serve`.

    Args:
        tls_cert, tls_key, tls_client_ca: of `TlsFiles`.
        tokens: file of `Tokens`.
        insecure: of `Security`.

    Raises:
        InvalidInput: naming the option: a file cannot be used, or options lack or exclude another.
    """
    for option, given, other, needed in (
        (CERTIFICATE, tls_cert, KEY, tls_key),
        (KEY, tls_key, CERTIFICATE, tls_cert),
        (CLIENT_CA, tls_client_ca, CERTIFICATE, tls_cert),
    ):
        if given is not None and needed is None:
            raise InvalidInput(option, f"needs {other}: certificate and key belong together; give both")
    if insecure and tls_cert is not None:
        raise InvalidInput("--insecure", f"contradicts {CERTIFICATE}; leave one of them out")
    return Security(
        credentials=server_credentials(TlsFiles(tls_cert, tls_key, tls_client_ca)) if tls_cert and tls_key else None,
        tokens=None if tokens is None else Tokens(tokens),
        insecure=insecure,
    )


def _is_local(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return True  # nobody will reach it: it cannot be listened on either
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
