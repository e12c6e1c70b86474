"""What a model file says of itself: one JSON object in its metadata, under `poseglass.manifest`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator, validators

from poseglass_core.calibration import Calibration
from poseglass_core.decode import DECODER
from poseglass_core.skeleton import Skeleton

FORMAT = "poseglass.manifest/1"
METADATA_KEY = "poseglass.manifest"

WORDS = {"pose": "pose model", "detector": "detector"}
"""What a `kind` is called in messages."""

REMEDIES = {
    "pose": "pose models are named with --model",
    "detector": "detectors are named with --detector",
}
"""Where a file of each `kind` belongs."""


class ManifestError(ValueError):
    """A manifest that is missing, malformed or inconsistent; the message names the field."""


@cache
def schema() -> dict[str, Any]:
    """The JSON schema that every pose model's manifest is checked against."""
    text = resources.files("poseglass_core").joinpath("manifest.schema.json").read_text("utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Manifest:
    """A pose model's description.

    Attributes:
        name: what requests call it.
        version: positive integer.
        architecture: the network's name.
        skeleton: joints in heatmap order, limbs, flip pairs, angles, PCK reference, sigmas.
        input_size: (height, width) of the crops.
        box_padding: crop size over box size.
        stride: crop pixels a heatmap cell.
        outputs: names of the graph's outputs.
        heatmap_activation: "softmax" (each map sums to 1), "sigmoid" or "clip" (each cell 0 ... 1).
        decoder: {"name", "epsilon"} of the decoder in the graph; "smoothing": how far, in cells, the heatmaps that it
            decodes, which are those that are returned, were smoothed before.
        score: {"meaning": "peak" or "calibrated", "calibration": of `Calibration`, where calibrated}.
        precision: of the weights, e.g. "float32".
        training: data sets with licences, preset, seed, commit, epochs.
        evaluation: results, each {data, protocol, pck, per_joint, interval}.
        parity: the export gate's figures; empty where the gate never ran.
        weights_licence: what the weights may be used for.
    """

    name: str
    version: int
    architecture: str
    skeleton: Skeleton
    input_size: tuple[int, int]
    box_padding: float
    stride: int
    outputs: tuple[str, ...]
    heatmap_activation: str
    decoder: Mapping[str, Any]
    score: Mapping[str, Any]
    precision: str = "float32"
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: tuple[Mapping[str, Any], ...] = ()
    parity: Mapping[str, Any] = field(default_factory=dict)
    weights_licence: str = "unknown"

    @property
    def calibration(self) -> Calibration | None:
        """How the graph turns heatmaps into scores; None where scores are the heatmaps' peaks."""
        return Calibration.from_json(self.score["calibration"]) if self.score["meaning"] == "calibrated" else None

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.input_size[0] // self.stride, self.input_size[1] // self.stride

    @property
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each of `outputs`, for one crop."""
        joints = len(self.skeleton.joints)
        shapes = {"heatmaps": (joints, *self.heatmap_size), "joints": (joints, 2), "scores": (joints,), "presence": ()}
        return {name: shapes[name] for name in self.outputs}

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in a file's metadata."""
        return {
            "format": FORMAT,
            "kind": "pose",
            "name": self.name,
            "version": self.version,
            "architecture": self.architecture,
            "precision": self.precision,
            **self.skeleton.to_json(),
            "input": {"height": self.input_size[0], "width": self.input_size[1]},
            "box_padding": self.box_padding,
            "stride": self.stride,
            "outputs": list(self.outputs),
            "heatmap_activation": self.heatmap_activation,
            "decoder": dict(self.decoder),
            "score": dict(self.score),
            "training": dict(self.training),
            "evaluation": [dict(row) for row in self.evaluation],
            "parity": dict(self.parity),
            "weights_licence": self.weights_licence,
        }

    def dumps(self) -> str:
        """`to_json` as text."""
        return json.dumps(self.to_json(), ensure_ascii=False)


def read_json(text: str) -> Any:
    """A manifest's JSON, unchecked.

    Raises:
        ManifestError: it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise ManifestError(f"the manifest is not JSON ({error})") from None


def _is_integer(_: object, value: object) -> bool:
    """JSON Schema takes 1.0 for an integer; here it would become the index or the size of an array."""
    return type(value) is int


def _is_number(_: object, value: object) -> bool:
    """NaN, which Python's JSON has, would be within all bounds of a schema."""
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


_Validator = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number}),
)


def checked_json(text: str, kind: str, rules: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's JSON object, checked against its schema.

    Args:
        text: the manifest.
        kind: "pose" or "detector": what is wanted.
        rules: the schema of that kind.

    Raises:
        ManifestError: it is not JSON, is of another kind, or breaks the schema.
    """
    value = read_json(text)
    other = value.get("kind") if isinstance(value, dict) else None
    if isinstance(other, str) and other in REMEDIES and other != kind:
        raise ManifestError(f"kind: this is a {WORDS[other]}, where a {WORDS[kind]} is wanted; {REMEDIES[other]}")
    broken = sorted(_Validator(rules).iter_errors(value), key=lambda e: list(map(str, e.absolute_path)))
    if broken:
        where = ".".join(str(part) for part in broken[0].absolute_path) or "manifest"
        raise ManifestError(f"{where}: {broken[0].message[:300]}")
    return value  # type: ignore[no-any-return]


def parse_manifest(text: str) -> Manifest:
    """Read and check a pose model's manifest.

    Raises:
        ManifestError: it is not JSON, describes a detector, breaks the schema, or contradicts itself.
    """
    value = checked_json(text, "pose", schema())
    try:
        skeleton = Skeleton.from_json(value)
    except ValueError as error:
        raise ManifestError(str(error)) from None
    size = (value["input"]["height"], value["input"]["width"])
    if any(side % value["stride"] for side in size):
        raise ManifestError(f"input: {size[0]}x{size[1]} is not a multiple of stride {value['stride']}")
    if value["decoder"]["name"] != DECODER:
        raise ManifestError(
            f"decoder.name: {value['decoder']['name']!r} is not known here; this version has {DECODER!r}"
        )
    if value["score"]["meaning"] == "calibrated":
        try:
            calibration = Calibration.from_json(value["score"]["calibration"])
        except ValueError as error:
            raise ManifestError(f"score.{error}") from None
        if len(calibration.bias) != len(skeleton.joints):
            raise ManifestError(f"score.calibration: {len(calibration.bias)} joints, not {len(skeleton.joints)}")
    return Manifest(
        name=value["name"],
        version=value["version"],
        architecture=value["architecture"],
        skeleton=skeleton,
        input_size=size,
        box_padding=value["box_padding"],
        stride=value["stride"],
        outputs=tuple(value["outputs"]),
        heatmap_activation=value["heatmap_activation"],
        decoder=value["decoder"],
        score=value["score"],
        precision=value["precision"],
        training=value["training"],
        evaluation=tuple(value["evaluation"]),
        parity=value["parity"],
        weights_licence=value["weights_licence"],
    )
