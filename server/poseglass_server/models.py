"""The models that are served, by name and version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from poseglass_core.manifest import Manifest
from poseglass_core.poses import ModelRef, PoseRequest, Prediction
from poseglass_server.errors import UnknownModel


class PosePredictor(Protocol):
    """What serves a model: `poseglass_runtime.predictor.Predictor`, or a fake in a test."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def ref(self) -> ModelRef: ...

    @property
    def provider(self) -> str: ...

    def predict(self, image: NDArray[np.uint8], request: PoseRequest) -> Prediction:
        """Find the poses in an upright RGB picture [height, width, 3]; blocking, from several threads."""
        ...


class Models:
    """Loaded models.

    Args:
        predictors: at least one; the name of the first is the default.

    Raises:
        ValueError: there is none, or two have the same name and version.
    """

    def __init__(self, predictors: Sequence[PosePredictor]) -> None:
        if not predictors:
            raise ValueError("there is no model to serve")
        self._loaded: dict[str, dict[int, PosePredictor]] = {}
        for predictor in predictors:
            ref = predictor.ref
            versions = self._loaded.setdefault(ref.name, {})
            if ref.version in versions:
                raise ValueError(f"two models are called {ref.name!r} version {ref.version}; give one another version")
            versions[ref.version] = predictor

    @property
    def default(self) -> PosePredictor:
        """Serves requests that name no model: the newest version of the first model's name."""
        return self.get("", 0)

    def __iter__(self) -> Iterator[PosePredictor]:
        """All of them: names in the order loaded, the versions of each from the newest."""
        for versions in self._loaded.values():
            for version in sorted(versions, reverse=True):
                yield versions[version]

    def get(self, name: str, version: int, field: str = "model") -> PosePredictor:
        """The model that a request asks for.

        Args:
            name: empty: the default.
            version: 0: the newest.
            field: what the request calls its name.

        Raises:
            UnknownModel: there is none such; the message lists what there is.
        """
        versions = self._loaded.get(name or next(iter(self._loaded)))
        if versions is None:
            raise UnknownModel(field, f"no model is called {name!r}; there are: {self._listing()}")
        chosen = versions.get(version or max(versions))
        if chosen is None:
            raise UnknownModel("version", f"there is no version {version} of that model; there are: {self._listing()}")
        return chosen

    def _listing(self) -> str:
        return ", ".join(f"{predictor.ref.name} version {predictor.ref.version}" for predictor in self)
