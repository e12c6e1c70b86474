"""What a detector's file says of itself, and how files that others wrote are to be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from poseglass_core.geometry import fitting_size
from poseglass_core.manifest import FORMAT, WORDS, ManifestError, checked_json, read_json

OWN = "poseglass"
"""The adapter of files that keep the project's own contract, which have a parity record."""

OUTPUTS = {OWN: ("boxes", "scores"), "yolox": ("output",), "mmdeploy": ("dets", "labels")}
"""Adapter -> names of the graph's outputs, where the manifest does not give others."""

YOLOX_ONLY = ("strides", "decoded")
"""Settings of adapter "yolox" alone."""

SIDES = ("height", "width")

MOST_CLOSER = 2
"""Sides of the larger input over the usual one's; it costs the square of that in time and memory."""

OVERLAP = 0.6
"""IoU of two boxes from which the less certain one is dropped, where the manifest does not say."""


@dataclass(frozen=True)
class AdapterSettings:
    """How a picture becomes a detector's input, and which of its answers are people.

    Attributes:
        class_index: the class that is "person".
        strides: input pixels a cell, of each grid in the order of the outputs; "yolox" only.
        decoded: whether the graph itself turns offsets into pixels (YOLOX's `--decode_in_inference`); "yolox" only.
        channels: "rgb" or "bgr", the order of the input's channels.
        mean, std: the input is (value 0 ... 255 - mean) / std, one a channel in the order of `channels`.
        placement: "centre" or "top-left": where the scaled picture lies in the input.
        pad: value of the border, 0 ... 255.
    """

    class_index: int = 0
    strides: tuple[int, ...] = (8, 16, 32)
    decoded: bool = False
    channels: str = "bgr"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    placement: str = "top-left"
    pad: int = 114

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in a manifest."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AdapterSettings:
        """Inverse of `to_json`; what is missing has its default."""
        settings: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}
        return cls(**settings)


OWN_SETTINGS = AdapterSettings(channels="rgb", placement="centre", pad=0)
"""Of the project's own contract; normalisation is inside the graph."""


