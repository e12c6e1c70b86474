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

from poseglass_proto.oip import inference_pb2_grpc
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.batcher import Runners
from poseglass_server.calls import Calls
from poseglass_server.catalogue import Catalogue
from poseglass_server.doors import Doorkeeper
from poseglass_server.limits import Limits
from poseglass_server.malformed import RefuseMalformed
from poseglass_server.oip import INFERENCE_SERVICE, InferenceService
from poseglass_server.pipeline import DEFAULT_QUEUE, Pipeline
from poseglass_server.security import Security
from poseglass_server.service import ADMIN_SERVICE, POSE_SERVICE, AdminService, PoseService
from poseglass_server.transport import transport_options
from poseglass_server.watching import Watch, Watcher

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
        catalogue: Catalogue,
        pipeline: Pipeline,
        runners: Runners,
    ) -> None:
        self.port = port
        self._server, self._checks, self._calls = server, checks, calls
        self._catalogue, self._pipeline, self._runners = catalogue, pipeline, runners

    async def start(self) -> None:
        """Answer calls, and make the models ready; until the default one is, health says that poses are not served."""
        await self._tell_readiness()
        await self._server.start()
        await self._catalogue.open(self._tell_readiness)

    async def _tell_readiness(self) -> None:
        status = health_pb2.HealthCheckResponse
        ready = self._catalogue.models.default is not None
        for service in (POSE_SERVICE, INFERENCE_SERVICE):
            await self._checks.set(service, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace: float = DEFAULT_GRACE_S) -> None:
        """Finish what is in flight and stop: health says NOT_SERVING, new calls get UNAVAILABLE.

        Args:
            grace: seconds to wait at most; what is not done by then is cancelled.
        """
        await self._checks.enter_graceful_shutdown()
        closing = asyncio.create_task(self._catalogue.close())
        # The gRPC server's own grace would wait for health watchers, which never leave, and can lose calls that it has
        # accepted and not yet begun; so ours is over before its begins.
        await self._calls.close(grace)
        # Whoever has just been answered may ask again at once, and must be told UNAVAILABLE, not be cut off.
        await asyncio.sleep(_LAST_WORDS_S)
        await self._server.stop(_LAST_WORDS_S)
        self._pipeline.close()
        await closing
        await asyncio.to_thread(self._runners.close)


_LAST_WORDS_S = 0.2


def create_server(
    catalogue: Catalogue,
    runners: Runners,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    workers: int = 8,
    queue: int = DEFAULT_QUEUE,
    security: Security | None = None,
) -> PoseServer:
    """Build a server and bind its port; call it where an event loop runs.

    Args:
        catalogue: what to serve.
        runners: run them; the server closes them when it stops.
        host: address to listen on.
        port: 0: any that is free.
        limits: what one caller may ask; default: `Limits()`.
        workers: pictures worked on at once.
        queue: pictures that may wait besides those.
        security: what stands at the doors; default: nothing, and nobody but this machine may knock.

    Raises:
        AddressError: the address is taken, not this machine's, or not allowed.
        InvalidInput: other machines would be listened to without TLS.
    """
    limits, security = limits or Limits(), security or Security()
    calls, observer = Calls(), runners.observer
    pipeline, watch = Pipeline(workers, queue, observer), Watch(observer)
    server = grpc.aio.server(
        interceptors=[
            Watcher(watch),
            Doorkeeper(security.tokens, [ADMIN_SERVICE], limits),
            RefuseMalformed({f"/{POSE_SERVICE}/PredictStream"}),
        ],
        options=transport_options(limits),
    )
    poses = PoseService(catalogue, pipeline, limits, calls, observer, watch)
    pose_pb2_grpc.add_PoseServiceServicer_to_server(poses, server)  # type: ignore[no-untyped-call]
    pose_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(catalogue), server)  # type: ignore[no-untyped-call]
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    inference = InferenceService(catalogue, pipeline, limits, calls, checks, observer)
    inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(inference, server)  # type: ignore[no-untyped-call]
    reflection.enable_server_reflection(
        (POSE_SERVICE, ADMIN_SERVICE, INFERENCE_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    return PoseServer(server, _bind(server, host, port, security), checks, calls, catalogue, pipeline, runners)


def _bind(server: grpc.aio.Server, host: str, port: int, security: Security) -> int:
    """The bound port. Tried with a plain socket first, because gRPC does not say why it fails."""
    security.check_host(host)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if security.credentials is None:
            if security.tokens is not None and security.insecure:
                logger.warning("tokens without TLS: whoever is on the way can read them")
            return server.add_insecure_port(where)
        return server.add_secure_port(where, security.credentials)
    except (OSError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "the address cannot be bound"
        raise AddressError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from None


async def serve(
    catalogue: Catalogue,
    runners: Runners,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    limits: Limits | None = None,
    workers: int = 8,
    queue: int = DEFAULT_QUEUE,
    grace: float = DEFAULT_GRACE_S,
    ready: Callable[[int], None] | None = None,
    security: Security | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight.

    Args:
        catalogue, runners, host, port, limits, workers, queue, security: of `create_server`.
        grace: seconds to finish in.
        ready: called with the bound port once calls are answered and models loaded.

    Raises:
        AddressError, InvalidInput: of `create_server`.
    """
    server = create_server(catalogue, runners, host, port, limits, workers, queue, security)
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    starting = asyncio.create_task(server.start())
    stopping = asyncio.create_task(asked_to_stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        if ready is not None:
            ready(server.port)
    await stopping
    logger.info("stopping; up to %g s for what is in flight", grace)
    await server.stop(grace)
    logger.info("stopped")
