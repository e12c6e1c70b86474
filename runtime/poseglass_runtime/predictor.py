"""A picture and a request to a prediction: the whole of inference, without transport."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput, NotSupported
from poseglass_core.geometry import box_around
from poseglass_core.manifest import Manifest
from poseglass_core.poses import Heatmaps, Locate, ModelRef, Pose, PoseRequest, Prediction, Timings
from poseglass_runtime.estimator import Estimates, estimate
from poseglass_runtime.outputs import Network, RawOutputs
from poseglass_runtime.search import find_person


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

    def predict(self, image: NDArray[np.uint8], request: PoseRequest) -> Prediction:
        """Find the poses in one picture.

        Args:
            image: [height, width, 3] RGB, upright.
            request: where to look and what to return.

        Returns:
            One pose a given box, in their order; without boxes, the person found (none under `person_threshold`).

        Raises:
            InvalidInput: a joint name that the model does not have, or one named twice.
            NotSupported: detection is asked for.
        """
        start = time.perf_counter()
        columns = self._columns(request)
        spent = 0.0

        def infer(crops: NDArray[np.uint8]) -> RawOutputs:
            nonlocal spent
            began = time.perf_counter()
            raw = self.network.run(crops)
            spent += time.perf_counter() - began
            return raw

        boxes = list(request.boxes)
        if not boxes:
            if request.locate is Locate.DETECT:
                raise NotSupported(
                    "locate is DETECT, but no detector is loaded; give boxes, or use WHOLE_IMAGE for one person"
                )
            boxes = [find_person(infer, self.manifest, image)]
        estimates = estimate(infer, self.manifest, image, boxes, request.flip_test)
        poses = [self._pose(estimates, i, columns, request) for i in range(len(boxes))]
        if not request.boxes and request.person_threshold is not None:
            poses = [pose for pose in poses if pose.score >= request.person_threshold]
        return Prediction(
            poses=poses,
            image_size=(image.shape[0], image.shape[1]),
            model=self.ref,
            provider=self.provider,
            timings=Timings(inference=1e3 * spent, total=1e3 * (time.perf_counter() - start)),
        )

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

    def _pose(self, estimates: Estimates, index: int, columns: list[int], request: PoseRequest) -> Pose:
        skeleton = self.manifest.skeleton
        points, scores = estimates.joints[index], estimates.scores[index]
        presence = None if estimates.presence is None else float(estimates.presence[index])
        kept = [column for column in columns if scores[column] >= request.joint_threshold]
        return Pose(
            skeleton=skeleton,
            names=tuple(skeleton.joints[column] for column in kept),
            points=points[kept].astype(np.float32),
            scores=scores[kept],
            box=request.boxes[index] if request.boxes else box_around(points),
            score=float(scores.mean()) * (1.0 if presence is None else presence),
            presence=presence,
            heatmap_names=tuple(skeleton.joints[column] for column in columns) if request.heatmaps else (),
            heatmaps=Heatmaps(estimates.heatmaps[index][columns], estimates.to_image[index])
            if request.heatmaps
            else None,
        )
