"""The gRPC services: a method parses, calls and converts."""

# ruff: noqa: N802, ARG002 - names and arguments are those of the generated base classes

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Hashable

from google.protobuf.message import DecodeError

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.calls import Calls
from poseglass_server.catalogue import Catalogue
from poseglass_server.doors import caller_of
from poseglass_server.errors import Context, refuse, to_status
from poseglass_server.jobs import to_job
from poseglass_server.limits import Limits
from poseglass_server.listing import describe, described, list_models
from poseglass_server.memory import PictureMemory
from poseglass_server.observer import Observer
from poseglass_server.pipeline import Pipeline
from poseglass_server.stream import answer_in_order
from poseglass_server.watching import METHODS, Watch

POSE_SERVICE = pb.DESCRIPTOR.services_by_name["PoseService"].full_name
ADMIN_SERVICE = pb.DESCRIPTOR.services_by_name["AdminService"].full_name

_PREDICT_STREAM = METHODS[f"/{POSE_SERVICE}/PredictStream"]

LARGEST_AT_ONCE = 2
"""Pictures of `max_pixels` that may be decoded at once; of smaller ones as many more."""


class PoseService(pose_pb2_grpc.PoseServiceServicer):
    """Poses over gRPC.

    Args:
        catalogue: what is served.
        pipeline: does the work.
        limits: what one caller may ask.
        calls: those in progress.
        observer: is told what happens.
        watch: is told of each picture of a stream.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pipeline: Pipeline,
        limits: Limits,
        calls: Calls,
        observer: Observer | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._catalogue, self._pipeline, self._limits, self._calls = catalogue, pipeline, limits, calls
        self._observer = observer or Observer()
        self._watch = watch or Watch(self._observer)
        self._memory = PictureMemory(LARGEST_AT_ONCE * limits.max_pixels)

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Answer one picture."""
        try:
            self._calls.enter(context)
            return await self._answer(request, context, caller_of(context))
        except Exception as error:
            refuse(context, error, request.request_id)
            return pb.PredictResponse()

    async def PredictStream(self, requests: AsyncIterator[pb.PredictRequest | DecodeError], context: Context) -> None:
        """Answer pictures in their order; a bad one fails alone."""

        stream = (caller_of(context), id(context))  # takes turns by itself, and bounds its own pictures

        async def answer(request: pb.PredictRequest | DecodeError) -> pb.PredictResponse:
            began = time.perf_counter()
            response = await answer_or_error(request)
            self._watch.picture(_PREDICT_STREAM, began, context, request, response)
            return response

        async def answer_or_error(request: pb.PredictRequest | DecodeError) -> pb.PredictResponse:
            if isinstance(request, DecodeError):  # see RefuseMalformed
                return pb.PredictResponse(error=to_status(request, ""))
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
        """All pose models, those of the default's name first, the detectors likewise, and what is not ready."""
        return pb.ListModelsResponse(models=list_models(self._catalogue.models))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """One model or detector, named as in `Predict`; without a name, the default model."""
        try:
            return describe(self._catalogue.models, request.name, request.version)
        except Exception as error:
            refuse(context, error)
            return pb.Model()

    async def _answer(
        self, request: pb.PredictRequest, context: Context, caller: Hashable, bounded: bool = True
    ) -> pb.PredictResponse:
        job = to_job(request, self._catalogue.models, self._limits, self._observer, self._memory)
        return await self._pipeline.run(job, caller, deadline_of(context, request.timeout_ms), bounded)


class AdminService(pose_pb2_grpc.AdminServiceServicer):
    """What operators may do.

    Args:
        catalogue: what is served.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:
        """Look at the model repository, and say what was loaded, refused and retired."""
        try:
            entries = await self._catalogue.reload()
            return pb.ReloadResponse(models=described(self._catalogue.models, entries))
        except Exception as error:
            refuse(context, error)
            return pb.ReloadResponse()


def deadline_of(context: Context, timeout_ms: int = 0) -> float | None:
    """The sooner of the call's deadline and the picture's own, of `time.monotonic`; None where there is neither."""
    remaining: float | None = context.time_remaining()
    bounds = [remaining] if remaining is not None else []
    if timeout_ms:
        bounds.append(timeout_ms / 1e3)
    return time.monotonic() + min(bounds) if bounds else None
