"""MediaPipe Pose in a process of its own, answering as this project's predictors do."""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass_core.geometry import Affine, Box, box_around, crop_affine, invert, transform, warp
from poseglass_core.metrics import LIMB_JOINTS
from poseglass_core.poses import ModelRef, Pose, PoseRequest, Prediction, Timings
from poseglass_core.skeleton import Skeleton

LIMBS = Skeleton(LIMB_JOINTS)
"""What MediaPipe is asked for: the joints that it shares with LSP and COCO."""

WORKER = Path(__file__).with_name("mediapipe_worker.py")
PADDING = 1.25
"""Crop size over box size, as this project's models have it."""

REMEDY = "make an environment for it: python -m venv DIR; DIR/bin/pip install mediapipe==0.10.14"


class WorkerError(RuntimeError):
    """MediaPipe does not start, or stopped; the message says what it said last."""


class MediaPipe:
    """MediaPipe Pose in a process of its own, answering as this project's predictors do.

    With boxes it is shown the square around each, padded, at the picture's own resolution and black outside of it.

    Args:
        python: a Python that has mediapipe.
        padding: crop size over box size.
        worker: the script it runs.

    Raises:
        WorkerError: it does not start.
    """

    def __init__(self, python: Path, padding: float = PADDING, worker: Path = WORKER) -> None:
        self._python, self._padding = python, padding
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed on exit)
        try:
            self._process = subprocess.Popen(
                [python, worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints
            )
        except OSError as error:
            raise WorkerError(f"{python}: {error.strerror}; {REMEDY}") from None
        hello = self._read()
        self.name = f"MediaPipe Pose full {hello['mediapipe']}"
        self._ref = ModelRef(self.name, 1, hello["sha256"])

    def __enter__(self) -> MediaPipe:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # its standard input ends, and with it the process
        self._complaints.close()

    def predict(self, picture: NDArray[np.uint8], request: PoseRequest) -> Prediction:
        """As `Predictor.predict`; a box in which it finds nobody gets a pose without joints.

        The time in `timings.total` is that of cutting the crops and inside MediaPipe, without the pipe.

        Raises:
            WorkerError: the process stopped.
        """
        poses: list[Pose] = []
        seconds = 0.0
        boxes: Sequence[Box | None] = request.boxes or [None]
        for box in boxes:
            began = time.perf_counter()
            view, to_image = (picture, np.eye(2, 3)) if box is None else cut(picture, box, self._padding)
            seconds += time.perf_counter() - began
            self._send(view)
            answer = self._read()
            seconds += answer["seconds"]
            if answer["joints"] is not None:
                poses.append(pose_of(answer["joints"], view.shape[:2], to_image, box))
            elif box is not None:  # poses are matched with boxes by their order
                nothing = np.zeros((0, 2), np.float32)
                poses.append(Pose(LIMBS, (), nothing, nothing[:, 0], box, score=0.0))
        size = (picture.shape[0], picture.shape[1])
        return Prediction(poses, size, self._ref, "MediaPipe on the processor", Timings(total=1e3 * seconds))

    def _send(self, picture: NDArray[np.uint8]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("<II", *picture.shape[:2]) + picture.tobytes())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._stopped() from None

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._stopped()
        return json.loads(line)  # type: ignore[no-any-return]

    def _stopped(self) -> WorkerError:
        self._process.communicate()
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip().splitlines()
        last = said[-1] if said else "it said nothing"
        return WorkerError(
            f"{self._python}: MediaPipe stopped with exit code {self._process.returncode} ({last}); {REMEDY}"
        )


def cut(picture: NDArray[np.uint8], box: Box, padding: float) -> tuple[NDArray[np.uint8], Affine]:
    """The padded square around a box, pixel for pixel, and the affine from its pixels to the picture's."""
    side = max(round(padding * max(box.width, box.height)), 1)
    affine = crop_affine(box, (side, side), padding)
    return warp(picture, affine, (side, side)), invert(affine)


def pose_of(joints: Mapping[str, Sequence[float]], size: tuple[int, ...], to_image: Affine, box: Box | None) -> Pose:
    """MediaPipe's joints, as shares of a view of `size` (height, width), in the picture."""
    values = np.array([joints[name] for name in LIMB_JOINTS])
    centres = values[:, :2] * (size[1], size[0]) - 0.5  # shares count from the view's edge
    points = transform(to_image, centres)
    scores = values[:, 2].astype(np.float32)
    return Pose(LIMBS, LIMB_JOINTS, points.astype(np.float32), scores, box or box_around(points), float(scores.mean()))
