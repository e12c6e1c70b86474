"""People in a picture: a detector's file in a session, and its answers in pixels of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.detector_manifest import OWN, DetectorManifest, manifest_kind, parse_detector_manifest
from poseglass_core.geometry import Affine, corner_affine, crop_affine, invert, warp, whole_image
from poseglass_core.manifest import ManifestError
from poseglass_core.poses import ModelRef
from poseglass_runtime.adapters import Adapter, Candidates, Tensor, adapter_of
from poseglass_runtime.boxes import in_picture, suppressed
from poseglass_runtime.engine import Engine, ModelError, Opened, engine_of, open_model
from poseglass_runtime.outputs import Detections

MOST = 300
"""Candidates that are looked at, the most certain ones: what a low threshold lets through costs no more than that."""

PARITY_REMEDY = "export it with `poseglass export`, or name the `adapter` for a detector of another maker"


class DetectorEngine:
    """A loaded detector; `detect` may be called from several threads.

    Use `load_detector`.

    Attributes:
        manifest: what the model says of itself.
        ref: name, version and hash of the file.
        provider: the ONNX Runtime provider that runs.
        threads: intra-op threads.
        path: the file.
    """

    def __init__(self, opened: Opened, manifest: DetectorManifest, adapter: Adapter) -> None:
        self._session, self._adapter = opened.session, adapter
        self._input: str = opened.session.get_inputs()[0].name
        self._outputs = [tensor.name for tensor in adapter.gives]
        self.manifest, self.ref = manifest, ModelRef(manifest.name, manifest.version, opened.sha256)
        self.threads, self.path, self.provider = opened.threads, opened.path, opened.provider

    def detect(self, image: NDArray[np.uint8], threshold: float | None = None, closer: bool = False) -> Detections:
        """Find the people in a picture.

        Args:
            image: [height, width, 3] RGB, upright.
            threshold: least score of a box, 0 ... 1; None: the manifest's.
            closer: look at it in the manifest's larger input, where there is one.
        """
        size = self.manifest.size_for(image.shape[0], image.shape[1], closer)
        to_input = self._placement(image, size)
        placed = warp(image, to_input, size, self.manifest.adapter_settings.pad)
        boxes, scores = self.run(placed)
        least = self.manifest.threshold if threshold is None else threshold
        sound = (scores >= least) & np.isfinite(scores) & np.isfinite(boxes).all(axis=1)
        boxes, scores = boxes[sound], scores[sound]
        best = np.argsort(-scores, kind="stable")[:MOST]
        boxes, scores = boxes[best], np.clip(scores[best], 0, 1)
        kept = suppressed(boxes, self.manifest.overlap)
        return in_picture(boxes[kept], scores[kept], invert(to_input), (image.shape[0], image.shape[1]))

    def run(self, picture: NDArray[np.uint8]) -> Candidates:
        """All candidates of a picture of a size that the model takes, [H, W, 3] RGB, however unlikely."""
        outputs = self._session.run(self._outputs, {self._input: self._adapter.feed(picture)})
        return self._adapter.read(outputs)

    def _placement(self, image: NDArray[np.uint8], size: tuple[int, int]) -> Affine:
        """Picture pixels -> pixels of an input of that (height, width)."""
        height, width = image.shape[:2]
        if self.manifest.adapter_settings.placement == "top-left":
            return corner_affine(width, height, size)
        return crop_affine(whole_image(width, height), size, 1.0)


def load_detector(path: str | Path, device: str = "auto", threads: int | None = None) -> DetectorEngine:
    """Load a detector, check its manifest against its graph, and run it once.

    Args:
        path: ONNX file. A side-car `NAME.manifest.json` beside it replaces the manifest in its metadata; foreign files
            need one, which names the adapter.
        device, threads: as for `load_engine`.

    Raises:
        ModelError: the file, its manifest or the device will not do; the message says why.
    """
    return _detector_of(open_model(path, device, threads))


def load_model(path: str | Path, device: str = "auto", threads: int | None = None) -> Engine | DetectorEngine:
    """Load a model of whichever kind its manifest says.

    Args:
        path, device, threads: as for `load_engine`.

    Raises:
        ModelError: of `load_engine` and `load_detector`.
    """
    opened = open_model(path, device, threads)
    try:
        kind = manifest_kind(opened.manifest)
    except ManifestError as error:
        raise ModelError(f"{opened.manifest_at}: {error}") from None
    return _detector_of(opened) if kind == "detector" else engine_of(opened)


def _detector_of(opened: Opened) -> DetectorEngine:
    try:
        manifest = parse_detector_manifest(opened.manifest)
    except ManifestError as error:
        raise ModelError(f"{opened.manifest_at}: {error}") from None
    if manifest.adapter == OWN:
        opened.check_parity(manifest.parity, PARITY_REMEDY)
    adapter = adapter_of(manifest)
    _check_graph(opened, manifest, adapter)
    engine = DetectorEngine(opened, manifest, adapter)
    named = {"height and input.width": manifest.input_size, "closer": manifest.closer}
    if manifest.step is not None:
        named["step"] = (manifest.step, manifest.step)
    for name, size in named.items():
        if size is None:
            continue
        try:
            engine.run(np.zeros((*size, 3), np.uint8))
        except ValueError as error:
            raise ModelError(f"{opened.path}: does not fit adapter {manifest.adapter!r}: {error}") from None
        except Exception as error:  # onnxruntime raises many kinds, none of them public
            raise ModelError(
                f"{opened.path}: does not run on {size[1]} x {size[0]} pixels ({type(error).__name__}), as "
                f"input.{name} of its manifest has it; give what it was exported with"
            ) from None
    return engine


def _check_graph(opened: Opened, manifest: DetectorManifest, adapter: Adapter) -> None:
    """The graph has the input and the outputs that its adapter feeds and reads."""
    inputs, outputs = opened.session.get_inputs(), opened.session.get_outputs()
    by_name = {tensor.name: tensor for tensor in outputs}
    if len(inputs) != 1 or not adapter.takes.fits(inputs[0]):
        raise ModelError(
            f"{opened.path}: adapter {manifest.adapter!r} feeds one input, {adapter.takes.describe()}; the graph takes "
            f"{_listing(inputs)}; name the adapter and the input size that it was exported for"
        )
    for wanted in adapter.gives:
        if wanted.name not in by_name or not wanted.fits(by_name[wanted.name]):
            raise ModelError(
                f"{opened.path}: adapter {manifest.adapter!r} reads {', '.join(t.describe() for t in adapter.gives)}; "
                f"the graph gives {_listing(outputs)}; name the adapter, outputs and strides that it was exported with"
            )


def _listing(tensors: Any) -> str:
    """A graph's tensors as it declares them."""
    return ", ".join(Tensor(t.name, t.type, tuple(t.shape)).describe() for t in tensors) or "nothing"
