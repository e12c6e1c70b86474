"""Detector checkpoint to verified ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from poseglass_core.detector_manifest import DetectorManifest, parse_detector_manifest
from poseglass_core.files import write_whole
from poseglass_export.detector_gate import check_detector_parity
from poseglass_export.exporting import GATE_SEED, gate_pictures
from poseglass_export.gate import MINIMUM_PICTURES
from poseglass_export.graph import OPSET, trace, with_manifest
from poseglass_training.detection.checkpoint import DetectorCheckpoint, load_detector_checkpoint
from poseglass_training.detection.network import ServedDetector

OTHERS = 8
"""Pictures that each of the other inputs is compared on."""

CLOSER = 1.4
"""Size of the input in which small people are looked for, over the usual one."""


def detector_manifest_of(checkpoint: DetectorCheckpoint, name: str, version: int = 1) -> DetectorManifest:
    """The manifest of a detector's checkpoint.

    Args:
        checkpoint: the weights and their origin.
        name: what requests call the detector.
        version: positive integer.
    """
    data = checkpoint.training.get("data", [])
    licences = "; ".join(f"{part['name']}: {part['licence']}" for part in data)
    size, step = checkpoint.config.input_size, checkpoint.config.step
    return DetectorManifest(
        name=name,
        version=version,
        architecture="centre points on an hourglass",
        input_size=size,
        step=step,
        closer=None if step is None else (_closer(size[0], step), _closer(size[1], step)),
        threshold=checkpoint.threshold,
        training={**checkpoint.training, "epoch": checkpoint.epoch},
        evaluation=tuple(checkpoint.evaluation),
        weights_licence=f"as the data they were trained on ({licences})" if licences else "unknown",
    )


def _closer(side: int, step: int) -> int:
    return round(CLOSER * side / step) * step


def other_sizes(manifest: DetectorManifest) -> list[tuple[int, int]]:
    """(height, width) of all inputs that pictures may be scaled into, but for the usual one."""
    step = manifest.step
    if step is None:
        return []
    sizes = [] if manifest.closer is None else [manifest.closer]
    for height, width in (manifest.input_size, *sizes):
        sizes += [(side, width) for side in range(step, height, step)]
        sizes += [(height, side) for side in range(step, width, step)]
    return sizes


def export_detector(
    checkpoint: str | Path,
    out: str | Path,
    name: str | None = None,
    version: int = 1,
    licence: str | None = None,
    measure: Callable[[Path], Mapping[str, Any]] | None = None,
) -> DetectorManifest:
    """Write a detector's checkpoint as one ONNX file that carries its manifest and the proof that it is right.

    Args:
        checkpoint: from the trainer.
        out: the file to write; a crash or a refusal leaves what was there.
        name: what requests will call the detector; default: the file's name.
        version: positive integer.
        licence: what the weights may be used for; default: that of the training data.
        measure: from a verified file to a row of the manifest's `evaluation`.

    Returns:
        The manifest in the file.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ManifestError: the name or version will not do.
        ParityError: the graph does not compute what the checkpoint does; nothing is written.
    """
    out = Path(out)
    loaded = load_detector_checkpoint(checkpoint).rounded()
    manifest = detector_manifest_of(loaded, name or out.stem, version)
    if licence:
        manifest = replace(manifest, weights_licence=licence)
    parse_detector_manifest(manifest.dumps())  # before the work: a bad name should not cost a minute
    model = ServedDetector(loaded.network()).eval()
    graph = trace(model, manifest)
    pictures = gate_pictures(MINIMUM_PICTURES, loaded.config.input_size, 1.25)
    large = gate_pictures(OTHERS, manifest.closer or manifest.input_size, 1.25)
    others = [large[:, :height, :width] for height, width in other_sizes(manifest)]
    parity = check_detector_parity(model, with_manifest(graph, manifest), pictures, others)
    manifest = replace(manifest, parity={**parity.to_json(), "opset": OPSET, "seed": GATE_SEED})
    if measure is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "detector.onnx"
            path.write_bytes(with_manifest(graph, manifest))
            manifest = replace(manifest, evaluation=(dict(measure(path)),))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, with_manifest(graph, manifest))
    return manifest
