"""Who may do what only operators may."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote

from poseglass_server.errors import Context, Forbidden


def check_admin(context: Context) -> None:
    """Let in callers of this machine: where there are no tokens, they are the operators.

    Raises:
        Forbidden: the call comes from elsewhere.
    """
    if not is_local(context.peer()):
        raise Forbidden(
            "only callers on the server's own machine may do this; call 127.0.0.1 there, or give the server tokens "
            "(poseglass serve --tokens FILE)"
        )


def is_local(peer: str) -> bool:
    """Whether a caller is on this machine: at a Unix socket, or at an address that leads back to where it came from.

    Args:
        peer: of gRPC, e.g. `ipv4:127.0.0.1:50051`, `ipv6:%5B::1%5D:50051` or `unix:`.
    """
    if peer.startswith("unix:"):
        return True
    match = re.fullmatch(r"ipv[46]:\[?([^\[\]%]+)(?:%[^\[\]]*)?\]?:\d+", unquote(peer))
    if match is None:
        return False
    try:
        address = ipaddress.ip_address(match[1])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # of an IPv4 caller at an IPv6 socket
    return (mapped or address).is_loopback
