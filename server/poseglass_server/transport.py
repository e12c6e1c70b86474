"""gRPC's own settings of a server."""

from __future__ import annotations

from poseglass_server.limits import Limits

LEAST_PING_S = 5.0
"""A client that looks whether a silent connection is alive may do so this often while a call is under way. gRPC's own
five minutes would end the connections of clients whose routers forget idle ones sooner."""

KEEPALIVE_S, KEEPALIVE_TIMEOUT_S = 60.0, 20.0
"""After so long without a sign of life the server looks itself: a stream whose client vanished must not stay open."""

SPARE_CALLS = 64
"""Of one connection, beyond those that may be in progress: for health checks, and for refusals that name the limit."""


def transport_options(limits: Limits) -> list[tuple[str, int]]:
    """The options of `grpc.aio.server`."""
    options = [
        ("grpc.so_reuseport", 0),  # a second server on the port would bind in silence
        # A message over the limit is received up to twice its size, so that the refusal can name the setting; gRPC
        # itself cuts off what is larger by the header of its length.
        ("grpc.max_receive_message_length", 2 * limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        # What is beyond waits in its client, and its messages are not received.
        ("grpc.max_concurrent_streams", limits.max_requests + limits.max_streams + SPARE_CALLS),
        ("grpc.http2.min_ping_interval_without_data_ms", round(1e3 * LEAST_PING_S)),
        ("grpc.keepalive_time_ms", round(1e3 * KEEPALIVE_S)),
        ("grpc.keepalive_timeout_ms", round(1e3 * KEEPALIVE_TIMEOUT_S)),
    ]
    if limits.max_connection_age is not None:  # what is under way then ends by itself: gRPC's grace has no end
        options.append(("grpc.max_connection_age_ms", round(1e3 * limits.max_connection_age)))
    return options
