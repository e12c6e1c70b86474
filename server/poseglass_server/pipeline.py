"""The work for one picture - decode, infer, encode the answer - in threads, off the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from poseglass_core.errors import NotSupported
from poseglass_core.poses import Locate, PoseRequest, Timings
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_runtime.outputs import Detector
from poseglass_server.convert import ReadImage, check_answer_size, image_reader, to_request, to_response
from poseglass_server.errors import Expired, MessageTooLarge
from poseglass_server.limits import Limits
from poseglass_server.models import Models, PosePredictor


@dataclass(frozen=True)
class Job:
    """One picture's work.

    Attributes:
        predictor: the model.
        detector: finds the people; None where there is none, or boxes are given.
        read: decodes the picture.
        request: where to look and what to return.
        heatmap_type: of the answer.
        max_message_mb: size of the answer.
        request_id, timestamp_s: echoed.
    """

    predictor: PosePredictor
    detector: Detector | None
    read: ReadImage
    request: PoseRequest
    heatmap_type: pb.HeatmapType
    max_message_mb: int
    request_id: str
    timestamp_s: float


def to_job(message: pb.PredictRequest, models: Models, limits: Limits) -> Job:
    """Check all of a request that can be checked without decoding its picture.

    Raises:
        MessageTooLarge, InvalidInput, NotSupported, UnknownModel: the caller's fault, each with its remedy.
    """
    if message.ByteSize() > limits.max_message_bytes:
        raise MessageTooLarge(
            f"the message has {message.ByteSize():,} bytes, the limit is {limits.max_message_mb} MiB; send the picture "
            "as JPEG or smaller, or raise max_message_mb on both ends (poseglass serve --max-message-mb)"
        )
    predictor = models.get(message.model, message.version)
    request = to_request(message, limits.max_boxes)
    detector = models.detector(message.detector)
    if request.locate is Locate.DETECT and detector is None and not request.boxes:
        raise NotSupported(
            "locate: DETECT needs a detector, and none is loaded; give boxes, use WHOLE_IMAGE for one person, or start "
            "the server with --detector NAME|FILE"
        )
    kind = message.outputs.heatmap_type
    check_answer_size(max(len(request.boxes), 1), request, kind, predictor.manifest, limits.max_message_mb)
    return Job(
        predictor=predictor,
        detector=None if request.boxes else detector,
        read=image_reader(message.image, limits.max_pixels),
        request=request,
        heatmap_type=kind,
        max_message_mb=limits.max_message_mb,
        request_id=message.request_id,
        timestamp_s=message.timestamp_s,
    )


class Pipeline:
    """Runs jobs in threads, first come, first served.

    Args:
        workers: jobs that run at once; it bounds the decoded pictures in memory.
    """

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, "poseglass-job")

    async def run(self, job: Job, deadline: float | None = None) -> pb.PredictResponse:
        """Do a job; cancelling the awaiting task drops what is left of it.

        Args:
            job: what to do.
            deadline: of `time.monotonic`; work that has not begun by then never does.

        Raises:
            Expired: the deadline passed first; raised when it passes, not when the job's turn comes.
            InvalidInput, NotSupported: of decoding and inference.
        """
        left = threading.Event()
        arrived = time.perf_counter()
        work = asyncio.get_running_loop().run_in_executor(self._pool, _work, job, arrived, deadline, left)
        try:
            async with asyncio.timeout_at(deadline):  # the loop's clock is time.monotonic
                return await work
        except TimeoutError:
            raise Expired(_EXPIRED) from None
        finally:
            left.set()
            # A failed future holds its exception, that its frames, and this one the future: without this, refused
            # requests would stay in memory until the garbage collector comes by.
            del work

    def close(self) -> None:
        """Drop what has not begun; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


_EXPIRED = "the deadline passed before the picture was done; allow more time, or send fewer pictures at once"


def _work(job: Job, arrived: float, deadline: float | None, left: threading.Event) -> pb.PredictResponse:
    def check() -> None:
        """Nothing more is done for a caller who no longer waits."""
        if left.is_set() or (deadline is not None and time.monotonic() >= deadline):
            raise Expired(_EXPIRED)

    check()
    started = time.perf_counter()
    image = job.read()
    decoded = time.perf_counter()
    check()
    prediction = job.predictor.predict(image, job.request, job.detector)
    people = len(prediction.poses)
    check_answer_size(people, job.request, job.heatmap_type, job.predictor.manifest, job.max_message_mb)
    timings = Timings(
        decode=1e3 * (decoded - started),
        queue=1e3 * (started - arrived),
        inference=prediction.timings.inference,
        total=1e3 * (time.perf_counter() - arrived),
    )
    echoed = replace(prediction, timings=timings, request_id=job.request_id, timestamp_s=job.timestamp_s)
    return to_response(echoed, job.heatmap_type)
