"""Pictures and options to a `PredictRequest`; a `PredictResponse` to a `Prediction`. No transport here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poseglass.errors import InvalidRequest, ServerError, too_large
from poseglass.options import MIB, ImageLike, PredictOptions, as_pixels, pose_request, read_file
from poseglass_core.geometry import Box
from poseglass_core.poses import Heatmaps, ModelRef, Pose, Prediction, Timings
from poseglass_core.skeleton import Skeleton
from poseglass_proto.v1 import pose_pb2 as pb

HEATMAP_TYPES = ("FLOAT16", "FLOAT32", "UINT8")


@dataclass(frozen=True)
class ModelInfo:
    """A model as a server, or this package, lists it.

    Attributes:
        ref: name, version, hash of the file.
        kind: "POSE" or "DETECTOR".
        state: "READY", "LOADING", "RETIRING" or "REFUSED".
        reason: why it is refused.
        licence: of the weights.
        joints: names.
        is_default: what an empty model name means.
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
        TypeError: an option or a picture of a kind that does not exist.
    """
    wanted = pose_request(options)
    limit = max_message_mb * MIB
    heatmap_type = options.get("heatmap_type", "float16")
    if heatmap_type.upper() not in HEATMAP_TYPES:
        raise InvalidRequest("outputs.heatmap_type", f"must be float16, float32 or uint8, not {heatmap_type!r}")
    version = options.get("version", 0)
    if not 0 <= version < 1 << 32:
        raise InvalidRequest("version", f"must be a positive integer, or 0 for the newest, not {version}")
    request = pb.PredictRequest(
        request_id=options.get("request_id", ""),
        model=options.get("model", ""),
        version=version,
        image=_image(image, limit),
        boxes=[pb.Box(x=b.x, y=b.y, width=b.width, height=b.height, angle=b.angle) for b in wanted.boxes],
        locate=wanted.locate.name,
        outputs=pb.Outputs(
            heatmaps=wanted.heatmaps,
            heatmap_type=heatmap_type.upper(),
            joints=wanted.joints,
        ),
        thresholds=pb.Thresholds(joint=options.get("joint_threshold"), person=wanted.person_threshold),
        flip_test=wanted.flip_test,
        timestamp_s=options.get("timestamp_s", 0.0),
        timeout_ms=0 if timeout_s is None else max(1, min(round(timeout_s * 1e3), (1 << 32) - 1)),
    )
    # Checked here because inside a stream gRPC's own refusal would end all of it.
    if (size := request.ByteSize()) > limit:
        raise too_large(f"the picture takes {size / MIB:.1f} MiB", max_message_mb)
    return request


def _image(image: ImageLike, limit: int) -> pb.Image:
    if isinstance(image, np.ndarray):
        pixels = as_pixels(image)
        if pixels.nbytes > limit:
            detail = f"the picture takes {pixels.nbytes / MIB:.1f} MiB as pixels (encoded as JPEG it is far smaller)"
            raise too_large(detail, limit // MIB)
        pixel_format = pb.GRAY8 if pixels.ndim == 2 else pb.RGB24
        height, width = pixels.shape[:2]
        return pb.Image(raw=pb.RawImage(data=pixels.tobytes(), height=height, width=width, format=pixel_format))
    if isinstance(image, str | Path):
        return pb.Image(encoded=read_file(image, limit))
    if isinstance(image, bytes | bytearray | memoryview):
        return pb.Image(encoded=bytes(image))
    raise TypeError(f"image must be bytes, a path or a NumPy array, not {type(image).__name__}")


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
