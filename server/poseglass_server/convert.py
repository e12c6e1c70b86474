"""Messages of the wire contract to the core's types, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box
from poseglass_core.manifest import Manifest
from poseglass_core.poses import Heatmaps, Locate, ModelRef, Pose, PoseRequest, Prediction
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_runtime.images import decode_image, raw_image
from poseglass_server.entries import Entry
from poseglass_server.memory import Reserve
from poseglass_server.served import DetectorModel, PoseModel

ReadImage = Callable[[Reserve], NDArray[np.uint8]]
"""Decodes a picture to upright RGB [height, width, 3], once there is room; InvalidInput where it cannot."""

LONGEST_REQUEST_ID = 256
"""Characters."""

_LOCATE = {pb.AUTO: Locate.AUTO, pb.WHOLE_IMAGE: Locate.WHOLE_IMAGE, pb.DETECT: Locate.DETECT}
_DTYPES: dict[pb.HeatmapType, np.dtype[Any]] = {
    pb.FLOAT16: np.dtype("<f2"),
    pb.FLOAT32: np.dtype("<f4"),
    pb.UINT8: np.dtype("u1"),
}


def to_request(message: pb.PredictRequest, max_boxes: int) -> PoseRequest:
    """Everything in a request but the picture and the models.

    Args:
        message: the request.
        max_boxes: more boxes are refused, and more people not looked for.

    Raises:
        InvalidInput: a value is out of its range; names the field.
    """
    if len(message.request_id) > LONGEST_REQUEST_ID:
        raise InvalidInput(
            "request_id", f"has {len(message.request_id):,} characters; use at most {LONGEST_REQUEST_ID}"
        )
    if message.locate not in _LOCATE:
        raise InvalidInput("locate", f"{message.locate} is not a value of Locate; use {_names(pb.Locate)}")
    if message.outputs.heatmap_type not in _DTYPES:
        raise InvalidInput(
            "outputs.heatmap_type",
            f"{message.outputs.heatmap_type} is not a value of HeatmapType; use {_names(pb.HeatmapType)}",
        )
    thresholds = message.thresholds
    return PoseRequest(
        boxes=_boxes(message.boxes, max_boxes),
        locate=_LOCATE[message.locate],
        joints=tuple(message.outputs.joints),
        heatmaps=message.outputs.heatmaps,
        flip_test=message.flip_test,
        joint_threshold=thresholds.joint,
        person_threshold=thresholds.person if thresholds.HasField("person") else None,
        overlap_threshold=thresholds.overlap if thresholds.HasField("overlap") else None,
        max_people=max_boxes,
    )


def _names(enum: Any) -> str:
    return ", ".join(enum.keys())


def _boxes(messages: Sequence[pb.Box], max_boxes: int) -> tuple[Box, ...]:
    if len(messages) > max_boxes:
        raise InvalidInput(
            "boxes",
            f"{len(messages):,} boxes are more than the limit of {max_boxes:,} a picture; "
            "send them in several requests, or raise max_boxes",
        )
    boxes = []
    for i, box in enumerate(messages):
        try:
            boxes.append(Box(box.x, box.y, box.width, box.height, box.angle))
        except ValueError as error:
            name, reason = str(error).split(" ", 1)
            raise InvalidInput(f"boxes[{i}].{name}", reason) from None
    return tuple(boxes)


def image_reader(image: pb.Image, max_pixels: int) -> ReadImage:
    """What decodes a picture, for a thread to call.

    Raises:
        InvalidInput: there is no picture; what is wrong inside it shows when it is read.
    """
    match image.WhichOneof("source"):
        case "encoded":
            return lambda reserve: decode_image(image.encoded, max_pixels, reserve)
        case "raw":
            raw = image.raw
            known = raw.format in pb.PixelFormat.values()
            name = pb.PixelFormat.Name(raw.format) if known else str(raw.format)
            # Its pixels are in memory already, in the message, which the limits bound.
            return lambda _: raw_image(raw.data, raw.height, raw.width, name, max_pixels)
        case _:
            raise InvalidInput(
                "image", "is missing; set image.encoded to the bytes of a JPEG, PNG, WebP or BMP file, or set image.raw"
            )


def check_answer_size(
    people: int, request: PoseRequest, kind: pb.HeatmapType, manifest: Manifest, max_message_mb: int
) -> None:
    """Refuse heatmaps that no answer can carry.

    Args:
        people: whose heatmaps they are. With given boxes they are known before any work is done; how many a detector
            finds shows when it has found them.
        request, kind, manifest: how many joints and bytes they have each.
        max_message_mb: size of a message.

    Raises:
        InvalidInput: names `outputs.heatmaps`.
    """
    if not request.heatmaps:
        return
    maps = people * (len(request.joints) or len(manifest.skeleton.joints))
    size = maps * math.prod(manifest.heatmap_size) * _DTYPES[kind].itemsize
    if size > 0.95 * max_message_mb * 1024 * 1024:  # the rest of an answer takes its room too
        raise InvalidInput(
            "outputs.heatmaps",
            f"{size / 1024 / 1024:.0f} MB of heatmaps of {people} people do not fit into a message of "
            f"{max_message_mb} MB; ask for fewer boxes or joints or for heatmap_type UINT8, or raise max_message_mb on "
            "both ends",
        )


def to_response(prediction: Prediction, kind: pb.HeatmapType) -> pb.PredictResponse:
    """The answer for one picture, its heatmaps (where there are any) in the type asked for."""
    timings = prediction.timings
    return pb.PredictResponse(
        request_id=prediction.request_id,
        timestamp_s=prediction.timestamp_s,
        image_height=prediction.image_size[0],
        image_width=prediction.image_size[1],
        persons=[_person(pose, kind) for pose in prediction.poses],
        model=_ref(prediction.model),
        detector=None if prediction.detector is None else _ref(prediction.detector),
        provider=prediction.provider,
        timings=pb.Timings(
            decode=timings.decode, queue=timings.queue, inference=timings.inference, total=timings.total
        ),
    )


def _person(pose: Pose, kind: pb.HeatmapType) -> pb.Person:
    box = pose.box
    return pb.Person(
        box=pb.Box(x=box.x, y=box.y, width=box.width, height=box.height, angle=box.angle),
        score=pose.score,
        presence=pose.presence,
        joints=[pb.Joint(name=joint.name, x=joint.x, y=joint.y, score=joint.score) for joint in pose],
        heatmaps=None if pose.heatmaps is None else encode_heatmaps(pose.heatmaps, kind),
    )


def encode_heatmaps(heatmaps: Heatmaps, kind: pb.HeatmapType) -> pb.Heatmaps:
    """Heatmaps as little-endian bytes in C order.

    Args:
        heatmaps: [J, rows, columns], non-negative.
        kind: FLOAT16, FLOAT32, or UINT8: value = byte x scale, a joint's highest value being byte 255.
    """
    values, scale = heatmaps.values, np.zeros(0, np.float32)
    if kind == pb.UINT8:
        scale = (values.max(axis=(1, 2)) / 255).astype(np.float32)
        divisor = np.where(scale > 0, scale, 1)[:, None, None]
        values = np.clip(np.rint(values / divisor), 0, 255)
    return pb.Heatmaps(
        type=kind,
        shape=values.shape,
        data=values.astype(_DTYPES[kind]).tobytes(),
        scale=scale.tolist(),
        to_image=heatmaps.to_image.ravel().tolist(),
    )


def _ref(ref: ModelRef) -> pb.ModelRef:
    return pb.ModelRef(name=ref.name, version=ref.version, sha256=ref.sha256)


def to_detector(detector: DetectorModel, is_default: bool) -> pb.Model:
    """A loaded detector's description."""
    manifest = detector.manifest
    return pb.Model(
        ref=_ref(detector.ref),
        kind=pb.DETECTOR,
        state=pb.READY,
        licence=manifest.weights_licence,
        manifest_json=manifest.dumps(),
        is_default=is_default,
    )


def to_model(model: PoseModel, is_default: bool) -> pb.Model:
    """A loaded pose model's description."""
    manifest = model.manifest
    return pb.Model(
        ref=_ref(model.ref),
        kind=pb.POSE,
        state=pb.READY,
        licence=manifest.weights_licence,
        joints=manifest.skeleton.joints,
        manifest_json=manifest.dumps(),
        is_default=is_default,
    )


_KINDS = {"pose": pb.POSE, "detector": pb.DETECTOR, "": pb.MODEL_KIND_UNSPECIFIED}


def to_entry(entry: Entry) -> pb.Model:
    """What is known of a model that is not ready."""
    manifest = entry.manifest
    return pb.Model(
        ref=pb.ModelRef(name=entry.name, version=entry.version, sha256=entry.sha256),
        kind=_KINDS[entry.kind],
        state=entry.state.name,
        reason=entry.reason,
        licence=manifest.weights_licence if manifest else "",
        joints=manifest.skeleton.joints if isinstance(manifest, Manifest) else (),
        manifest_json=manifest.dumps() if manifest else "",
    )
