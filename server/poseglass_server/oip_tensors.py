"""Tensors of the Open Inference Protocol to arrays and back, and every check of theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_proto.oip import inference_pb2 as pb
from poseglass_server.limits import Limits
from poseglass_server.served import DetectorModel, PoseModel

ReadImages = Callable[[], NDArray[np.uint8]]
"""The values of the input `image`, [N, H, W, 3]; InvalidInput where one of them is none."""

FREE = -1
"""In a shape: any size."""

LONGEST_SHAPE = 8
"""Sizes of a shape that an error shows."""

_REFUSED_PARAMETERS = ("classification", "shared_memory_region")
"""Of other servers' extensions: they ask for something else than the tensor itself, so they are not passed over."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: in the model's contract.
        datatype: of the protocol.
        shape: sizes; the first is how many crops or pictures there are.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_message(self) -> pb.ModelMetadataResponse.TensorMetadata:
        """Its description."""
        return pb.ModelMetadataResponse.TensorMetadata(name=self.name, datatype=self.datatype, shape=self.shape)

    def size_of(self, count: int) -> int:
        """Bytes for so many crops; sizes that show only when the model has run count as nothing."""
        return 4 * count * max(math.prod(self.shape[1:]), 0)


def input_of(model: PoseModel | DetectorModel) -> Tensor:
    """The one input of a model's contract."""
    return Tensor("image", "UINT8", (FREE, *model.manifest.input_size, 3))


def outputs_of(model: PoseModel | DetectorModel) -> tuple[Tensor, ...]:
    """The outputs of a model's contract; those of a detector of other makers are what its adapter reads."""
    of_detectors: dict[str, tuple[int, ...]] = {"boxes": (FREE, 4), "scores": (FREE,)}
    shapes = model.manifest.output_shapes if isinstance(model, PoseModel) else of_detectors
    return tuple(Tensor(name, "FP32", (FREE, *shape)) for name, shape in shapes.items())


def images_reader(request: pb.ModelInferRequest, takes: Tensor, most: int) -> tuple[int, ReadImages]:
    """How many crops a request holds, and what reads them, for a thread to call.

    Args:
        request: its inputs are checked in all that can be checked without looking at each value.
        takes: the model's input.
        most: crops a request.

    Raises:
        InvalidInput: names the field.
    """
    given = _only_input(request.inputs, takes)
    shape = _checked_shape(given.shape, takes, most)
    values = [field.name for field, _ in given.contents.ListFields()]
    raw = request.raw_input_contents
    if raw and values:
        raise InvalidInput("raw_input_contents", "and inputs[0].contents are both given; leave one of them out")
    if len(raw) > 1:
        raise InvalidInput("raw_input_contents", f"has {len(raw):,} entries for 1 input; give one an input")
    if raw:
        return shape[0], lambda: _raw_values(raw, shape)
    if not values:
        raise InvalidInput("inputs[0].contents", "is missing; set uint_contents, or raw_input_contents of the request")
    if values != ["uint_contents"]:
        wrong = next(name for name in values if name != "uint_contents")
        raise InvalidInput(f"inputs[0].contents.{wrong}", "does not hold UINT8; set uint_contents alone")
    return shape[0], lambda: _typed_values(given.contents.uint_contents, shape)


def _only_input(
    inputs: Sequence[pb.ModelInferRequest.InferInputTensor], takes: Tensor
) -> pb.ModelInferRequest.InferInputTensor:
    wanted = f"`{takes.name}`, {takes.datatype} [N, {', '.join(map(str, takes.shape[1:]))}]"
    if not inputs:
        raise InvalidInput("inputs", f"is empty; the model takes {wanted}")
    for i, tensor in enumerate(inputs):
        if tensor.name != takes.name:
            raise InvalidInput(f"inputs[{i}].name", f"{tensor.name!r} is no input of the model, which takes {wanted}")
        if i:
            raise InvalidInput(f"inputs[{i}].name", f"{tensor.name!r} is given twice; give it once")
        _check_parameters(tensor.parameters, f"inputs[{i}]")
        if tensor.datatype != takes.datatype:
            raise InvalidInput(f"inputs[{i}].datatype", f"{tensor.datatype!r} will not do; the model takes {wanted}")
    return inputs[0]


