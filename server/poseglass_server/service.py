"""The gRPC services: a method parses, calls and converts."""

# ruff: noqa: N802, ARG002 - names and arguments are those of the generated base classes

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Hashable

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.calls import Calls
from poseglass_server.convert import to_detector, to_model
from poseglass_server.errors import Context, Unimplemented, refuse, to_status
from poseglass_server.jobs import to_job
from poseglass_server.limits import Limits
from poseglass_server.models import Models
from poseglass_server.observer import Observer
from poseglass_server.pipeline import Pipeline
from poseglass_server.stream import answer_in_order

POSE_SERVICE = pb.DESCRIPTOR.services_by_name["PoseService"].full_name
ADMIN_SERVICE = pb.DESCRIPTOR.services_by_name["AdminService"].full_name


class PoseService(pose_pb2_grpc.PoseServiceServicer):
    """Poses over gRPC.

    Args:
        models: what is served.
        pipeline: does the work.
        limits: what one caller may ask.
        calls: those in progress.
        observer: is told what happens.
    """

    def __init__(
        self, models: Models, pipeline: Pipeline, limits: Limits, calls: Calls, observer: Observer | None = None
    ) -> None:
        self._models, self._pipeline, self._limits, self._calls = models, pipeline, limits, calls
        self._observer = observer or Observer()

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Answer one picture."""
        try:
            self._calls.enter(context)
            return await self._answer(request, context, context.peer())
        except Exception as error:
            refuse(context, error, request.request_id)
            return pb.PredictResponse()

    async def PredictStream(self, requests: AsyncIterator[pb.PredictRequest], context: Context) -> None:
        """Answer pictures in their order; a bad one fails alone."""

        stream = (context.peer(), id(context))  # takes turns by itself, and bounds its own pictures

        async def answer(request: pb.PredictRequest) -> pb.PredictResponse:
            try:
                return await self._answer(request, context, stream, bounded=False)
            except Exception as error:
                status = to_status(error, request.request_id)
                return pb.PredictResponse(request_id=request.request_id, timestamp_s=request.timestamp_s, error=status)

        try:
            self._calls.enter(context)
            await answer_in_order(
                requests, answer, context.write, self._limits.stream_in_flight, self._calls.stop_reading
            )
        except Exception as error:
            refuse(context, error)

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """All pose models, those of the default's name first, then the detectors likewise."""
        poses = [to_model(m, m is self._models.default) for m in self._models]
        detectors = self._models.detectors
        return pb.ListModelsResponse(models=[*poses, *(to_detector(d, d is detectors.default) for d in detectors)])

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """One model or detector, named as in `Predict`; without a name, the default model."""
        detectors = self._models.detectors
        try:
            if request.name in detectors:
                detector = detectors.get(request.name, request.version, field="name")
                return to_detector(detector, detector is detectors.default)
            found = self._models.get(request.name, request.version, field="name")
            return to_model(found, found is self._models.default)
        except Exception as error:
            refuse(context, error)
            return pb.Model()

    async def _answer(
        self, request: pb.PredictRequest, context: Context, caller: Hashable, bounded: bool = True
    ) -> pb.PredictResponse:
        job = to_job(request, self._models, self._limits, self._observer)
        return await self._pipeline.run(job, caller, _deadline(context, request.timeout_ms), bounded)


class AdminService(pose_pb2_grpc.AdminServiceServicer):
    """What operators may do: nothing yet."""

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:
        """Refused: this server reads its models when it starts."""
        refuse(context, Unimplemented("this server has no model repository; start it anew to serve other model files"))
        return pb.ReloadResponse()


def _deadline(context: Context, timeout_ms: int) -> float | None:
    """The sooner of the call's deadline and the picture's own, of `time.monotonic`; None where there is neither."""
    remaining: float | None = context.time_remaining()
    bounds = [remaining] if remaining is not None else []
    if timeout_ms:
        bounds.append(timeout_ms / 1e3)
    return time.monotonic() + min(bounds) if bounds else None
