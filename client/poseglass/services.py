"""What can be called on a server: the same for both clients."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from poseglass_proto.v1 import pose_pb2_grpc


class Services:
    """The services of a server, over one channel.

    Args:
        channel: of `grpc` or `grpc.aio`.

    Attributes:
        channel: as given.
        poses, admin, health: stubs, whose calls are of the channel's kind.
    """

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.poses: Any = pose_pb2_grpc.PoseServiceStub(channel)  # type: ignore[no-untyped-call]
        self.admin: Any = pose_pb2_grpc.AdminServiceStub(channel)  # type: ignore[no-untyped-call]
        self.health: Any = health_pb2_grpc.HealthStub(channel)


HEALTH_REQUEST = health_pb2.HealthCheckRequest()
"""About the server as a whole."""


def serving(response: health_pb2.HealthCheckResponse) -> bool:
    """Whether a server that answers `HEALTH_REQUEST` so is serving."""
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)
