"""What may be said about a connection, checked, and the channel that comes of it: the same for both clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

import grpc

from poseglass import checks
from poseglass.errors import InvalidRequest
from poseglass.retrying import DEFAULT_RETRIES
from poseglass.security import BearerToken, Token, bearer, tls_credentials
from poseglass.targets import target

DEFAULT_KEEPALIVE = 60.0
"""Seconds. Less than the 4 to 6 minutes after which load balancers and routers forget an idle connection, and no more
than gRPC sends anyway: it waits a minute between pings of a connection on which nothing else moves. `poseglass serve`
lets clients ping more often; gRPC's own default, five minutes, would end idle streams (`too_many_pings`) after four."""

LEAST_KEEPALIVE = 10.0

KEEPALIVE_TIMEOUT = 20.0
"""Seconds without an acknowledgement of what was sent, ping or data, from which on a connection counts as lost."""

MAX_BACKOFF_MS = 500
"""Longest pause before a lost connection is tried again: a server that is back is found by the retries of one call."""

CONNECT_MS = 5_000
"""What one attempt to connect may take, TLS included: enough for a distant server, and less than a call's timeout."""

_SERVICE_CONFIG: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
"""A name that stands for several addresses is several replicas: calls go round."""


class ConnectionSettings(TypedDict, total=False):
    """What may be said about a connection, by keyword, when a client is made.

    Keys:
        retries: how often a call, or a broken stream, is tried again within its timeout where the server is away
            (UNAVAILABLE) or asks to come back later (RESOURCE_EXHAUSTED with a delay); default 5; 0: never; None: as
            often as there is time.
        keepalive: seconds after which a silent connection is checked while a call is under way; default 60; None:
            never.
        tls: encrypt, and check the server's certificate; implied by the four that follow.
        ca_file: PEM file of the authority that signed it; default: the public ones.
        certificate, key: PEM files that prove who the client is (mutual TLS).
        server_name: the name in the server's certificate, where it is not that of the address.
        token: sent with each call as `authorization: Bearer`. Without TLS only to this machine itself.
        token_file: file that holds it instead; read again when it changes.
        insecure: send the token without TLS to other machines too; whoever sees the traffic can use it.
    """

    retries: int | None
    keepalive: float | None
    tls: bool
    ca_file: str | Path | None
    certificate: str | Path | None
    key: str | Path | None
    server_name: str
    token: str
    token_file: str | Path | None
    insecure: bool


class Endpoint:
    """A server's address and how to talk to it.

    Args:
        address: as `targets.target` takes it.
        settings: as `ConnectionSettings` describes them.

    Attributes:
        address: as it was given.
        retries: None: as often as there is time.

    Raises:
        InvalidRequest: naming the setting that cannot be.
        TypeError: a setting that does not exist.
    """

    def __init__(self, address: str, settings: ConnectionSettings) -> None:
        if unknown := settings.keys() - ConnectionSettings.__annotations__.keys():
            known = ", ".join(ConnectionSettings.__annotations__)
            raise TypeError(f"no setting is called {min(map(str, unknown))!r}; there are: {known}")
        self._target = target(address)
        self.address = self._target.text
        retries, keepalive = settings.get("retries", DEFAULT_RETRIES), settings.get("keepalive", DEFAULT_KEEPALIVE)
        meaning = "a whole number, 0 for never, or None for as often as there is time"
        self.retries = None if retries is None else checks.whole("retries", retries, 0, None, meaning)
        self._keepalive = None if keepalive is None else checks.seconds("keepalive", keepalive)
        if self._keepalive is not None and self._keepalive < LEAST_KEEPALIVE:
            least = f"must be at least {LEAST_KEEPALIVE:g} seconds, or None for never"
            raise InvalidRequest("keepalive", f"{least}; servers end connections for more frequent pings")
        self._name = checks.text("server_name", settings.get("server_name", ""))
        self._token = _token(settings)
        self._credentials = self._secure(settings)

    def options(self) -> list[tuple[str, Any]]:
        """Of the channel."""
        options: list[tuple[str, Any]] = [
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            # `retrying` does it, and says why. The mere possibility made one in some hundred streams, whose server went
            # away while they began, wait for an answer after their status had come, and for ever (grpcio 1.81).
            ("grpc.enable_retries", 0),
            # Without a pool of its own, a client would share other clients' pauses between attempts to connect.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", MAX_BACKOFF_MS),
            ("grpc.min_reconnect_backoff_ms", CONNECT_MS),  # by its name a pause; what it bounds is an attempt
        ]
        if self._keepalive is not None:
            options += [
                ("grpc.keepalive_time_ms", round(self._keepalive * 1e3)),
                ("grpc.keepalive_timeout_ms", round(KEEPALIVE_TIMEOUT * 1e3)),
                ("grpc.keepalive_permit_without_calls", 0),  # servers end connections for these
            ]
        if self._name:
            options += [("grpc.ssl_target_name_override", self._name), ("grpc.default_authority", self._name)]
        return options

    def open(self, transport: Any, options: list[tuple[str, Any]]) -> Any:
        """A channel.

        Args:
            transport: `grpc` or `grpc.aio`.
            options: see `options`.
        """
        if self._credentials is None:
            return transport.insecure_channel(self._target.uri, options=options)
        return transport.secure_channel(self._target.uri, self._credentials, options=options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of each call. Over TLS the token is not among it: it belongs to the channel's credentials."""
        return bearer(self._token) if self._token is not None and self._credentials is None else ()

    def _secure(self, settings: ConnectionSettings) -> grpc.ChannelCredentials | None:
        """None: without TLS."""
        files = settings.get("ca_file"), settings.get("certificate"), settings.get("key")
        wanted = checks.flag("tls", settings.get("tls", False)) or bool(self._name) or files != (None, None, None)
        insecure = checks.flag("insecure", settings.get("insecure", False))
        if not wanted:
            if self._token is not None and not (insecure or self._target.loopback):
                raise InvalidRequest(
                    "token",
                    f"would go to {self.address} readable for everybody on the way: use TLS (tls, --tls), or say that "
                    "it may (insecure, --insecure)",
                )
            return None
        if insecure:
            raise InvalidRequest("insecure", "contradicts TLS; leave one of them out")
        credentials = tls_credentials(*files)
        if self._token is None:
            return credentials
        plugin = grpc.metadata_call_credentials(BearerToken(self._token), name="token")
        return grpc.composite_channel_credentials(credentials, plugin)


def _token(settings: ConnectionSettings) -> Token | None:
    token, file = settings.get("token", ""), settings.get("token_file")
    return Token(token, file) if token or file is not None else None
