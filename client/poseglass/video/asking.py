"""Who finds the poses of a video's frames: this process, or a server."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from poseglass.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    Unavailable,
)
from poseglass.local import LocalPredictor
from poseglass.options import PredictOptions
from poseglass.video.tiles import cut, encoded
from poseglass_core.geometry import Box
from poseglass_core.poses import PERSON, Locate, ModelRef, Pose, Prediction
from poseglass_core.skeleton import Skeleton

if TYPE_CHECKING:
    from poseglass.client import PoseClient
    from poseglass.convert import ModelInfo

PATIENCE = 120.0
"""Seconds for which a server that is busy, or away, is asked again before a video is given up."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Question:
    """What to ask for about every frame.

    Attributes:
        model, detector: names, or paths where the work is done in this process; empty: the default.
        locate: AUTO detects where there is a detector.
        person_threshold: least score of a person; None: the default.
        flip_test: average with the mirrored picture.
        jpeg: quality of the pictures that are sent to a server; 0: pixels as they are.
    """

    model: str = ""
    detector: str = ""
    locate: Locate = Locate.AUTO
    person_threshold: float | None = None
    flip_test: bool = False
    jpeg: int = 0


@dataclass(frozen=True)
class Facts:
    """Who answers.

    Attributes:
        model: the weights that find joints.
        detector: the weights that find people; None: there are none.
        everybody: whether a look anew finds everybody; else one person.
        skeleton: of the model.
        keep: score below which somebody who is followed is lost.
        provider: what computes, e.g. "CPUExecutionProvider"; empty where a server does.
    """

    model: ModelRef
    detector: ModelRef | None
    everybody: bool
    skeleton: Skeleton
    keep: float
    provider: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"model": asdict(self.model), "detector": None if self.detector is None else asdict(self.detector)}


class Asker(Protocol):
    """An `Ask` that says who answers."""

    @property
    def facts(self) -> Facts: ...

    def __call__(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pose]: ...

    def heatmaps(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pose]: ...

    def close(self) -> None: ...


class LocalAsk:
    """Asks this process.

    Args:
        question: what for.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: a look may use; several looks run at once.

    Raises:
        MissingExtra, ModelNotFound, FailedPrecondition: of `LocalPredictor`.
    """

    def __init__(self, question: Question, device: str = "auto", threads: int | None = None) -> None:
        self._predictor = LocalPredictor(question.model, detector=question.detector, device=device, threads=threads)
        predictor, detector = self._predictor.predictor(), self._predictor.detector()
        if question.locate is Locate.DETECT and detector is None:
            raise FailedPrecondition("--locate detect needs a detector, and none is shipped: name one with --detector")
        self._anew, self._boxes = _options(question)
        manifest = predictor.manifest
        self.facts = Facts(
            model=predictor.ref,
            detector=None if detector is None else detector.ref,
            everybody=detector is not None and question.locate is not Locate.WHOLE_IMAGE,
            skeleton=manifest.skeleton,
            keep=_floor(manifest.to_json()) if question.person_threshold is None else question.person_threshold,
            provider=predictor.provider,
        )

    def __call__(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pose]:
        """Poses in a frame; see `Ask`."""
        options = PredictOptions(**self._boxes, boxes=boxes) if boxes else self._anew
        return self._predictor.predict(image, **options).poses

    def heatmaps(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pose]:
        """Poses at given boxes, with heatmaps."""
        return self._predictor.predict(image, **PredictOptions(**self._boxes, boxes=boxes, heatmaps=True)).poses

    def close(self) -> None:
        """Let go of the models."""
        self._predictor.close()


