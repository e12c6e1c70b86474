"""Pictures and options to a `PredictRequest`; a `PredictResponse` to a `Prediction`. No transport here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from poseglass import checks
from poseglass.errors import ServerError, too_large
from poseglass.options import MIB, ImageLike, PredictOptions, as_version, checked, content
from poseglass_core.geometry import Box
from poseglass_core.poses import Heatmaps, ModelRef, Pose, Prediction, Timings
from poseglass_core.skeleton import Skeleton
from poseglass_proto.v1 import pose_pb2 as pb


@dataclass(frozen=True)
class ModelInfo:
    """A model as a server, or this package, lists it.

    Attributes:
        ref: name, version, hash of the file.
        kind: "POSE" or "DETECTOR".
        state: "READY", "LOADING", "RETIRING" or "REFUSED".
        reason: why it is refused.
        licence: of the weights.
        joints: names; none of a detector.
        is_default: what an empty model name, or detector name, means.
        manifest: the model's own description; empty where it could not be read.
    """

    ref: ModelRef
    kind: str
    state: str
    reason: str
    licence: str
    joints: tuple[str, ...]
    is_default: bool
    manifest: Mapping[str, Any]


def to_request(
    image: ImageLike, options: PredictOptions, max_message_mb: int, timeout_s: float | None = None
) -> pb.PredictRequest:
    """The message for one picture.

    Args:
        image: bytes, path or pixels.
        options: about it.
        max_message_mb: of the client.
        timeout_s: the picture's own deadline inside a stream.

    Raises:
        InvalidRequest, MessageTooLarge: the picture or an option cannot be sent.
        TypeError: an option that does not exist.
    """
    wanted = checked(options)
    pose = wanted.pose
    limit = max_message_mb * MIB
    request = pb.PredictRequest(
        request_id=wanted.request_id,
        model=wanted.model,
        version=wanted.version,
        image=_image(image, limit),
        boxes=[pb.Box(x=b.x, y=b.y, width=b.width, height=b.height, angle=b.angle) for b in pose.boxes],
        locate=pose.locate.name,
        outputs=pb.Outputs(heatmaps=pose.heatmaps, heatmap_type=wanted.heatmap_type, joints=pose.joints),
        thresholds=pb.Thresholds(
            joint=wanted.joint_threshold, person=pose.person_threshold, overlap=pose.overlap_threshold
        ),
        flip_test=pose.flip_test,
        timestamp_s=wanted.timestamp_s,
        timeout_ms=0 if timeout_s is None else max(1, round(timeout_s * 1e3)),
        detector=wanted.detector,
    )
    # Checked here because inside a stream gRPC's own refusal would end all of it.
    if (size := request.ByteSize()) > limit:
        raise too_large(f"the picture takes {size / MIB:.1f} MiB", max_message_mb)
    return request


def to_model_request(name: str, version: int) -> pb.GetModelRequest:
    """Asks for a model.

    Raises:
        InvalidRequest: `model` is no text, or `version` no version.
    """
    return pb.GetModelRequest(name=checks.text("model", name), version=as_version(version))


def _image(image: ImageLike, limit: int) -> pb.Image:
    pixels = content(image, limit)
    if isinstance(pixels, bytes):
        return pb.Image(encoded=pixels)
    if pixels.nbytes > limit:
        detail = f"the picture takes {pixels.nbytes / MIB:.1f} MiB as pixels (encoded as JPEG it is far smaller)"
        raise too_large(detail, limit // MIB)
    pixel_format = pb.GRAY8 if pixels.ndim == 2 else pb.RGB24
    height, width = pixels.shape[:2]
    return pb.Image(raw=pb.RawImage(data=pixels.tobytes(), height=height, width=width, format=pixel_format))


def to_prediction(response: pb.PredictResponse, joints: Sequence[str], skeleton: Skeleton) -> Prediction:
    """What a response says.

    Args:
        response: without `error`.
        joints: names that were asked for; empty: all.
        skeleton: of the model that answered.

    Raises:
        ServerError: the response contradicts itself.
    """
    try:
        return Prediction(
            poses=[_pose(person, tuple(joints), skeleton) for person in response.persons],
            image_size=(response.image_height, response.image_width),
            model=to_ref(response.model),
            provider=response.provider,
            timings=Timings(
                response.timings.decode, response.timings.queue, response.timings.inference, response.timings.total
            ),
            request_id=response.request_id,
            timestamp_s=response.timestamp_s,
            detector=to_ref(response.detector) if response.HasField("detector") else None,
        )
    except ValueError as error:
        raise ServerError(f"the answer cannot be read ({error})") from None


def _pose(person: pb.Person, joints: tuple[str, ...], skeleton: Skeleton) -> Pose:
    box = person.box
    heatmaps = to_heatmaps(person.heatmaps) if person.HasField("heatmaps") else None
    names = joints or skeleton.joints
    if heatmaps is not None and len(heatmaps.values) != len(names):
        raise ValueError(f"heatmaps of {len(heatmaps.values)} joints where {len(names)} were asked for")
    return Pose(
        skeleton=skeleton,
        names=tuple(joint.name for joint in person.joints),
        points=np.array([(joint.x, joint.y) for joint in person.joints], np.float32).reshape(-1, 2),
        scores=np.array([joint.score for joint in person.joints], np.float32),
        box=Box(box.x, box.y, box.width, box.height, box.angle),
        score=person.score,
        presence=person.presence if person.HasField("presence") else None,
        heatmap_names=names if heatmaps is not None else (),
        heatmaps=heatmaps,
    )


def to_heatmaps(message: pb.Heatmaps) -> Heatmaps:
    """Heatmaps of any of the three types, as float32.

    Raises:
        ValueError: shape, data, scale and transform do not fit each other.
    """
    stored = {pb.FLOAT16: "<f2", pb.FLOAT32: "<f4", pb.UINT8: "u1"}.get(message.type)
    if stored is None:
        raise ValueError(f"heatmaps of an unknown type ({message.type})")
    shape = tuple(message.shape)
    if len(shape) != 3 or len(message.to_image) != 6:
        raise ValueError("heatmaps without a shape of three sizes or a transform of six numbers")
    # Too many or too few bytes make reshape or frombuffer raise ValueError.
    values = np.frombuffer(message.data, stored).reshape(shape).astype(np.float32)
    if message.type == pb.UINT8:
        if len(message.scale) != shape[0]:
            raise ValueError("uint8 heatmaps without one scale a joint")
        values *= np.array(message.scale, np.float32)[:, None, None]
    return Heatmaps(values, np.array(message.to_image, np.float64).reshape(2, 3))


def to_ref(message: pb.ModelRef) -> ModelRef:
    """Which weights."""
    return ModelRef(message.name, message.version, message.sha256)


def to_model_info(message: pb.Model) -> ModelInfo:
    """A listed model.

    Raises:
        ServerError: its manifest is not JSON.
    """
    try:
        manifest = json.loads(message.manifest_json) if message.manifest_json else {}
    except ValueError as error:
        raise ServerError(f"the manifest of {message.ref.name!r} cannot be read ({error})") from None
    return ModelInfo(
        ref=to_ref(message.ref),
        kind=_enum_name(pb.ModelKind, message.kind),
        state=_enum_name(pb.ModelState, message.state),
        reason=message.reason,
        licence=message.licence,
        joints=tuple(message.joints),
        is_default=message.is_default,
        manifest=manifest,
    )


def to_skeleton(message: pb.Model) -> Skeleton:
    """The skeleton in a model's manifest.

    Only these keys are looked at: a manifest that a newer server has added to is still read by this client.

    Raises:
        ServerError: there is none.
    """
    try:
        return Skeleton.from_json(to_model_info(message).manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(f"the manifest of {message.ref.name!r} has no usable skeleton ({error})") from None


def _enum_name(kind: Any, value: int) -> str:
    """Newer servers may know more values than this client."""
    return str(kind.Name(value)) if value in kind.values() else str(value)
