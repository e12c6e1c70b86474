"""Where servers are: one address, a name that stands for several, or a list."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from poseglass import checks
from poseglass.errors import InvalidRequest

MEANING = (
    "HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:50051 or [::1]:50051; or dns:///HOST:PORT; or several "
    "numeric ones with commas between"
)

_HOST_PORT = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):([0-9]{1,5})")
_DNS = re.compile(r"dns:(?://[^/]*/)?(?!/)")
_NUMERIC = re.compile(r"ipv([46]):")


@dataclass(frozen=True)
class Target:
    """Where servers are.

    Attributes:
        text: as it was given.
        uri: as gRPC takes it.
        hosts: without ports.
    """

    text: str
    uri: str
    hosts: tuple[str, ...]

    @property
    def loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        return all(host == "localhost" or _is_loopback(host) for host in self.hosts)


def target(value: Any) -> Target:
    """An address as callers give it.

    Args:
        value: HOST:PORT; dns:///HOST:PORT; or A:PORT,B:PORT with numeric addresses of one kind, which may stand behind
            `ipv4:` or `ipv6:`. An IPv6 address stands in brackets.

    Raises:
        InvalidRequest: it is none of these.
    """
    if not isinstance(value, str):
        raise _wrong(value)
    numeric = _NUMERIC.match(value)
    if dns := _DNS.match(value):
        return Target(value, value, (_host(value[dns.end() :], value),))
    if numeric is None and "," not in value:
        return Target(value, value, (_host(value, value),))
    parts = (value[numeric.end() :] if numeric else value).split(",")
    hosts = tuple(_host(part.strip(), value) for part in parts)
    versions = {_version(host) for host in hosts}
    if None in versions:
        raise InvalidRequest(
            "address",
            f"{checks.said(value)}: a list holds numeric addresses; several servers behind one name are dns:///HOST:PORT",
        )
    if len(versions) > 1 or (numeric and versions != {int(numeric[1])}):
        raise InvalidRequest("address", f"{checks.said(value)}: the addresses must all be IPv4, or all IPv6")
    joined = ",".join(part.strip() for part in parts)
    return Target(value, f"ipv{versions.pop()}:{joined}", hosts)


def _host(text: str, whole: str) -> str:
    """The host in HOST:PORT."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise _wrong(whole)
    return match[1].strip("[]")


def _wrong(value: Any) -> InvalidRequest:
    return InvalidRequest("address", f"must be {MEANING}, not {checks.said(value)}")


def _version(host: str) -> int | None:
    """4 or 6; None of a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    return _version(host) is not None and ipaddress.ip_address(host).is_loopback