class RemoteAsk:
    """Asks a server. Where it is known where people are, only their crops travel.

    Args:
        client: stays the caller's to close.
        question: what for; model and detector are the server's names.

    Raises:
        ModelNotFound, FailedPrecondition: the server does not have what is asked for.
        PoseglassError: it does not answer.
    """

    def __init__(self, client: PoseClient, question: Question) -> None:
        self._client, self._question = client, question
        infos = client.models()
        model = _find(infos, "POSE", question.model)
        if model is None:
            raise ModelNotFound(f"the server has no model {question.model!r}; `poseglass models --server` lists them")
        detector = _find(infos, "DETECTOR", question.detector)
        if detector is None and (question.detector or question.locate is Locate.DETECT):
            raise ModelNotFound("the server has no such detector; `poseglass models --server` lists what it has")
        self._anew, self._boxes = _options(replace(question, model=model.ref.name))
        for options in (self._anew, self._boxes):
            options["version"] = model.ref.version
        size = model.manifest["input"]
        self._size, self._padding = (size["height"], size["width"]), float(model.manifest["box_padding"])
        self.facts = Facts(
            model=model.ref,
            detector=None if detector is None else detector.ref,
            everybody=detector is not None and question.locate is not Locate.WHOLE_IMAGE,
            skeleton=Skeleton.from_json(model.manifest),
            keep=_floor(model.manifest) if question.person_threshold is None else question.person_threshold,
        )
        self._closed = threading.Event()

    def __call__(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pose]:
        """Poses in a frame; see `Ask`.

        Raises:
            FailedPrecondition: the server has put another model in the place of the one that the video was begun with.
        """
        if not boxes:
            picture = encoded(image, self._question.jpeg)
            return self._checked(self._patiently(lambda: self._client.predict(picture, **self._anew))).poses
        return self._at(image, boxes, self._boxes)

    def heatmaps(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pose]:
        """Poses at given boxes, with heatmaps that are good enough to look at.

        Raises:
            FailedPrecondition: as above.
        """
        return self._at(image, boxes, PredictOptions(**self._boxes, heatmaps=True, heatmap_type="uint8"))

    def _at(self, image: NDArray[np.uint8], boxes: Sequence[Box], about: PredictOptions) -> list[Pose]:
        tiles = cut(image, boxes, self._size, self._padding)
        picture = encoded(tiles.image, self._question.jpeg)
        options = PredictOptions(**about, boxes=tiles.boxes)
        answer = self._patiently(lambda: self._client.predict(picture, **options))
        return tiles.placed(self._checked(answer).poses, boxes)

    def close(self) -> None:
        """Wait for nobody any more."""
        self._closed.set()

    def _checked(self, answer: Prediction) -> Prediction:
        for what, given, begun in (
            ("model", answer.model, self.facts.model),
            ("detector", answer.detector, self.facts.detector if answer.detector is not None else None),
        ):
            if given != begun:
                raise FailedPrecondition(f"the server has changed its {what} meanwhile; run the same command again")
        return answer

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """A call, repeated while the server has no time or is away."""
        until, pause = time.monotonic() + PATIENCE, 0.1
        while True:
            try:
                return call()
            except (Overloaded, Unavailable, DeadlineExceeded) as error:
                wait = error.retry_after if isinstance(error, Overloaded) and error.retry_after else pause
                pause = min(2 * pause, 5.0)
                if time.monotonic() + wait > until or self._closed.wait(wait):
                    raise


def _options(question: Question) -> tuple[PredictOptions, PredictOptions]:
    """For a look anywhere, and for one at given boxes."""
    common = PredictOptions(model=question.model, flip_test=question.flip_test)
    anew = PredictOptions(**common)
    anew["locate"], anew["person_threshold"] = question.locate, question.person_threshold
    if question.detector:
        anew["detector"] = question.detector
    return anew, common


def _find(infos: Sequence[ModelInfo], kind: str, name: str) -> ModelInfo | None:
    """The newest usable one of that name; without a name the default."""
    usable = [info for info in infos if info.kind == kind and info.state == "READY"]
    named = [info for info in usable if (info.ref.name == name if name else info.is_default)]
    return max(named, key=lambda info: info.ref.version, default=None)


def _floor(manifest: Mapping[str, Any]) -> float:
    """The runtime's default of `person_threshold`, from what a model says of itself; 0 where it has no presence."""
    try:
        if "presence" not in manifest["outputs"]:
            return 0.0
        if manifest["score"]["meaning"] == "calibrated" or manifest["heatmap_activation"] != "softmax":
            return PERSON
        sigma = float(manifest.get("training", {}).get("recipe", {}).get("sigma", 1.5))
    except (KeyError, TypeError, ValueError):
        raise InvalidRequest("--model", "its manifest cannot be read; give --person-threshold") from None
    return PERSON / (2 * math.pi * sigma**2)
