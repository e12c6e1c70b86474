"""TLS: the server's certificate, and the authorities of its clients' where they must have one."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc

from poseglass_core.credentials import others_may_read, read_authorities, read_pair, stamp, validity
from poseglass_core.errors import InvalidInput

CERTIFICATE, KEY, CLIENT_CA = "--tls-cert", "--tls-key", "--tls-client-ca"
"""What the files are called in errors."""

logger = logging.getLogger("poseglass.server")


@dataclass(frozen=True)
class TlsFiles:
    """PEM files.

    Attributes:
        certificate: the server's own, those that lead from it to its authority after it.
        key: of the certificate.
        client_ca: the authorities of clients; with it, nobody comes in without a certificate of theirs.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that are given."""
        return tuple(filter(None, (self.certificate, self.key, self.client_ca)))


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """What a port needs for TLS; files that change are read again for the connections that come then.

    Raises:
        InvalidInput: a file cannot be used, naming its option: it cannot be read, does not hold what it should, does
            not belong to the other, or is a certificate that is not valid now.
    """
    certificates = _Certificates(files)
    return grpc.dynamic_ssl_server_credentials(
        certificates.first,
        certificates.fresh,  # type: ignore[arg-type]  # it may return None
        files.client_ca is not None,
    )


class _Certificates:
    """Reads the files, and again when they have changed.

    Attributes:
        first: what they held at the beginning.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen = stamp(*files.paths)
        self.first = self._read()

    def fresh(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each new connection, in a thread of its own: what has changed; None: nothing has."""
        with self._lock:
            found = stamp(*self._files.paths)
            if found == self._seen:
                return None
            try:
                configuration = self._read()
            except (InvalidInput, OSError) as error:
                self._seen = found
                logger.error("%s; new connections get the certificate from before", error)
                return None
            if stamp(*self._files.paths) != found:
                return None  # they are being written: the next connection looks again
            self._seen = found
            return configuration

    def _read(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        certificate, key = read_pair((CERTIFICATE, files.certificate), (KEY, files.key))
        authorities = None if files.client_ca is None else read_authorities(CLIENT_CA, files.client_ca)
        until = _valid_until(files.certificate, certificate)
        logger.info("TLS: %s is valid until %s", files.certificate, _said(until))
        if others_may_read(files.key):
            logger.warning("%s: others than its owner may read it: chmod 600 %s", KEY, files.key)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)


def _valid_until(path: Path, pem: bytes) -> datetime:
    """When a certificate ends, if it is valid now; a client would only see a handshake that fails."""
    try:
        begin, end = validity(pem)
    except ValueError as error:
        raise InvalidInput(CERTIFICATE, f"{path}: cannot be used ({error}); check the file") from None
    now = datetime.now(UTC)
    if end < now:
        raise InvalidInput(CERTIFICATE, f"{path}: expired on {_said(end)}; give a new one")
    if begin > now:
        raise InvalidInput(CERTIFICATE, f"{path}: is not valid before {_said(begin)}; check this machine's clock")
    return end


def _said(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
