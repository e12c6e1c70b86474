"""Models as callers share them: each run goes through the runners, in a batch with other callers' crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.manifest import Manifest
from poseglass_core.poses import ModelRef
from poseglass_runtime.outputs import Detections, Detector, Network, RawOutputs
from poseglass_server.batcher import Lane, Runners
from poseglass_server.tickets import Ticket

MOST = 8
"""Crops a batch. A processor runs eight no faster than one by one, and a larger batch only makes the others wait."""


class PoseModel:
    """A pose model that several callers ask at once.

    Args:
        network: runs it.
        runners: in whose threads.
        most: crops a batch.
        delay: seconds that a crop may wait for others.
    """

    def __init__(self, network: Network, runners: Runners, most: int = MOST, delay: float = 0.0) -> None:
        self.network = network
        self.manifest, self.ref, self.provider = network.manifest, network.ref, network.provider
        self._lane: Lane[NDArray[np.uint8], RawOutputs] = Lane(runners, self._run, most, delay, network.ref.name)

    def through(self, ticket: Ticket) -> Network:
        """The network as one caller sees it."""
        return _CallersNetwork(self.manifest, self.ref, self.provider, self._lane, ticket)

    def _run(self, crops: list[NDArray[np.uint8]]) -> list[RawOutputs]:
        raw = self.network.run(np.stack(crops))
        presence = raw.presence
        return [
            RawOutputs(raw.heatmaps[i], raw.joints[i], raw.scores[i], None if presence is None else presence[i : i + 1])
            for i in range(len(crops))
        ]


@dataclass(frozen=True)
class _CallersNetwork:
    manifest: Manifest
    ref: ModelRef
    provider: str
    lane: Lane[NDArray[np.uint8], RawOutputs]
    ticket: Ticket

    def run(self, crops: NDArray[np.uint8]) -> RawOutputs:
        """Infer uint8 RGB crops [N, H, W, 3], in as many batches as it takes."""
        heatmaps, joints, scores, presence = zip(*self.lane.submit(list(crops), self.ticket), strict=True)
        return RawOutputs(
            np.stack(heatmaps),
            np.stack(joints),
            np.stack(scores),
            None if presence[0] is None else np.concatenate(presence),
        )


class DetectorModel:
    """A detector that several callers ask at once, a picture a run.

    Args:
        detector: runs it.
        runners: in whose threads.
    """

    def __init__(self, detector: Detector, runners: Runners) -> None:
        self.detector = detector
        self.manifest, self.ref, self.provider = detector.manifest, detector.ref, detector.provider
        self._lane: Lane[Callable[[], Detections], Detections] = Lane(runners, _call, 1, name=detector.ref.name)

    def through(self, ticket: Ticket) -> Detector:
        """The detector as one caller sees it."""
        return _CallersDetector(self.detector, self.manifest, self.ref, self.provider, self._lane, ticket)


def _call(looks: Sequence[Callable[[], Detections]]) -> list[Detections]:
    return [look() for look in looks]


@dataclass(frozen=True)
class _CallersDetector:
    detector: Detector
    manifest: DetectorManifest
    ref: ModelRef
    provider: str
    lane: Lane[Callable[[], Detections], Detections]
    ticket: Ticket

    def detect(self, image: NDArray[np.uint8], threshold: float | None = None) -> Detections:
        """Find the people in an upright RGB picture; see `poseglass_runtime.outputs.Detector`."""
        (found,) = self.lane.submit([lambda: self.detector.detect(image, threshold)], self.ticket)
        return found
