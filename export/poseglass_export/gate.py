"""The parity gate: a graph is written only after it has been seen to compute what was trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from poseglass_core.decode import decode
from poseglass_training.decoder import EPSILON
from poseglass_training.manifests import OUTPUTS
from poseglass_training.served import ServedModel

BATCH_SIZES = (1, 5)
MINIMUM_PICTURES = 64

JOINT_TOLERANCE = 0.05
"""Crop pixels between PyTorch's joints and ONNX Runtime's."""

DECODER_TOLERANCE = 0.01
"""Crop pixels between the graph's decoder and its NumPy twin on the same heatmaps."""

SCORE_TOLERANCE = 1e-3
"""Between PyTorch's, the graph's and NumPy's scores and presences, which lie between 0 and 1."""

HEATMAP_TOLERANCE = 1e-3
"""Of a heatmap's range (highest less lowest value)."""

TIE = 1e-4
"""Of the range: where the two highest cells are closer, rounding decides which wins, and the joint is counted apart."""

MOST_APART = 0.5
"""Share of joints that may be ties; a gate that compared fewer would prove nothing."""


class ParityError(RuntimeError):
    """The graph does not compute what the checkpoint does."""


@dataclass(frozen=True)
class Parity:
    """How far a graph is from its checkpoint.

    Attributes:
        pictures: compared, at every batch size.
        batch_sizes: the batch sizes.
        joints_compared: joints counted.
        joints_apart: joints left out because their two highest cells tie.
        joint_error: largest distance between PyTorch's and ONNX Runtime's joints, crop pixels.
        decoder_error: largest distance between the graph's and NumPy's joints on the same heatmaps, crop pixels.
        heatmap_error: largest difference of heatmaps, relative to the map's range.
        score_error: largest difference of scores of PyTorch, ONNX Runtime and NumPy.
        presence_error: largest difference of presence; 0 where the model has none.
        torch, onnxruntime: versions compared.
    """

    pictures: int
    batch_sizes: tuple[int, ...]
    joints_compared: int
    joints_apart: int
    joint_error: float
    decoder_error: float
    heatmap_error: float
    score_error: float
    presence_error: float
    torch: str
    onnxruntime: str

    def to_json(self) -> dict[str, Any]:
        """For the manifest; errors with three significant digits."""
        value = asdict(self)
        rounded = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in value.items()}
        return {**rounded, "batch_sizes": list(self.batch_sizes)}


def check_parity(model: ServedModel, graph: bytes, crops: NDArray[np.uint8]) -> Parity:
    """Compare PyTorch, ONNX Runtime and the NumPy decoder.

    Args:
        model: the checkpoint's network with its contract.
        graph: bytes of the ONNX file.
        crops: [P, H, W, 3] uint8, P >= 64, none of them traced.

    Raises:
        ParityError: something differs by more than its tolerance; the message says what and by how much.
    """
    if len(crops) < MINIMUM_PICTURES:
        raise ValueError(f"the gate needs at least {MINIMUM_PICTURES} pictures, not {len(crops)}")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    compared = apart = 0
    joint_error = decoder_error = heatmap_error = score_error = presence_error = 0.0
    outputs = [*OUTPUTS, *(["presence"] if model.presence is not None else [])]
    for size in BATCH_SIZES:
        for start in range(0, len(crops), size):
            batch = crops[start : start + size]
            with torch.inference_mode():
                expected = [t.numpy() for t in model(torch.from_numpy(batch))]
            got = session.run(outputs, {"image": batch})
            (heatmaps, joints, scores), (maps, points, marks) = expected[:3], got[:3]
            if not all(np.isfinite(values).all() for values in (*expected, *got)):
                raise ParityError("the network gives numbers that are not finite")
            span = np.maximum(np.ptp(heatmaps, axis=(2, 3)), np.finfo(np.float32).tiny)
            heatmap_error = max(heatmap_error, float((np.abs(heatmaps - maps).max(axis=(2, 3)) / span).max()))
            flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
            highest = np.partition(flat, -2, axis=2)[..., -2:]
            clear = (highest[..., 1] - highest[..., 0]) >= TIE * span
            compared += int(clear.sum())
            apart += int((~clear).sum())
            twin, twin_scores = decode(maps, EPSILON[model.loss])
            if model.calibration is not None:
                twin_scores = model.calibration.scores(maps)
            joint_error = max(joint_error, _furthest(joints, points, clear))
            decoder_error = max(decoder_error, _furthest(twin, points, clear))
            for other in (scores, twin_scores):
                score_error = max(score_error, float(np.where(clear, np.abs(other - marks), 0).max()))
            if model.presence is not None:
                presence_error = max(presence_error, float(np.abs(expected[3] - got[3]).max()))
    parity = Parity(
        pictures=len(crops),
        batch_sizes=BATCH_SIZES,
        joints_compared=compared,
        joints_apart=apart,
        joint_error=joint_error,
        decoder_error=decoder_error,
        heatmap_error=heatmap_error,
        score_error=score_error,
        presence_error=presence_error,
        torch=torch.__version__,
        onnxruntime=onnxruntime.__version__,
    )
    _judge(parity)
    return parity


def _furthest(a: NDArray[np.floating], b: NDArray[np.floating], clear: NDArray[np.bool_]) -> float:
    """The largest distance between the joints [N, J, 2] that are no ties."""
    return float(np.where(clear, np.linalg.norm(a - b, axis=2), 0).max())


def _judge(parity: Parity) -> None:
    for what, error, tolerance, unit in (
        ("joints of PyTorch and ONNX Runtime", parity.joint_error, JOINT_TOLERANCE, "crop pixels"),
        ("joints of the graph and the NumPy decoder", parity.decoder_error, DECODER_TOLERANCE, "crop pixels"),
        ("heatmaps of PyTorch and ONNX Runtime", parity.heatmap_error, HEATMAP_TOLERANCE, "of their range"),
        ("scores of PyTorch, ONNX Runtime and NumPy", parity.score_error, SCORE_TOLERANCE, "of 1"),
        ("presences of PyTorch and ONNX Runtime", parity.presence_error, SCORE_TOLERANCE, "of 1"),
    ):
        if error > tolerance:
            raise ParityError(f"the {what} differ by {error:.3g} {unit}, more than {tolerance:g}")
    total = parity.joints_compared + parity.joints_apart
    if parity.joints_apart > MOST_APART * total:
        raise ParityError(
            f"{parity.joints_apart} of {total} joints have two equally high cells: the heatmaps are flat, "
            "and comparing them proves nothing; train the network first"
        )
