"""Files that prove who somebody is, certificates, keys and tokens: read and checked before they are used.

TLS itself says of a bad file no more than that a handshake failed, and not before somebody connects.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from poseglass_core.errors import InvalidInput

MOST = 1 << 20
"""Bytes of such a file."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def is_token(text: str) -> bool:
    """Whether the syntax of `Authorization: Bearer` (RFC 6750) allows a text as a token."""
    return _TOKEN.fullmatch(text) is not None


def read_file(field: str, path: str | Path) -> bytes:
    """The content of a small file.

    Args:
        field: what the caller calls it; stands in errors.
        path: of the file.

    Raises:
        InvalidInput: it cannot be read, or is larger than any such file.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(field, f"{path}: cannot be read ({reason}); check the path and its permissions") from None
    if len(data) > MOST:
        raise InvalidInput(field, f"{path}: is larger than {MOST >> 20} MiB; it cannot be the right file")
    return data


def read_pem(field: str, path: str | Path, kind: Literal["CERTIFICATE", "PRIVATE KEY"]) -> bytes:
    """The content of a file in PEM form that holds at least one such thing.

    Args:
        field, path: as for `read_file`.
        kind: what must be in it.

    Raises:
        InvalidInput: of `read_file`, or it holds none.
    """
    data = read_file(field, path)
    if f"{kind}-----".encode() not in data:
        raise InvalidInput(field, f"{path}: holds no {kind} in PEM form (-----BEGIN ...); check the file")
    return data


def read_authorities(field: str, path: str | Path) -> bytes:
    """The content of a file with certificates of authorities, in PEM form.

    Args:
        field, path: as for `read_file`.

    Raises:
        InvalidInput: of `read_pem`, or a certificate in it is damaged.
    """
    data = read_pem(field, path, "CERTIFICATE")
    _try(field, path, lambda context: context.load_verify_locations(cadata=data.decode("ascii", "replace")))
    return data


def read_pair(certificate: tuple[str, str | Path], key: tuple[str, str | Path]) -> tuple[bytes, bytes]:
    """The contents of a certificate's file, which may hold a chain, and of its key's.

    Args:
        certificate: what the caller calls it, and the path.
        key: likewise.

    Raises:
        InvalidInput: of `read_pem`; one of them is damaged, they do not belong together, or the key wants a passphrase.
    """
    pair = read_pem(*certificate, "CERTIFICATE"), read_pem(*key, "PRIVATE KEY")
    _try(*key, lambda context: context.load_cert_chain(certificate[1], key[1], password=_no_passphrase))
    return pair


def validity(pem: bytes) -> tuple[datetime, datetime]:
    """When a certificate begins and ends to be valid, in UTC.

    Args:
        pem: the first certificate in it counts: that of a chain's owner.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    block = _BLOCK.search(pem)
    if block is None:
        raise ValueError("no certificate")
    try:
        ((_, certificate),) = _elements(ssl.PEM_cert_to_DER_cert(block[0].decode("ascii")))
        fields = _elements(_elements(certificate)[0][1])
        # RFC 5280, 4.1: an optional version, which alone has this tag, then serial number, signature, issuer, validity.
        begin, end = _elements(fields[4 if fields[0][0] == 0xA0 else 3][1])
        return _time(*begin), _time(*end)
    except (IndexError, ValueError) as error:
        raise ValueError(f"a damaged certificate ({error})") from None


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each element in DER form."""
    found, at = [], 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:  # then it is the length of the length
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == 0x17:  # UTCTime, whose years have two digits
        text = ("19" if text >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _try(field: str, path: object, load: Callable[[ssl.SSLContext], None]) -> None:
    """Load a file as TLS will."""
    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except _Passphrase:
        raise InvalidInput(
            field, f"{path}: is protected by a passphrase; give a key without one, readable by this user only"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidInput(field, f"{path}: is not the key of the certificate; check the pair") from None
        raise InvalidInput(
            field, f"{path}: cannot be used ({error.reason or 'damaged'}); check certificate and key"
        ) from None


class _Passphrase(Exception):
    """A key is protected by one."""


def _no_passphrase() -> str:
    raise _Passphrase


def stamp(*paths: str | Path) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when one of some files does; None for one that is not there."""
    return tuple(_stamp(path) for path in paths)


def _stamp(path: str | Path) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def others_may_read(path: str | Path) -> bool:
    """Whether a file's permissions let others than its owner at it."""
    return os.name == "posix" and bool(Path(path).stat().st_mode & 0o077)