def _checked_shape(given: Sequence[int], takes: Tensor, most: int) -> tuple[int, ...]:
    if len(given) != len(takes.shape) or given[0] < 1 or tuple(given[1:]) != takes.shape[1:]:
        raise InvalidInput(
            "inputs[0].shape",
            f"{_text(given)} will not do; it must be [N, {', '.join(map(str, takes.shape[1:]))}], N from 1 to {most:,}",
        )
    if given[0] > most:
        raise InvalidInput(
            "inputs[0].shape",
            f"{given[0]:,} crops are more than the limit of {most:,} a request; "
            "send them in several requests, or raise max_boxes",
        )
    return tuple(given)


def _raw_values(raw: Sequence[bytes], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    data = raw[0]  # a copy, so it is made here, in a thread, and not before
    if len(data) != math.prod(shape):
        raise InvalidInput(
            "raw_input_contents[0]", f"has {len(data):,} bytes; UINT8 {_text(shape)} has {math.prod(shape):,}"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _typed_values(values: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if len(values) != math.prod(shape):
        raise InvalidInput(
            "inputs[0].contents.uint_contents",
            f"has {len(values):,} values; UINT8 {_text(shape)} has {math.prod(shape):,}",
        )
    images = np.empty(shape, np.uint8)
    each = math.prod(shape[1:])
    for i, image in enumerate(images):  # one at a time: other threads may run in between
        part = values[i * each : (i + 1) * each]
        try:
            image[:] = np.frombuffer(bytes(part), np.uint8).reshape(image.shape)
        except ValueError:
            at = next(j for j, value in enumerate(part) if value > 255)
            raise InvalidInput(
                "inputs[0].contents.uint_contents",
                f"value {i * each + at:,} is {part[at]:,}; UINT8 goes from 0 to 255",
            ) from None
    return images


def asked_outputs(
    asked: Sequence[pb.ModelInferRequest.InferRequestedOutputTensor], gives: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The outputs that a request asks for, in its order; all where it names none.

    Raises:
        InvalidInput: the model does not have one, or one is asked for twice; names the field.
    """
    by_name = {tensor.name: tensor for tensor in gives}
    chosen: dict[str, Tensor] = {}
    for i, output in enumerate(asked):
        if output.name not in by_name:
            raise InvalidInput(
                f"outputs[{i}].name", f"{output.name!r} is no output of the model, which gives {', '.join(by_name)}"
            )
        if output.name in chosen:
            raise InvalidInput(f"outputs[{i}].name", f"{output.name!r} is asked for twice; ask once")
        _check_parameters(output.parameters, f"outputs[{i}]")
        chosen[output.name] = by_name[output.name]
    return tuple(chosen.values()) or tuple(gives)


def _check_parameters(parameters: Mapping[str, Any], where: str) -> None:
    for name in _REFUSED_PARAMETERS:
        if name in parameters:
            raise InvalidInput(f"{where}.parameters", f"{name} is of an extension that this server does not have")


def check_answer_size(size: int, count: int, limits: Limits) -> None:
    """Refuse outputs that no answer can carry.

    Args:
        size: bytes of all of them.
        count: crops whose they are.
        limits: how large a message may be.

    Raises:
        InvalidInput: names `outputs`.
    """
    if size > 0.95 * limits.max_message_bytes:  # names and shapes take their room too
        raise InvalidInput(
            "outputs",
            f"{size / 1024 / 1024:.0f} MB for {count:,} crops do not fit into a message of {limits.max_message_mb} MB; "
            "send fewer crops a request, ask for fewer outputs, or raise max_message_mb on both ends",
        )


def add_outputs(response: pb.ModelInferResponse, values: Mapping[str, NDArray[np.float32]]) -> None:
    """Put arrays into an answer, as raw contents."""
    for name, array in values.items():
        response.outputs.add(name=name, datatype="FP32", shape=array.shape)
        response.raw_output_contents.append(array.astype("<f4", copy=False).tobytes())


def _text(shape: Sequence[int]) -> str:
    shown = ", ".join(map(str, shape[:LONGEST_SHAPE]))
    return f"[{shown}, … {len(shape):,} sizes]" if len(shape) > LONGEST_SHAPE else f"[{shown}]"
