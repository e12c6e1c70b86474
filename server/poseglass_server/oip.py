"""The Open Inference Protocol beside the project's own: the same models, by their own tensors."""

# ruff: noqa: N802, ARG002 - names and arguments are those of the generated base classes

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from importlib.metadata import version as installed_version

import numpy as np
from grpc_health.v1 import health, health_pb2
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_proto.oip import inference_pb2 as pb
from poseglass_proto.oip import inference_pb2_grpc
from poseglass_server.calls import Calls
from poseglass_server.catalogue import Catalogue
from poseglass_server.convert import LONGEST_REQUEST_ID
from poseglass_server.doors import caller_of
from poseglass_server.errors import Context, NotReady, UnknownModel, refuse
from poseglass_server.limits import Limits
from poseglass_server.models import Models
from poseglass_server.observer import Observer
from poseglass_server.oip_tensors import (
    ReadImages,
    Tensor,
    add_outputs,
    asked_outputs,
    check_answer_size,
    images_reader,
    input_of,
    outputs_of,
)
from poseglass_server.pipeline import Pipeline
from poseglass_server.served import DetectorModel, PoseModel
from poseglass_server.service import deadline_of
from poseglass_server.tickets import Ticket

INFERENCE_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

PLATFORM = "onnxruntime_onnx"


@dataclass(frozen=True)
class Inference:
    """One request's work; called with its ticket, it does it.

    Attributes:
        model: the pose model or detector.
        read: reads its input.
        outputs: what is answered.
        count: crops or pictures.
        request_id: echoed.
        limits: size of the answer.
        observer: is told how long it took.
    """

    model: PoseModel | DetectorModel
    read: ReadImages
    outputs: tuple[Tensor, ...]
    count: int
    request_id: str
    limits: Limits
    observer: Observer

    def __call__(self, ticket: Ticket) -> pb.ModelInferResponse:
        """The answer; blocking.

        Raises:
            Expired: nobody waits for it any more.
            InvalidInput: a value is none of its type, or the answer too large.
        """
        before, started = ticket.waited, time.perf_counter()
        images = self.read()
        read = time.perf_counter()
        values = _run(self.model, images, ticket)
        ran = time.perf_counter()
        chosen = {tensor.name: values[tensor.name] for tensor in self.outputs}
        check_answer_size(sum(array.nbytes for array in chosen.values()), self.count, self.limits)
        ref = self.model.ref
        response = pb.ModelInferResponse(model_name=ref.name, model_version=str(ref.version), id=self.request_id)
        add_outputs(response, chosen)
        inference = max(ran - read - (ticket.waited - before), 0.0)
        self.observer.stages(read - started, ticket.waited, inference, time.perf_counter() - ticket.arrived)
        return response


def _run(model: PoseModel | DetectorModel, images: NDArray[np.uint8], ticket: Ticket) -> dict[str, NDArray[np.float32]]:
    """All outputs of a model's contract, by name."""
    if isinstance(model, PoseModel):
        raw = model.through(ticket).run(images)
        return {name: array for name, array in raw._asdict().items() if array is not None}
    found = model.through(ticket).run(images)
    # Those of other makers may find fewer candidates in one picture than in another: the rest is nothing, for certain.
    most = max(len(scores) for _, scores in found)
    boxes, scores = np.zeros((len(found), most, 4), np.float32), np.zeros((len(found), most), np.float32)
    for i, (its_boxes, its_scores) in enumerate(found):
        boxes[i, : len(its_boxes)], scores[i, : len(its_scores)] = its_boxes, its_scores
    return {"boxes": boxes, "scores": scores}


class InferenceService(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Tensors over gRPC.

    Args:
        catalogue: what is served.
        pipeline: does the work.
        limits: what one caller may ask.
        calls: those in progress.
        checks: knows whether the server is ready.
        observer: is told what happens.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pipeline: Pipeline,
        limits: Limits,
        calls: Calls,
        checks: health.aio.HealthServicer,
        observer: Observer | None = None,
    ) -> None:
        self._catalogue, self._pipeline, self._limits = catalogue, pipeline, limits
        self._calls, self._checks = calls, checks
        self._observer = observer or Observer()

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Who can answer is alive."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """As the health service says: the default pose model is ready, and the server does not stop."""
        return pb.ServerReadyResponse(ready=await self._serving(INFERENCE_SERVICE, context))

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Whether a model takes requests.

        One that is refused or being loaded does not, and none does while the server stops. One that nobody ever heard
        of is NOT_FOUND.
        """
        try:
            _find(self._catalogue.models, request.name, request.version)
        except NotReady:
            return pb.ModelReadyResponse(ready=False)
        except Exception as error:
            refuse(context, error)
            return pb.ModelReadyResponse()
        return pb.ModelReadyResponse(ready=await self._serving(health.OVERALL_HEALTH, context))

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        """Name and version; no extensions of the protocol."""
        return pb.ServerMetadataResponse(name="poseglass", version=installed_version("poseglass"))

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """A model's versions, and its tensors in the version asked for."""
        try:
            models = self._catalogue.models
            model = _find(models, request.name, request.version)
        except Exception as error:
            refuse(context, error)
            return pb.ModelMetadataResponse()
        return pb.ModelMetadataResponse(
            name=model.ref.name,
            versions=[
                str(other.ref.version) for other in (*models, *models.detectors) if other.ref.name == model.ref.name
            ],
            platform=PLATFORM,
            inputs=[input_of(model).to_message()],
            outputs=[tensor.to_message() for tensor in outputs_of(model)],
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Run a model on crops or pictures of its own size."""
        try:
            self._calls.enter(context)
            work = self._to_inference(request)
            return await self._pipeline.run(work, caller_of(context), deadline_of(context))
        except Exception as error:
            refuse(context, error, request.id)
            return pb.ModelInferResponse()

    def _to_inference(self, request: pb.ModelInferRequest) -> Inference:
        """Check all of a request that can be checked without reading its input.

        Raises:
            MessageTooLarge, InvalidInput, UnknownModel, NotReady: each with its remedy.
        """
        limits = self._limits
        limits.check_message(request, "send fewer crops a request")
        if len(request.id) > LONGEST_REQUEST_ID:
            raise InvalidInput("id", f"has {len(request.id):,} characters; use at most {LONGEST_REQUEST_ID}")
        model = _find(self._catalogue.models, request.model_name, request.model_version, "model_")
        outputs = asked_outputs(request.outputs, outputs_of(model))
        count, read = images_reader(request, input_of(model), limits.max_boxes)
        check_answer_size(sum(tensor.size_of(count) for tensor in outputs), count, limits)
        return Inference(model, read, outputs, count, request.id, limits, self._observer)

    async def _serving(self, service: str, context: Context) -> bool:
        reply = await self._checks.Check(health_pb2.HealthCheckRequest(service=service), context)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def _find(models: Models, name: str, version: str, prefix: str = "") -> PoseModel | DetectorModel:
    """The model that a request asks for.

    Args:
        models: all of them.
        name: empty: the default.
        version: a positive integer as text; empty: the newest.
        prefix: of `name` and `version` in the request.

    Raises:
        InvalidInput: the version is none.
        UnknownModel: there is none such.
        NotReady: it is refused or being loaded.
    """
    if version and not re.fullmatch("[1-9][0-9]{0,8}", version):
        raise InvalidInput(f"{prefix}version", f"{version!r} is none; use a positive integer, or leave it out")
    try:
        return models.of_either_kind(name, int(version or 0), "name")
    except UnknownModel as error:
        raise UnknownModel(f"{prefix}{error.field}", error.reason) from None
