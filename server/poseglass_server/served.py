"""Models as callers share them: each run goes through the runners, in a batch with other callers' crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.manifest import Manifest
from poseglass_core.poses import ModelRef
from poseglass_runtime.adapters import Candidates
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
        sharing: the same network with a share of the processors, for batches beside others; None: `network`.
    """

    def __init__(
        self,
        network: Network,
        runners: Runners,
        most: int = MOST,
        delay: float = 0.0,
        sharing: Network | None = None,
    ) -> None:
        self.network = network
        self.manifest, self.ref, self.provider = network.manifest, network.ref, network.provider
        self._runners = runners
        # Bound to the network, not to this object: the two would keep each other, and a retired model's session, alive.
        run = partial(_run, network, sharing or network)
        self._lane: Lane[NDArray[np.uint8], RawOutputs] = Lane(
            runners, run, most, delay, network.ref.name, alone=sharing is not None
        )

    def through(self, ticket: Ticket) -> Network:
        """The network as one caller sees it."""
        return _CallersNetwork(self.manifest, self.ref, self.provider, self._lane, ticket)

    def expecting(self, ticket: Ticket) -> AbstractContextManager[None]:
        """While a caller's picture is decoded, before anything of it is run; see `Runners.expecting`."""
        return self._runners.expecting(ticket)


def _run(network: Network, sharing: Network, crops: list[NDArray[np.uint8]], alone: bool) -> list[RawOutputs]:
    """Results of crops, one each."""
    raw = (network if alone else sharing).run(np.stack(crops))
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


class RawDetector(Detector, Protocol):
    """A detector that tells its candidates as they are, too."""

    def run(self, picture: NDArray[np.uint8]) -> Candidates:
        """All candidates of a picture at the model's input size, [H, W, 3] RGB, however unlikely."""
        ...


Look = Callable[[RawDetector], Any]
"""What is asked of a detector, by whichever session is to look."""


class DetectorModel:
    """A detector that several callers ask at once, a picture a run.

    Args:
        detector: runs it.
        runners: in whose threads.
        sharing: the same one with a share of the processors, for pictures beside others; None: `detector`.
    """

    def __init__(self, detector: RawDetector, runners: Runners, sharing: RawDetector | None = None) -> None:
        self.detector = detector
        self.manifest, self.ref, self.provider = detector.manifest, detector.ref, detector.provider
        look = partial(_look, detector, sharing or detector)
        self._lane: Lane[Look, Any] = Lane(runners, look, 1, name=detector.ref.name, alone=sharing is not None)

    def through(self, ticket: Ticket) -> CallersDetector:
        """The detector as one caller sees it."""
        return CallersDetector(self.manifest, self.ref, self.provider, self._lane, ticket)


def _look(detector: RawDetector, sharing: RawDetector, looks: Sequence[Look], alone: bool) -> list[Any]:
    return [look(detector if alone else sharing) for look in looks]


@dataclass(frozen=True)
class CallersDetector:
    """A detector as one caller sees it; use `DetectorModel.through`."""

    manifest: DetectorManifest
    ref: ModelRef
    provider: str
    lane: Lane[Look, Any]
    ticket: Ticket

    def detect(self, image: NDArray[np.uint8], threshold: float | None = None, closer: bool = False) -> Detections:
        """Find the people in an upright RGB picture; see `poseglass_runtime.outputs.Detector`."""
        found: Detections
        (found,) = self.lane.submit([lambda detector: detector.detect(image, threshold, closer)], self.ticket)
        return found

    def run(self, pictures: NDArray[np.uint8]) -> list[Candidates]:
        """All candidates of each of some pictures [N, H, W, 3] at the model's input size; see `RawDetector`."""
        return self.lane.submit([partial(_candidates, picture) for picture in pictures], self.ticket)


def _candidates(picture: NDArray[np.uint8], detector: RawDetector) -> Candidates:
    return detector.run(picture)
