"""Detector checkpoints: tensors plus JSON, as those of the pose networks."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poseglass_training.checkpoint import CheckpointError, pack, unpack
from poseglass_training.detection.network import Detector, DetectorConfig

FORMAT = "poseglass.detector/1"


@dataclass(frozen=True)
class DetectorCheckpoint:
    """Weights of a detector and where they come from.

    Attributes:
        config: the network's settings.
        weights: its state dict (of the running mean).
        epoch: epochs behind it.
        training: JSON about its origin.
        threshold: score from which a box is a person; chosen on dev.
        evaluation: JSON list of results.
        resume: tensors needed only to go on training.
    """

    config: DetectorConfig
    weights: dict[str, Tensor]
    epoch: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    threshold: float = 0.3
    evaluation: list[dict[str, Any]] = field(default_factory=list)
    resume: dict[str, Any] = field(default_factory=dict)

    def network(self) -> Detector:
        """The network with these weights, ready to infer."""
        network = Detector(self.config)
        network.load_state_dict(self.weights)
        return network.eval()

    def rounded(self) -> DetectorCheckpoint:
        """The same with its matrices rounded to half precision: see `poseglass_training.checkpoint.Checkpoint`."""
        weights = {name: t.half().float() if t.dim() > 1 else t for name, t in self.weights.items()}
        return dataclasses.replace(self, weights=weights)

    def save(self, path: Path) -> None:
        """Write the file; a crash half-way leaves the old one."""
        metadata = {
            "format": FORMAT,
            "config": dataclasses.asdict(self.config),
            "epoch": self.epoch,
            "training": self.training,
            "threshold": self.threshold,
            "evaluation": self.evaluation,
        }
        temporary = path.with_name(path.name + ".tmp")
        torch.save({"json": json.dumps(metadata), "weights": pack(self.weights), "resume": self.resume}, temporary)
        temporary.replace(path)


def is_detector(path: str | Path) -> bool:
    """Whether a file is a detector's checkpoint; False for anything else, whatever it is."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return json.loads(content["json"])["format"] == FORMAT  # type: ignore[no-any-return]
    except Exception:  # whatever an unpickler makes of a file that is something else
        return False


def load_detector_checkpoint(path: str | Path) -> DetectorCheckpoint:
    """Read a detector's checkpoint.

    Raises:
        CheckpointError: with the reason and the file's name.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        metadata = json.loads(content["json"])
        if metadata["format"] != FORMAT:
            raise CheckpointError(
                f"{path}: format {metadata['format']!r}, where a detector has {FORMAT!r}; name a .pt file that "
                "`poseglass train-detector` wrote"
            )
        settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in metadata["config"].items()}
        return DetectorCheckpoint(
            config=DetectorConfig(**settings),
            weights=unpack(content["weights"]),
            epoch=metadata["epoch"],
            training=metadata["training"],
            threshold=metadata["threshold"],
            evaluation=metadata["evaluation"],
            resume=content["resume"],
        )
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:  # whatever an unpickler makes of a file that is something else
        raise CheckpointError(
            f"{path}: not a detector's checkpoint; name a .pt file that `poseglass train-detector` wrote"
        ) from error
