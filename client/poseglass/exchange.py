"""What both clients know without transport: channel settings, messages, skeletons already fetched."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from poseglass import checks
from poseglass.connecting import ConnectionSettings, Endpoint
from poseglass.convert import ModelInfo, to_model_info, to_prediction, to_ref, to_request
from poseglass.convert import to_skeleton as skeleton_of
from poseglass.errors import InvalidRequest, PoseglassError
from poseglass.options import BoxLike, ImageLike, PredictOptions, check_options
from poseglass.retrying import Attempts
from poseglass.statuses import from_status
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

StreamItem = ImageLike | tuple[ImageLike, PredictOptions | Sequence[BoxLike]]
"""A picture; or a picture with options of its own, which win over the stream's; or a picture with boxes."""


class Exchange:
    """Builds requests and reads answers for one server.

    Args:
        address: as `targets.target` takes it.
        timeout: seconds a call may take unless it says otherwise, all its attempts together.
        max_message_mb: MiB a message may have, either way.
        **settings: of the connection.

    Raises:
        InvalidRequest: a setting that cannot be.
        TypeError: a setting that does not exist.
    """

    def __init__(
        self,
        address: str,
        timeout: float = DEFAULT_TIMEOUT,
        max_message_mb: int = DEFAULT_MAX_MESSAGE_MB,
        **settings: Unpack[ConnectionSettings],
    ) -> None:
        self._endpoint = Endpoint(address, settings)
        self.address = self._endpoint.address
        # gRPC counts bytes in an int32.
        self.max_message_mb = checks.whole("max_message_mb", max_message_mb, 1, 2047, "a whole number from 1 to 2047")
        self._default_timeout = checks.seconds("timeout", timeout)
        self._skeletons: dict[ModelRef, Skeleton] = {}

    def channel_options(self) -> list[tuple[str, Any]]:
        """Of a channel."""
        limit = self.max_message_mb << 20
        limits = [("grpc.max_send_message_length", limit), ("grpc.max_receive_message_length", limit)]
        return [*limits, *self._endpoint.options()]

    def open_channel(self, transport: Any) -> Any:
        """A channel to the server.

        Args:
            transport: `grpc` or `grpc.aio`.
        """
        return self._endpoint.open(transport, self.channel_options())

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call carries beside its message."""
        return self._endpoint.metadata()

    def attempts(self, deadline: float) -> Attempts:
        """The attempts of one call.

        Args:
            deadline: of all of them together (`time.monotonic`).
        """
        return Attempts(self._endpoint.retries, deadline)

    def deadline(self, timeout: float | None) -> float:
        """When a call that begins now is given up (`time.monotonic`).

        Args:
            timeout: seconds; None: the default.

        Raises:
            InvalidRequest: not a positive number.
        """
        return time.monotonic() + self._seconds(timeout)

    def _seconds(self, timeout: float | None) -> float:
        return self._default_timeout if timeout is None else checks.seconds("timeout", timeout)

    def stream_settings(self, images: object, timeout: float | None, in_flight: int, options: PredictOptions) -> float:
        """Check what a stream is called with; returns seconds for each picture.

        Raises:
            InvalidRequest: `images` is one picture, or a setting cannot be.
            TypeError: an option that does not exist.
        """
        check_options(options)
        one = isinstance(images, str | bytes | bytearray | memoryview)
        if one or not isinstance(images, Iterable | AsyncIterable):
            raise InvalidRequest("images", f"must be a list or other iterable of pictures, not {checks.said(images)}")
        checks.whole("in_flight", in_flight, 1, None, "a whole number of at least 1")
        return self._seconds(timeout)

    @staticmethod
    def raising(on_error: str) -> bool:
        """Whether a picture's error is to be raised.

        Raises:
            InvalidRequest: neither "raise" nor "return".
        """
        return bool(checks.choice("on_error", on_error, {"raise": True, "return": False}, '"raise" or "return"'))

    def request(self, image: ImageLike, options: PredictOptions) -> pb.PredictRequest:
        """The message of one call; `convert.to_request` says what it raises."""
        return to_request(image, options, self.max_message_mb)

    def stream_request(self, item: StreamItem, options: PredictOptions, timeout: float) -> pb.PredictRequest:
        """The message of one picture in a stream, with its own deadline.

        Raises:
            InvalidRequest, MessageTooLarge: the picture or an option of its own cannot be sent.
        """
        image, own = item if isinstance(item, tuple) and len(item) == 2 else (item, PredictOptions())
        if isinstance(own, list | tuple | np.ndarray):
            own = PredictOptions(boxes=list(own))
        if isinstance(image, tuple) or not isinstance(own, Mapping):
            raise InvalidRequest(
                "images", "each must be a picture, or a (picture, options) or (picture, boxes) pair: a dict, or a list"
            )
        try:
            check_options(own)
        except TypeError as error:  # it must not end the stream
            raise InvalidRequest("images", str(error)) from None
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
    def models(response: pb.ListModelsResponse | pb.ReloadResponse) -> list[ModelInfo]:
        """What a server lists."""
        return [to_model_info(model) for model in response.models]


def get_model_request(response: pb.PredictResponse) -> pb.GetModelRequest:
    """Asks for the model that answered."""
    return pb.GetModelRequest(name=response.model.name, version=response.model.version)
