"""A picture and a request to a prediction: the whole of inference, without transport."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput, NotSupported
from poseglass_core.geometry import Box, box_around
from poseglass_core.manifest import Manifest
from poseglass_core.poses import Heatmaps, Locate, ModelRef, Pose, PoseRequest, Prediction, Timings
from poseglass_runtime.boxes import together
from poseglass_runtime.estimator import Estimates, Infer, estimate
from poseglass_runtime.outputs import Detector, Network
from poseglass_runtime.people import CANDIDATE, CLOSER, CROWDED, FEW, LIKELY, people_among, person_scores
from poseglass_runtime.search import find_person, look_again

P = ParamSpec("P")
Outputs = TypeVar("Outputs")


class _Clock:
    """Adds up the time spent in networks.

    Attributes:
        spent: seconds.
    """

    def __init__(self) -> None:
        self.spent = 0.0

    def timed(self, run: Callable[P, Outputs]) -> Callable[P, Outputs]:
        """A network that is timed."""

        def timed_run(*args: P.args, **kwargs: P.kwargs) -> Outputs:
            began = time.perf_counter()
            outputs = run(*args, **kwargs)
            self.spent += time.perf_counter() - began
            return outputs

        return timed_run


class Predictor:
    """Answers requests with one model; may be called from several threads.

    Args:
        network: runs the model.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def manifest(self) -> Manifest:
        """Of the model."""
        return self.network.manifest

    @property
    def ref(self) -> ModelRef:
        """Of the model."""
        return self.network.ref

    @property
    def provider(self) -> str:
        """What runs the model, e.g. "CPUExecutionProvider"."""
        return self.network.provider

    def predict(self, image: NDArray[np.uint8], request: PoseRequest, detector: Detector | None = None) -> Prediction:
        """Find the poses in one picture.

        Args:
            image: [height, width, 3] RGB, upright.
            request: where to look and what to return.
            detector: finds people; not asked where boxes are given.

        Returns:
            One pose a given box, in their order. Without boxes, the people found, the most certain first: with a
            detector everybody, or one person where the whole image is asked for; without one that person. Nobody under
            `person_threshold` is returned, and nobody twice.

        Raises:
            InvalidInput: a joint name that the model does not have, or one named twice.
            NotSupported: detection is asked for, and there is no detector.
        """
        start = time.perf_counter()
        columns, clock = self._columns(request), _Clock()
        infer = clock.timed(self.network.run)
        if request.boxes:
            detector = None
        whole = request.locate is Locate.WHOLE_IMAGE or (request.locate is Locate.AUTO and detector is None)
        boxes, certainty = self._boxes(infer, detector, clock, image, request, whole)
        poses = []
        if boxes:
            estimates = estimate(infer, self.manifest, image, boxes, request.flip_test)
            chosen = list(range(len(boxes)))
            if certainty is not None:
                likely = people_among(estimates, boxes, self.manifest, request, certainty, LIKELY)
                boxes, certainty, estimates = [boxes[i] for i in likely], certainty[likely], estimates.of(likely)
                if len(likely) <= FEW:
                    boxes, estimates = look_again(infer, self.manifest, image, boxes, estimates, request.flip_test)
            if not request.boxes:
                boxes = [box_around(estimates.joints[0])] if whole else boxes
                chosen = people_among(estimates, boxes, self.manifest, request, certainty)
            poses = [self._pose(estimates, i, boxes[i], columns, request) for i in chosen]
        return Prediction(
            poses=poses,
            image_size=(image.shape[0], image.shape[1]),
            model=self.ref,
            provider=self.provider,
            timings=Timings(inference=1e3 * clock.spent, total=1e3 * (time.perf_counter() - start)),
            detector=None if detector is None else detector.ref,
        )

    def _boxes(
        self,
        infer: Infer,
        detector: Detector | None,
        clock: _Clock,
        image: NDArray[np.uint8],
        request: PoseRequest,
        whole: bool,
    ) -> tuple[list[Box], NDArray[np.floating] | None]:
        """Where to look (`whole`: for one person), and how certain it is that somebody is there."""
        if request.boxes:
            return list(request.boxes), None
        detect = None if detector is None else clock.timed(detector.detect)
        if whole:
            # Any box will do for a guess: what is in it is compared with what the search finds.
            guesses = [] if detect is None else detect(image, threshold=0.0).boxes
            return [find_person(infer, self.manifest, image, guesses[0] if guesses else None)], None
        if detector is None or detect is None:
            raise NotSupported(
                "locate is DETECT, but no detector is loaded; give boxes, or use WHOLE_IMAGE for one person"
            )
        threshold = detector.manifest.threshold
        found = detect(image, threshold=CANDIDATE * threshold)
        if detector.manifest.closer is not None and not (found.scores >= threshold).any():
            small = detect(image, threshold=CANDIDATE * threshold, closer=True)
            found = together(found, small, CLOSER, detector.manifest.overlap)
        certainty = found.scores / np.maximum(threshold, 1e-6)
        crowded = (certainty >= 1).sum() > FEW
        kept = np.flatnonzero((certainty >= CROWDED) | ~crowded)[: request.max_people]
        return [found.boxes[i] for i in kept], certainty[kept]

    def _columns(self, request: PoseRequest) -> list[int]:
        """Positions of the asked joints in the model's."""
        joints = self.manifest.skeleton.joints
        for i, name in enumerate(request.joints):
            if name not in joints:
                raise InvalidInput(
                    f"outputs.joints[{i}]", f"no joint is called {name!r}; the model has {', '.join(joints)}"
                )
            if name in list(request.joints)[:i]:
                raise InvalidInput(f"outputs.joints[{i}]", f"{name!r} is asked for twice; name each joint once")
        return [joints.index(name) for name in request.joints] or list(range(len(joints)))

    def _pose(self, estimates: Estimates, index: int, box: Box, columns: list[int], request: PoseRequest) -> Pose:
        skeleton = self.manifest.skeleton
        points, scores = estimates.joints[index], estimates.scores[index]
        presence = None if estimates.presence is None else float(estimates.presence[index])
        kept = [column for column in columns if scores[column] >= request.joint_threshold]
        return Pose(
            skeleton=skeleton,
            names=tuple(skeleton.joints[column] for column in kept),
            points=points[kept].astype(np.float32),
            scores=scores[kept],
            box=box,
            score=float(person_scores(estimates)[index]),
            presence=presence,
            heatmap_names=tuple(skeleton.joints[column] for column in columns) if request.heatmaps else (),
            heatmaps=Heatmaps(estimates.heatmaps[index][columns], estimates.to_image[index])
            if request.heatmaps
            else None,
        )
