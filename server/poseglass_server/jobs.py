"""The work for one picture: decode, infer, encode the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from poseglass_core.errors import NotSupported
from poseglass_core.poses import Locate, PoseRequest, Timings
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_runtime.predictor import Predictor
from poseglass_server.convert import ReadImage, check_answer_size, image_reader, to_request, to_response
from poseglass_server.limits import Limits
from poseglass_server.memory import PictureMemory, Reserve
from poseglass_server.models import Models
from poseglass_server.observer import Observer
from poseglass_server.served import DetectorModel, PoseModel
from poseglass_server.tickets import Ticket


@dataclass(frozen=True)
class Job:
    """One picture's work; called with its ticket, it does it.

    Attributes:
        model: the pose model.
        detector: finds the people; None where there is none, or boxes are given.
        read: decodes the picture.
        request: where to look and what to return.
        heatmap_type: of the answer.
        max_message_mb: size of the answer.
        request_id, timestamp_s: echoed.
        observer: is told how long it took.
        memory: where the decoded picture finds room.
    """

    model: PoseModel
    detector: DetectorModel | None
    read: ReadImage
    request: PoseRequest
    heatmap_type: pb.HeatmapType
    max_message_mb: int
    request_id: str
    timestamp_s: float
    observer: Observer
    memory: PictureMemory

    def __call__(self, ticket: Ticket) -> pb.PredictResponse:
        """The answer; blocking.

        Raises:
            Expired: nobody waits for it any more.
            InvalidInput, NotSupported: of decoding and inference.
        """
        with self.memory.share(ticket) as reserve, self.model.expecting(ticket):
            return self._answer(ticket, reserve)

    def _answer(self, ticket: Ticket, reserve: Reserve) -> pb.PredictResponse:
        before, started = ticket.waited, time.perf_counter()
        image = self.read(reserve)
        decoded = time.perf_counter()
        ticket.check()
        predictor = Predictor(self.model.through(ticket))
        prediction = predictor.predict(
            image, self.request, None if self.detector is None else self.detector.through(ticket)
        )
        people = len(prediction.poses)
        check_answer_size(people, self.request, self.heatmap_type, self.model.manifest, self.max_message_mb)
        between = ticket.waited - before  # for other callers' batches, which the prediction took for inference
        timings = Timings(
            decode=1e3 * (decoded - started),
            queue=1e3 * ticket.waited,
            inference=max(prediction.timings.inference - 1e3 * between, 0.0),
            total=1e3 * (time.perf_counter() - ticket.arrived),
        )
        self.observer.stages(*(ms / 1e3 for ms in (timings.decode, timings.queue, timings.inference, timings.total)))
        echoed = replace(prediction, timings=timings, request_id=self.request_id, timestamp_s=self.timestamp_s)
        return to_response(echoed, self.heatmap_type)


def to_job(
    message: pb.PredictRequest, models: Models, limits: Limits, observer: Observer, memory: PictureMemory
) -> Job:
    """Check all of a request that can be checked without decoding its picture.

    Raises:
        MessageTooLarge, InvalidInput, NotSupported, UnknownModel: the caller's fault, each with its remedy.
    """
    limits.check_message(message, "send the picture as JPEG or smaller")
    model = models.get(message.model, message.version)
    request = to_request(message, limits.max_boxes)
    detector = models.detector(message.detector)
    if request.locate is Locate.DETECT and detector is None and not request.boxes:
        raise NotSupported(
            "locate: DETECT needs a detector, and none is loaded; give boxes, use WHOLE_IMAGE for one person, or start "
            "the server with --detector NAME|FILE, or add one to its --models DIR"
        )
    kind = message.outputs.heatmap_type
    check_answer_size(max(len(request.boxes), 1), request, kind, model.manifest, limits.max_message_mb)
    return Job(
        model=model,
        detector=None if request.boxes else detector,
        read=image_reader(message.image, limits.max_pixels),
        request=request,
        heatmap_type=kind,
        max_message_mb=limits.max_message_mb,
        request_id=message.request_id,
        timestamp_s=message.timestamp_s,
        observer=observer,
        memory=memory,
    )
