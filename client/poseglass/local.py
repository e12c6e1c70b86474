"""Prediction in this process, with the client's surface and errors. The runtime is imported only here, and late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

import poseglass_models
from poseglass import checks
from poseglass.errors import FailedPrecondition, InvalidRequest, MissingExtra, ModelNotFound
from poseglass.options import ImageLike, PredictOptions, checked, content
from poseglass_core.errors import InvalidInput, NotSupported
from poseglass_core.poses import Prediction

if TYPE_CHECKING:
    from poseglass_runtime.detector import DetectorEngine
    from poseglass_runtime.engine import Engine
    from poseglass_runtime.predictor import Predictor

Loaded = TypeVar("Loaded")


class LocalPredictor:
    """Predicts without a server: the same `predict`, the same errors. Loads each model once, when first asked for it.

    Args:
        model: shipped name or path of an ONNX file; empty: the shipped default.
        detector: likewise, for finding people; empty: the shipped one, where there is one; None: none.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: for inference; default: what this process may really use.

    Raises:
        InvalidRequest: a setting of the wrong type.
        MissingExtra: `poseglass[cpu]` (or `[gpu]`) is not installed.
    """

    def __init__(
        self, model: str = "", *, detector: str | None = "", device: str = "auto", threads: int | None = None
    ) -> None:
        with runtime():
            import poseglass_runtime.engine
            import poseglass_runtime.images  # noqa: F401
        self._model, self._device = checks.text("model", model), checks.text("device", device)
        self._detector = None if detector is None else checks.text("detector", detector)
        self._threads = (
            None if threads is None else checks.whole("threads", threads, 1, None, "a whole number of at least 1")
        )
        self._predictors: dict[str, Predictor] = {}
        self._detectors: dict[str, DetectorEngine] = {}
        self._loading = threading.Lock()

    def __enter__(self) -> LocalPredictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the loaded models."""
        self._predictors.clear()
        self._detectors.clear()

    def predict(self, image: ImageLike, **options: Unpack[PredictOptions]) -> Prediction:
        """Find the poses in one picture.

        Args:
            image: as for `PoseClient.predict`.
            **options: as for `PoseClient.predict`. `model` and `detector` may also be paths of ONNX files;
                `heatmap_type` makes no difference, since nothing travels.

        Raises:
            InvalidRequest: the picture or an option cannot be used.
            ModelNotFound: no such model, or not of that version.
            FailedPrecondition: the model or the device will not do, or people are to be detected and there is no
                detector.
        """
        wanted = checked(options)
        predictor = self.predictor(wanted.model)
        ref = predictor.ref
        if wanted.version not in (0, ref.version):
            raise ModelNotFound(f"{ref.name!r} is here in version {ref.version}, not {wanted.version}")
        detector = self.detector(wanted.detector) if wanted.detector or not wanted.pose.boxes else None
        try:
            prediction = predictor.predict(decode(image), wanted.pose, detector)
        except InvalidInput as error:
            raise InvalidRequest(error.field, error.reason) from None
        except NotSupported as error:
            raise FailedPrecondition(str(error)) from None
        return Prediction(
            poses=prediction.poses,
            image_size=prediction.image_size,
            model=prediction.model,
            provider=prediction.provider,
            timings=prediction.timings,
            request_id=wanted.request_id,
            timestamp_s=wanted.timestamp_s,
            detector=prediction.detector,
        )

    def predictor(self, model: str = "") -> Predictor:
        """The predictor of one model, loaded where it is not.

        Args:
            model: name or path; empty: this object's.

        Raises:
            ModelNotFound, FailedPrecondition: there is none, or it cannot be loaded.
        """
        from poseglass_runtime.predictor import Predictor

        name = model or self._model or poseglass_models.DEFAULT
        with self._loading:
            if name not in self._predictors:
                self._predictors[name] = Predictor(load(name, self._device, self._threads))
            return self._predictors[name]

    def detector(self, detector: str = "") -> DetectorEngine | None:
        """One detector, loaded where it is not.

        Args:
            detector: name or path; empty: this object's.

        Returns:
            None where this object has none and none is named.

        Raises:
            ModelNotFound, FailedPrecondition: there is none such, or it cannot be loaded.
        """
        name = detector or (None if self._detector is None else self._detector or poseglass_models.detector())
        if name is None:
            return None
        with self._loading:
            if name not in self._detectors:
                self._detectors[name] = load_detector(name, self._device, self._threads)
            return self._detectors[name]


def load(model: str, device: str = "auto", threads: int | None = None) -> Engine:
    """Load a pose model named as on the command line.

    Raises:
        MissingExtra, ModelNotFound, FailedPrecondition: with the remedy.
    """
    with runtime():
        from poseglass_runtime.engine import load_engine
    return _loaded(load_engine, model, device, threads)


def load_detector(detector: str, device: str = "auto", threads: int | None = None) -> DetectorEngine:
    """Load a detector named as on the command line; raises what `load` does."""
    with runtime():
        from poseglass_runtime.detector import load_detector as load_file
    return _loaded(load_file, detector, device, threads)


def _loaded(
    load_file: Callable[[Path, str, int | None], Loaded], model: str, device: str, threads: int | None
) -> Loaded:
    """A model's file, loaded, with the client's errors."""
    from poseglass_runtime.engine import ModelError

    try:
        return load_file(find(model), device, threads)
    except ModelError as error:
        raise FailedPrecondition(str(error)) from None


def find(model: str, suffix: str = ".onnx") -> Path:
    """The file of a model named as on the command line.

    Raises:
        ModelNotFound: neither a shipped name nor a file.
    """
    try:
        return poseglass_models.resolve(model, suffix)
    except FileNotFoundError as error:
        raise ModelNotFound(str(error)) from None


def decode(image: ImageLike) -> NDArray[np.uint8]:
    """Any picture as upright RGB pixels [H, W, 3].

    Raises:
        InvalidInput, InvalidRequest: it cannot be read.
    """
    from poseglass_runtime.images import decode_image

    pixels = content(image)
    if isinstance(pixels, bytes):
        return decode_image(pixels)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


@contextmanager
def runtime() -> Iterator[None]:
    """Around imports of the runtime: says which extra has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("poseglass"):
            raise
        raise MissingExtra(
            f"in-process prediction ({error.name})", "cpu", " (or [gpu]); or ask a server with --server HOST:PORT"
        ) from None
