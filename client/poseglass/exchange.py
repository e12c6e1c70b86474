"""What both clients know without transport: channel settings, messages, skeletons already fetched."""

from __future__ import annotations

import json
from typing import Any

from poseglass.convert import ModelInfo, to_model_info, to_prediction, to_ref, to_request
from poseglass.convert import to_skeleton as skeleton_of
from poseglass.errors import InvalidRequest, PoseglassError, from_status
from poseglass.options import ImageLike, PredictOptions
from poseglass_core.poses import ModelRef, Prediction
from poseglass_core.skeleton import Skeleton
from poseglass_proto.v1 import pose_pb2 as pb

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_MESSAGE_MB = 32
DEFAULT_IN_FLIGHT = 8

STREAM_GRACE = 2.0
"""Seconds beyond a picture's deadline after which a stream is given up: a server that works says itself, in that
picture's answer, that it was late."""

StreamItem = ImageLike | tuple[ImageLike, PredictOptions]
"""A picture, or a picture with options of its own, which win over the stream's."""

_UNARY = ("Predict", "ListModels", "GetModel")

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            # Predictions change nothing, so asking again is safe where the connection broke.
            "name": [
                {"service": "poseglass.v1.PoseService", "method": m} for m in ("Predict", "ListModels", "GetModel")
            ],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


class Exchange:
    """Builds requests and reads answers for one server.

    Args:
        address: "HOST:PORT", or any other gRPC target.
        timeout: seconds a call may take unless it says otherwise.
        max_message_mb: MiB a message may have, either way.

    Raises:
        InvalidRequest: a setting that cannot be.
    """

    def __init__(self, address: str, timeout: float, max_message_mb: int) -> None:
        if not address:
            raise InvalidRequest("address", "is empty; give HOST:PORT")
        if not 1 <= max_message_mb <= 2047:  # gRPC counts bytes in an int32
            raise InvalidRequest("max_message_mb", f"must be 1 to 2047, not {max_message_mb}")
        self.address, self.max_message_mb = address, max_message_mb
        self.default_timeout = timeout
        self.timeout(None)
        self._skeletons: dict[ModelRef, Skeleton] = {}

    def channel_options(self) -> list[tuple[str, Any]]:
        """For `insecure_channel`."""
        limit = self.max_message_mb << 20
        return [
            ("grpc.max_send_message_length", limit),
            ("grpc.max_receive_message_length", limit),
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        ]

    def timeout(self, timeout: float | None) -> float:
        """Seconds for one call.

        Raises:
            InvalidRequest: not a positive number.
        """
        seconds = self.default_timeout if timeout is None else timeout
        if not 0 < seconds < float("inf"):
            raise InvalidRequest("timeout", f"must be a positive number of seconds, not {seconds}")
        return seconds

    def request(self, image: ImageLike, options: PredictOptions) -> pb.PredictRequest:
        """The message of one call; `convert.to_request` says what it raises."""
        return to_request(image, options, self.max_message_mb)

    def stream_request(self, item: StreamItem, options: PredictOptions, timeout: float) -> pb.PredictRequest:
        """The message of one picture in a stream, with its own deadline."""
        image, own = item if isinstance(item, tuple) else (item, PredictOptions())
        return to_request(image, {**options, **own}, self.max_message_mb, timeout)

    def skeleton(self, response: pb.PredictResponse) -> Skeleton | None:
        """Of the model that answered, where it is known already."""
        return self._skeletons.get(to_ref(response.model))

    def learn(self, model: pb.Model, response: pb.PredictResponse) -> Skeleton:
        """The skeleton in `GetModel`'s answer, kept for next time.

        Raises:
            ServerError: the answer has no usable skeleton.
        """
        skeleton = skeleton_of(model)
        # A reload between the two calls gives a younger file of the same name and version: good for now, not for keeps.
        if to_ref(model.ref) == to_ref(response.model):
            self._skeletons[to_ref(model.ref)] = skeleton
        return skeleton

    def failure(self, response: pb.PredictResponse) -> PoseglassError | None:
        """The error of one picture in a stream."""
        if not response.HasField("error"):
            return None
        error = from_status(response.error, self.address)
        error.request_id = response.request_id
        return error

    def prediction(self, response: pb.PredictResponse, request: pb.PredictRequest, skeleton: Skeleton) -> Prediction:
        """The answer to a request; `convert.to_prediction` says what it raises."""
        return to_prediction(response, request.outputs.joints, skeleton)

    @staticmethod
    def models(response: pb.ListModelsResponse) -> list[ModelInfo]:
        """What a server lists."""
        return [to_model_info(model) for model in response.models]


def get_model_request(response: pb.PredictResponse) -> pb.GetModelRequest:
    """Asks for the model that answered."""
    return pb.GetModelRequest(name=response.model.name, version=response.model.version)
