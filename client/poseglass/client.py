"""The client."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Unpack, overload

import grpc

from poseglass.connecting import ConnectionSettings
from poseglass.convert import ModelInfo, to_model_info, to_model_request
from poseglass.errors import Cancelled, ClientClosed, InvalidRequest, PoseglassError
from poseglass.exchange import (
    DEFAULT_ADDRESS,
    DEFAULT_IN_FLIGHT,
    DEFAULT_MAX_MESSAGE_MB,
    DEFAULT_TIMEOUT,
    Exchange,
    StreamItem,
    get_model_request,
)
from poseglass.options import ImageLike, PredictOptions
from poseglass.services import HEALTH_REQUEST, Services, serving
from poseglass.statuses import mapped
from poseglass.stream_state import Slot, StreamState
from poseglass.streaming import Stream
from poseglass_core.poses import Prediction
from poseglass_proto.v1 import pose_pb2 as pb


class PoseClient:
    """Asks a Poseglass server for poses.

    Reuse one client: it keeps its connection, and may be used from several threads. Every error it raises is a
    `PoseglassError`; only a keyword that does not exist is a TypeError, as in any call.

        with PoseClient("127.0.0.1:50051") as client:
            for pose in client.predict("me.jpg").poses:
                print(pose["left_knee"], pose.angle("left_knee"))

    A call that finds the server away, or too busy, is made again after a while, as long as its timeout allows.

    Args:
        address: "HOST:PORT", "dns:///HOST:PORT", or several "A:PORT,B:PORT" with numeric addresses. Where there are
            several servers, calls go round.
        timeout: seconds a call may take unless it says otherwise, all its attempts together.
        max_message_mb: MiB a message may have, either way; the server's is `--max-message-mb`.
        **settings: `retries`, `keepalive`, `tls`, `ca_file`, `certificate`, `key`, `server_name`, `token`,
            `token_file`, `insecure`, as `ConnectionSettings` describes them.

    Raises:
        InvalidRequest: a setting that cannot be.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_message_mb: int = DEFAULT_MAX_MESSAGE_MB,
        **settings: Unpack[ConnectionSettings],
    ) -> None:
        self._exchange = Exchange(address, timeout, max_message_mb, **settings)
        self._services = Services(self._exchange.open_channel(grpc))
        self._streams: set[Stream] = set()
        self._closed = threading.Event()

    def __enter__(self) -> PoseClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._closed.set()
        for stream in self._streams.copy():
            stream.fail(ClientClosed())
        self._services.channel.close()

    def predict(
        self, image: ImageLike, *, timeout: float | None = None, **options: Unpack[PredictOptions]
    ) -> Prediction:
        """Find the poses in one picture.

        Args:
            image: the bytes of a JPEG, PNG, WebP or BMP file; a path to one; or pixels, uint8 [H, W, 3] RGB or [H, W]
                grey, which are sent raw.
            timeout: seconds; default the client's.
            **options: `boxes`, `locate`, `detector`, `model`, `version`, `joints`, `heatmaps`, `heatmap_type`,
                `flip_test`, `joint_threshold`, `person_threshold`, `overlap_threshold`, `request_id`, `timestamp_s`, as
                `PredictOptions` describes them.

        Returns:
            One pose a given box, in their order; without boxes, whoever was found, the most certain first.

        Raises:
            InvalidRequest, ModelNotFound, Overloaded, DeadlineExceeded, Unavailable, ...: see `PoseglassError`.
        """
        deadline = self._exchange.deadline(timeout)
        request = self._exchange.request(image, options)
        response = self._call(self._services.poses.Predict, request, deadline)
        return self._prediction(response, request, deadline)

    def stream(
        self,
        images: Iterable[StreamItem],
        *,
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> Iterator[Prediction | PoseglassError]:
        """Find the poses in many pictures over one connection, one answer a picture, in order.

        A picture that fails does not end the stream: its error is yielded, not raised, in its place.

            for path, answer in zip(paths, client.stream(paths)):
                if isinstance(answer, PoseglassError):
                    print(path, answer)

        A picture that the server has no time for is sent again; where the stream breaks, because the server is
        restarted for example, those without an answer are sent over a new one.

        Args:
            images: pictures as `predict` takes them, or (picture, options) pairs whose options win over the stream's,
                or (picture, boxes) pairs. Read lazily, in a thread of its own, no more than `in_flight` pictures ahead
                of what was yielded.
            timeout: seconds for each picture from when it is first sent; default the client's.
            in_flight: pictures sent and not yet answered.
            **options: as for `predict`, for every picture.

        Yields:
            A Prediction, or the PoseglassError of that picture.

        Raises:
            PoseglassError: the stream itself broke, and could not be mended within `retries` and the timeout. What
                `images` itself raises is raised here too, after the answers before it.
        """
        seconds = self._exchange.stream_settings(images, timeout, in_flight, options)
        return self._stream(images, seconds, in_flight, options)

    @overload
    def predict_many(
        self,
        items: Iterable[StreamItem],
        *,
        on_error: Literal["raise"] = "raise",
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_many(
        self,
        items: Iterable[StreamItem],
        *,
        on_error: Literal["return"],
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> Iterator[Prediction | PoseglassError]: ...

    def predict_many(
        self,
        items: Iterable[StreamItem],
        *,
        on_error: Literal["raise", "return"] = "raise",
        timeout: float | None = None,
        in_flight: int = DEFAULT_IN_FLIGHT,
        **options: Unpack[PredictOptions],
    ) -> Iterator[Prediction | PoseglassError]:
        """Find the poses in many pictures: `stream`, for callers who want every one of them or an error.

        Args:
            items: as the `images` of `stream`.
            on_error: "raise" the first picture's that fails (its `index` says which), or "return" it in its place.
            timeout: seconds for each picture from when it is first sent; default the client's.
            in_flight: pictures sent and not yet answered.
            **options: as for `predict`, for every picture.

        Yields:
            A Prediction for each item, in their order; with "return" the PoseglassError of one that failed.

        Raises:
            PoseglassError: as `stream`.
        """
        raising = self._exchange.raising(on_error)
        answers = self.stream(items, timeout=timeout, in_flight=in_flight, **options)
        return _raised(answers) if raising else answers

    def _stream(
        self, images: Iterable[StreamItem], seconds: float, in_flight: int, options: PredictOptions
    ) -> Iterator[Prediction | PoseglassError]:
        self._check_open()
        exchange = self._exchange
        stream = Stream(
            images,
            lambda item: exchange.stream_request(item, options, seconds),
            lambda requests: self._services.poses.PredictStream(requests, metadata=exchange.metadata()),
            StreamState(exchange, seconds, in_flight),
            exchange.address,
        )
        self._streams.add(stream)
        try:
            with self._mapped():
                for slot in stream.answers():
                    yield self._answer(slot, seconds)
        finally:
            stream.stop()
            self._streams.discard(stream)

    def models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """The models that the server has, the refused ones too."""
        deadline = self._exchange.deadline(timeout)
        return self._exchange.models(self._call(self._services.poses.ListModels, pb.ListModelsRequest(), deadline))

    def model(self, name: str = "", version: int = 0, *, timeout: float | None = None) -> ModelInfo:
        """One model or detector.

        Args:
            name: empty for the server's default model.
            version: 0 for the newest.
            timeout: seconds; default the client's.

        Raises:
            ModelNotFound: the server has no such model.
        """
        deadline = self._exchange.deadline(timeout)
        request = to_model_request(name, version)
        return to_model_info(self._call(self._services.poses.GetModel, request, deadline))

    def reload(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """Have the server look at its model repository again; what changes takes effect before this returns.

        Args:
            timeout: seconds; default the client's. New models are loaded and tried in this time.

        Returns:
            What was loaded (READY), what is refused or not yet written, with the reason, and what was retired.

        Raises:
            Unimplemented: the server has no model repository.
            PermissionDenied: the caller may not do this.
        """
        deadline = self._exchange.deadline(timeout)
        return self._exchange.models(self._call(self._services.admin.Reload, pb.ReloadRequest(), deadline))

    def health(self, *, timeout: float | None = None) -> bool:
        """Whether the server says that it is serving.

        Raises:
            Unavailable: nobody answers.
        """
        deadline = self._exchange.deadline(timeout)
        return serving(self._call(self._services.health.Check, HEALTH_REQUEST, deadline))

    def _answer(self, slot: Slot, seconds: float) -> Prediction | PoseglassError:
        """What a stream says of one picture."""
        if isinstance(slot.answer, pb.PredictResponse):
            return self._prediction(slot.answer, slot.request, self._exchange.deadline(seconds))
        return slot.error()

    def _prediction(self, response: pb.PredictResponse, request: pb.PredictRequest, deadline: float) -> Prediction:
        skeleton = self._exchange.skeleton(response)
        if skeleton is None:
            model = self._call(self._services.poses.GetModel, get_model_request(response), deadline)
            skeleton = self._exchange.learn(model, response)
        return self._exchange.prediction(response, request, skeleton)

    def _call(self, method: Any, request: Any, deadline: float) -> Any:
        attempts = self._exchange.attempts(deadline)
        while True:
            self._check_open()
            try:
                with self._mapped():
                    return method(request, timeout=attempts.remaining(), metadata=self._exchange.metadata())
            except PoseglassError as error:
                pause = attempts.pause(error)
            self._closed.wait(pause)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Lets no error of gRPC out, and says so where this client was closed meanwhile."""
        try:
            with mapped(self._exchange.address):
                yield
        except (Cancelled, ValueError) as error:  # gRPC's own ValueError: the channel is closed
            if not self._closed.is_set() or isinstance(error, InvalidRequest):
                raise
            raise ClientClosed from None

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClientClosed


def _raised(answers: Iterator[Prediction | PoseglassError]) -> Iterator[Prediction]:
    """The answers until the first error, which is raised."""
    for answer in answers:
        if isinstance(answer, PoseglassError):
            raise answer
        yield answer
