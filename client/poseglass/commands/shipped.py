"""The models of this package, as a server would list them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import poseglass_models
from poseglass.convert import ModelInfo
from poseglass.errors import FailedPrecondition
from poseglass.local import load, load_detector
from poseglass_core.manifest import Manifest
from poseglass_core.poses import ModelRef

if TYPE_CHECKING:
    from poseglass_runtime.detector import DetectorEngine
    from poseglass_runtime.engine import Engine


def shipped() -> list[ModelInfo]:
    """Models, then detectors, each loaded to be sure that it works; one that does not is REFUSED, with the reason.

    Raises:
        MissingExtra: there is nothing to load them with.
    """
    found = [_described(name, "POSE", load, name == poseglass_models.DEFAULT) for name in poseglass_models.names()]
    detector = poseglass_models.detector()
    return found if detector is None else [*found, _described(detector, "DETECTOR", load_detector, True)]


def _described(
    name: str, kind: str, load_it: Callable[[str, str], Engine | DetectorEngine], default: bool
) -> ModelInfo:
    try:
        engine = load_it(name, "cpu")
    except FailedPrecondition as error:
        return ModelInfo(ModelRef(name, 0, ""), kind, "REFUSED", str(error), "", (), False, {})
    manifest = engine.manifest
    return ModelInfo(
        ref=engine.ref,
        kind=kind,
        state="READY",
        reason="",
        licence=manifest.weights_licence,
        joints=manifest.skeleton.joints if isinstance(manifest, Manifest) else (),
        is_default=default,
        manifest=manifest.to_json(),
    )
