"""The server: built by `create_server`, run until a signal by `serve`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.batcher import Runners
from poseglass_server.calls import Calls
from poseglass_server.limits import Limits
from poseglass_server.malformed import RefuseMalformed
from poseglass_server.models import Models
from poseglass_server.pipeline import DEFAULT_QUEUE, Pipeline
from poseglass_server.service import ADMIN_SERVICE, POSE_SERVICE, AdminService, PoseService

DEFAULT_PORT = 50051
DEFAULT_GRACE_S = 10.0

logger = logging.getLogger("poseglass.server")


class AddressError(OSError):
    """An address that cannot be listened on, and why."""


class PoseServer:
    """A server that is bound to its port; use `create_server`.

    Attributes:
        port: what it listens on.
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        port: int,
        checks: health.aio.HealthServicer,
        calls: Calls,
        pipeline: Pipeline,
        runners: Runners,
    ) -> None:
        self.port = port
        self._server, self._checks, self._calls = server, checks, calls
        self._pipeline, self._runners = pipeline, runners

    async def start(self) -> None:
        """Answer calls."""
        await self._checks.set(POSE_SERVICE, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self, grace: float = DEFAULT_GRACE_S) -> None:
        """Finish what is in flight and stop: health says NOT_SERVING, new calls get UNAVAILABLE.

        Args:
            grace: seconds to wait at most; what is not done by then is cancelled.
        """
        await self._checks.enter_graceful_shutdown()
        # The gRPC server's own grace would wait for health watchers, which never leave, and can lose calls that it has
        # accepted and not yet begun; so ours is over before its begins.
        await self._calls.close(grace)
        await self._server.stop(_LAST_WORDS_S)
        self._pipeline.close()
        await asyncio.to_thread(self._runners.close)


_LAST_WORDS_S = 0.2


def create_server(
    models: Models,
    runners: Runners,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    workers: int = 8,
    queue: int = DEFAULT_QUEUE,
) -> PoseServer:
    """Build a server and bind its port; call it where an event loop runs.

    Args:
        models: what to serve.
        runners: run them; the server closes them when it stops.
        host: address to listen on.
        port: 0: any that is free.
        limits: what one caller may ask; default: `Limits()`.
        workers: pictures worked on at once.
        queue: pictures that may wait besides those.

    Raises:
        AddressError: the address is taken, not this machine's, or not allowed.
    """
    limits = limits or Limits()
    calls, observer = Calls(), runners.observer
    pipeline = Pipeline(workers, queue, observer)
    server = grpc.aio.server(
        interceptors=[RefuseMalformed()],
        options=[
            ("grpc.so_reuseport", 0),  # a second server on the port would bind in silence
            # A message over the limit is received up to twice its size, so that the refusal can name the setting; gRPC
            # itself cuts off what is larger by the header of its length.
            ("grpc.max_receive_message_length", 2 * limits.max_message_bytes),
            ("grpc.max_send_message_length", limits.max_message_bytes),
        ],
    )
    pose_pb2_grpc.add_PoseServiceServicer_to_server(PoseService(models, pipeline, limits, calls, observer), server)  # type: ignore[no-untyped-call]
    pose_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(), server)  # type: ignore[no-untyped-call]
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection(
        (POSE_SERVICE, ADMIN_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    return PoseServer(server, _bind(server, host, port), checks, calls, pipeline, runners)


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    """The bound port. Tried with a plain socket first, because gRPC does not say why it fails."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        return server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except (OSError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "the address cannot be bound"
        raise AddressError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from None


async def serve(
    models: Models,
    runners: Runners,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    limits: Limits | None = None,
    workers: int = 8,
    queue: int = DEFAULT_QUEUE,
    grace: float = DEFAULT_GRACE_S,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight.

    Args:
        models, runners, host, port, limits, workers, queue: of `create_server`.
        grace: seconds to finish in.
        ready: called with the bound port once calls are answered.

    Raises:
        AddressError: of `create_server`.
    """
    server = create_server(models, runners, host, port, limits, workers, queue)
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    await server.start()
    if ready is not None:
        ready(server.port)
    await asked_to_stop.wait()
    logger.info("stopping; up to %g s for what is in flight", grace)
    await server.stop(grace)
