"""Checkpoint to verified ONNX file."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.files import write_whole
from poseglass_core.geometry import crop_affine, warp
from poseglass_core.manifest import Manifest, parse_manifest
from poseglass_export.gate import MINIMUM_PICTURES, check_parity
from poseglass_export.graph import OPSET, trace, with_manifest
from poseglass_runtime.engine import load_engine
from poseglass_runtime.predictor import Predictor
from poseglass_training.annotations import KeypointData
from poseglass_training.checkpoint import load_checkpoint
from poseglass_training.evaluation import evaluate
from poseglass_training.manifests import manifest_of
from poseglass_training.served import served_model
from poseglass_training.synthetic import render_figure

GATE_SEED = 20_161_008


def export_model(
    checkpoint: str | Path,
    out: str | Path,
    name: str | None = None,
    version: int = 1,
    licence: str | None = None,
    test: KeypointData | None = None,
) -> Manifest:
    """Write a checkpoint as one ONNX file that carries its manifest and the proof that it is right.

    Args:
        checkpoint: from the trainer.
        out: the file to write; a crash or a refusal leaves what was there.
        name: what requests will call the model; default: the file's name.
        version: positive integer.
        licence: what the weights may be used for; default: that of the training data.
        test: people to measure the exported graph on, box given; the figures replace the checkpoint's own.

    Returns:
        The manifest in the file.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ManifestError: the name or version will not do.
        AnnotationError: nobody in `test` can be measured.
        ParityError: the graph does not compute what the checkpoint does; nothing is written.
    """
    out = Path(out)
    loaded = load_checkpoint(checkpoint)
    manifest = manifest_of(loaded, name or out.stem, version)
    if licence:
        manifest = replace(manifest, weights_licence=licence)
    parse_manifest(manifest.dumps())  # before the work: a bad name should not cost a minute
    model = served_model(loaded)
    graph = trace(model, manifest)
    crops = gate_pictures(MINIMUM_PICTURES, loaded.config.input_size, loaded.box_padding)
    parity = check_parity(model, with_manifest(graph, manifest), crops)
    manifest = replace(manifest, parity={**parity.to_json(), "opset": OPSET, "seed": GATE_SEED})
    if test is not None:
        manifest = replace(manifest, evaluation=(_measure(with_manifest(graph, manifest), test),))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, with_manifest(graph, manifest))
    return manifest


def _measure(graph: bytes, test: KeypointData) -> dict[str, Any]:
    """The manifest's row about a graph's accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        row = evaluate(Predictor(load_engine(path, device="cpu")).predict, test).to_json()
    return {
        key: row[key] for key in ("data", "protocol", "pck", "interval", "per_joint", "people", "left_out", "scores")
    }


def gate_pictures(count: int, size: tuple[int, int], padding: float) -> NDArray[np.uint8]:
    """Crops of rendered people and, for every fourth, noise: inputs the network knows and inputs it does not.

    Args:
        count: of pictures.
        size: (height, width) of the crops.
        padding: crop size over box size.

    Returns:
        [count, height, width, 3] uint8.
    """
    crops = np.empty((count, *size, 3), np.uint8)
    for i in range(count):
        rng = np.random.default_rng((GATE_SEED, i))
        if i % 4 == 3:
            crops[i] = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        else:
            figure = render_figure(rng, size)
            crops[i] = warp(figure.image, crop_affine(figure.box, size, padding), size)
    return crops
