"""The parity gate of detectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from poseglass_export.gate import BATCH_SIZES, MINIMUM_PICTURES, ParityError
from poseglass_training.detection.network import ServedDetector

BOX_TOLERANCE = 0.1
"""Input pixels between the edges of PyTorch's boxes and ONNX Runtime's."""

SCORE_TOLERANCE = 1e-3

LEAST = 0.02
"""Scores; what is less certain is noise, and is not compared."""

TIE = 1e-4
"""Boxes whose scores are closer may come in either order, or not at all."""

FEWEST = 8
"""Boxes that must have been compared; a gate that compared fewer would prove nothing."""


@dataclass(frozen=True)
class DetectorParity:
    """How far a graph is from its checkpoint.

    Attributes:
        pictures: compared, at every batch size.
        batch_sizes: the batch sizes.
        boxes_compared, boxes_apart: boxes counted, and left out because another one's score ties with theirs.
        box_error: largest difference of an edge, input pixels.
        score_error: largest difference of a score.
        torch, onnxruntime: versions compared.
    """

    pictures: int
    batch_sizes: tuple[int, ...]
    boxes_compared: int
    boxes_apart: int
    box_error: float
    score_error: float
    torch: str
    onnxruntime: str

    def to_json(self) -> dict[str, Any]:
        """For the manifest; errors with three significant digits."""
        rounded = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**rounded, "batch_sizes": list(self.batch_sizes)}


def check_detector_parity(
    model: ServedDetector, graph: bytes, pictures: NDArray[np.uint8], others: Sequence[NDArray[np.uint8]] = ()
) -> DetectorParity:
    """Compare PyTorch and ONNX Runtime.

    Args:
        model: the checkpoint's detector.
        graph: bytes of the ONNX file.
        pictures: [P, H, W, 3] uint8, P >= 64, none of them traced.
        others: of the other sizes that the graph takes.

    Raises:
        ParityError: they differ by more than the tolerance, or there was nothing to compare.
    """
    if len(pictures) < MINIMUM_PICTURES:
        raise ValueError(f"the gate needs at least {MINIMUM_PICTURES} pictures, not {len(pictures)}")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    compared = apart = 0
    box_error = score_error = 0.0
    for size in BATCH_SIZES:
        for batch in _batches([pictures, *others], size):
            with torch.inference_mode():
                boxes, scores = (t.numpy() for t in model(torch.from_numpy(batch)))
            other_boxes, other_scores = session.run(["boxes", "scores"], {"image": batch})
            if not all(np.isfinite(values).all() for values in (boxes, scores, other_boxes, other_scores)):
                raise ParityError("the detector gives numbers that are not finite")
            heard = np.maximum(scores, other_scores) >= LEAST
            score_error = max(score_error, float(np.abs(scores - other_scores)[heard].max(initial=0.0)))  # both sorted
            gap = np.abs(np.diff(scores, axis=1))
            edge = np.full((len(batch), 1), np.inf)
            clear = np.minimum(np.hstack([edge, gap]), np.hstack([gap, edge])) > TIE
            clear[:, -1] = False  # the last may have lost its place to one that is not here
            sure = scores >= LEAST
            compared += int((sure & clear).sum())
            apart += int((sure & ~clear).sum())
            box_error = max(box_error, float(np.abs(boxes - other_boxes)[sure & clear].max(initial=0.0)))
    for what, error, tolerance, unit in (
        ("edges of boxes", box_error, BOX_TOLERANCE, "input pixels"),
        ("scores", score_error, SCORE_TOLERANCE, "of 1"),
    ):
        if error > tolerance:
            raise ParityError(
                f"the {what} of PyTorch and ONNX Runtime differ by {error:.3g} {unit}, more than {tolerance:g}"
            )
    if compared < FEWEST:
        raise ParityError(
            f"only {compared} boxes scored {LEAST:g} or more: comparing them proves nothing; train the detector first"
        )
    return DetectorParity(
        sum(map(len, (pictures, *others))),
        BATCH_SIZES,
        compared,
        apart,
        box_error,
        score_error,
        torch.__version__,
        onnxruntime.__version__,
    )


def _batches(groups: Sequence[NDArray[np.uint8]], size: int) -> Iterator[NDArray[np.uint8]]:
    for pictures in groups:
        for start in range(0, len(pictures), size):
            yield np.ascontiguousarray(pictures[start : start + size])