@cache
def detector_schema() -> dict[str, Any]:
    """The JSON schema that every detector's manifest is checked against."""
    text = resources.files("poseglass_core").joinpath("detector.schema.json").read_text("utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class DetectorManifest:
    """A person detector's description.

    Attributes:
        name: what requests call it.
        version: positive integer.
        architecture: the network's name.
        input_size: (height, width) of the input, or of the largest but for `closer`.
        threshold: score from which a box is a person; selected on pictures that were not trained on.
        overlap: IoU of two boxes from which the less certain one is dropped.
        outputs: names of the graph's outputs, in the order that the adapter reads them.
        adapter: "poseglass" (the project's own contract), "yolox" or "mmdeploy".
        adapter_settings: for the two foreign adapters.
        step: the graph takes any input up to `input_size` whose sides are multiples of it, so that pictures that are
            not square need less of a border; None: `input_size` alone.
        closer: (height, width), multiples of `step`, of a larger input, in which people are looked for who are small in
            their picture, where nobody was found; None: there is none.
        precision: of the weights, e.g. "float32".
        training: data sets with licences, preset, seed, commit, epochs.
        evaluation: results, each {data, protocol, ...}.
        parity: the export gate's figures; empty where the gate never ran.
        weights_licence: what the weights may be used for.
    """

    name: str
    version: int
    architecture: str
    input_size: tuple[int, int]
    threshold: float
    overlap: float = OVERLAP
    outputs: tuple[str, ...] = OUTPUTS[OWN]
    adapter: str = OWN
    adapter_settings: AdapterSettings = OWN_SETTINGS
    step: int | None = None
    closer: tuple[int, int] | None = None
    precision: str = "float32"
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: tuple[Mapping[str, Any], ...] = ()
    parity: Mapping[str, Any] = field(default_factory=dict)
    weights_licence: str = "unknown"

    def size_for(self, height: int, width: int, closer: bool = False) -> tuple[int, int]:
        """(height, width) of the input that a picture of some height and width is scaled into.

        Args:
            height, width: of the picture.
            closer: of the larger input, where there is one.
        """
        largest = self.closer if closer and self.closer is not None else self.input_size
        return fitting_size(height, width, largest, self.step)

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in a file's metadata or beside a foreign file."""
        settings = {
            name: value
            for name, value in self.adapter_settings.to_json().items()
            if self.adapter == "yolox" or name not in YOLOX_ONLY
        }
        return {
            "format": FORMAT,
            "kind": "detector",
            "name": self.name,
            "version": self.version,
            "architecture": self.architecture,
            "precision": self.precision,
            "input": {
                "height": self.input_size[0],
                "width": self.input_size[1],
                **({} if self.step is None else {"step": self.step}),
                **({} if self.closer is None else {"closer": dict(zip(SIDES, self.closer, strict=True))}),
            },
            "outputs": list(self.outputs),
            "threshold": self.threshold,
            "overlap": self.overlap,
            "adapter": self.adapter,
            **({} if self.adapter == OWN else {"adapter_settings": settings}),
            "training": dict(self.training),
            "evaluation": [dict(row) for row in self.evaluation],
            "parity": dict(self.parity),
            "weights_licence": self.weights_licence,
        }

    def dumps(self) -> str:
        """`to_json` as text."""
        return json.dumps(self.to_json(), ensure_ascii=False)


def manifest_kind(text: str) -> str:
    """The kind of model that a manifest describes: "pose" or "detector".

    Raises:
        ManifestError: it is not JSON, or of no kind that is known here.
    """
    value = read_json(text)
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in WORDS:
        raise ManifestError(f"kind: must be {' or '.join(map(repr, WORDS))}, not {kind!r}")
    return kind


def parse_detector_manifest(text: str) -> DetectorManifest:
    """Read and check a detector's manifest.

    Raises:
        ManifestError: it is not JSON, describes a pose model, breaks the schema, or contradicts itself.
    """
    value = checked_json(text, "detector", detector_schema())
    adapter = value.get("adapter", OWN)
    outputs = tuple(value.get("outputs", OUTPUTS[adapter]))
    if len(outputs) != len(OUTPUTS[adapter]):
        raise ManifestError(f"outputs: adapter {adapter!r} reads {len(OUTPUTS[adapter])}, not {len(outputs)}")
    settings = value.get("adapter_settings", {})
    if not value.get("parity"):  # written by hand; an exported file may be newer than this code and know more fields
        _require_known(value)
    if idle := [name for name in YOLOX_ONLY if name in settings and adapter != "yolox"]:
        raise ManifestError(f"adapter_settings.{idle[0]}: is for adapter 'yolox', not for {adapter!r}; leave it out")
    if adapter == OWN and settings:
        raise ManifestError(f"adapter_settings: adapter {OWN!r} has none; leave them out, or name another adapter")
    if adapter == OWN and outputs != OUTPUTS[OWN]:
        raise ManifestError(f"outputs: adapter {OWN!r} reads {', '.join(OUTPUTS[OWN])}, not {', '.join(outputs)}")
    step, sides = value["input"].get("step"), _sides(value["input"])
    closer = _sides(value["input"]["closer"]) if "closer" in value["input"] else None
    for name, given in (("step", step), ("closer", closer)):
        if given is not None and adapter != OWN:
            raise ManifestError(f"input.{name}: is for adapter {OWN!r}, not for {adapter!r}; leave it out")
    if step is not None and any(side % step for side in sides):
        raise ManifestError(f"input.step: height and width must be multiples of it, but {sides} are none of {step}")
    if closer is not None:
        _check_closer(closer, sides, step)
    return DetectorManifest(
        name=value["name"],
        version=value["version"],
        architecture=value.get("architecture", "unknown"),
        input_size=sides,
        threshold=value["threshold"],
        overlap=value.get("overlap", OVERLAP),
        outputs=outputs,
        adapter=adapter,
        adapter_settings=OWN_SETTINGS if adapter == OWN else AdapterSettings.from_json(settings),
        step=step,
        closer=closer,
        precision=value.get("precision", "float32"),
        training=value.get("training", {}),
        evaluation=tuple(value.get("evaluation", ())),
        parity=value.get("parity", {}),
        weights_licence=value.get("weights_licence", "unknown"),
    )


def _check_closer(closer: tuple[int, int], sides: tuple[int, int], step: int | None) -> None:
    if step is None:
        raise ManifestError("input.closer: needs input.step, which its sides are multiples of; add it")
    if any(side % step for side in closer):
        raise ManifestError(f"input.closer: its sides must be multiples of input.step ({step}), but are {closer}")
    if any(not usual <= side <= MOST_CLOSER * usual for side, usual in zip(closer, sides, strict=True)):
        raise ManifestError(
            f"input.closer: its sides must be one to {MOST_CLOSER} times the input's, {sides}, not {closer}"
        )


def _sides(value: Mapping[str, int]) -> tuple[int, int]:
    height, width = (value[name] for name in SIDES)
    return height, width


def _require_known(value: Mapping[str, Any]) -> None:
    """ManifestError where a field is misspelt, which would leave it at its default."""
    schema = detector_schema()["properties"]
    for prefix, part, known in (("", value, schema), ("input.", value["input"], schema["input"]["properties"])):
        if unknown := sorted(part.keys() - known.keys()):
            raise ManifestError(f"{prefix}{unknown[0]}: there is no such field; there are: {', '.join(known)}")
