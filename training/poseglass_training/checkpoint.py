"""Checkpoints: tensors plus JSON in one file that loads with `weights_only=True`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poseglass_core.calibration import Calibration
from poseglass_core.skeleton import Skeleton
from poseglass_training.networks import Config, HourglassConfig, Network, architecture, build, config_from_json
from poseglass_training.networks.presence import Presence
from poseglass_training.targets import LossName

FORMAT = "poseglass.checkpoint/1"


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours, or not one of this version."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is needed to use, judge and continue them.

    Attributes:
        config: the network's settings.
        skeleton: the joints its heatmaps stand for, in order.
        weights: the network's state dict (of the running mean, where there is one).
        loss: how its raw heatmaps are read.
        box_padding: crop size over box size it was trained with.
        epoch: epochs behind it.
        training: JSON about its origin: data sets with licences, preset, seed, commit, epochs.
        evaluation: JSON list of results.
        presence: the state dict of `networks.presence.Presence` on this network; empty: none was trained.
        calibration: how heatmaps become scores; None: scores are peaks.
        smoothing: sigma of the Gaussian over the heatmaps before they are decoded, in cells; see `targets.smooth`.
        resume: tensors needed only to go on training (raw weights, optimiser); empty in shipped files.
    """

    config: Config
    skeleton: Skeleton
    weights: dict[str, Tensor]
    loss: LossName
    box_padding: float
    epoch: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: list[dict[str, Any]] = field(default_factory=list)
    presence: dict[str, Tensor] = field(default_factory=dict)
    calibration: Calibration | None = None
    smoothing: float = 0.0
    resume: dict[str, Any] = field(default_factory=dict)

    def network(self) -> Network:
        """The network with these weights, ready to infer."""
        network = build(self.config)
        network.load_state_dict(self.weights)
        return network.eval()

    def fast_network(self) -> Network:
        """`network`, laid out in memory as convolutions are fastest."""
        network: Network = self.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def rounded(self) -> Checkpoint:
        """The same with its matrices rounded to half precision, which halves the file and costs no accuracy."""
        weights = {name: t.half().float() if t.dim() > 1 else t for name, t in self.weights.items()}
        return dataclasses.replace(self, weights=weights)

    def first_stacks(self, count: int) -> Checkpoint:
        """The network of the first stacks alone, which was trained as well: every stack has a loss of its own.

        Args:
            count: stacks to keep. What was fitted to the last stack (presence, calibration, smoothing) is left out.

        Raises:
            CheckpointError: it is no stacked hourglass, or has fewer stacks.
        """
        config = self.config
        if not isinstance(config, HourglassConfig) or not 1 <= count <= config.stacks:
            what = f"has {config.stacks}" if isinstance(config, HourglassConfig) else "is no stacked hourglass"
            raise CheckpointError(f"{count} stacks cannot be taken of this network, which {what}")
        if count == config.stacks:
            return self
        smaller = dataclasses.replace(config, stacks=count)
        with torch.device("meta"):
            kept = build(smaller).state_dict().keys()
        weights = {name: tensor for name, tensor in self.weights.items() if name in kept}
        training = {**self.training, "stacks": f"{count} of {config.stacks}"}
        return dataclasses.replace(
            self,
            config=smaller,
            weights=weights,
            training=training,
            evaluation=[],
            presence={},
            calibration=None,
            smoothing=0.0,
            resume={},
        )

    def presence_network(self) -> Presence | None:
        """The network that tells crops with a person from others, ready to infer; None where there is none."""
        if not self.presence:
            return None
        hidden, inputs = self.presence["hidden.weight"].shape
        network = Presence(inputs // 2, hidden)
        network.load_state_dict(self.presence)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write the file; a crash half-way leaves the old one."""
        metadata = {
            "format": FORMAT,
            "architecture": architecture(self.config),
            "config": dataclasses.asdict(self.config),
            "skeleton": self.skeleton.to_json(),
            "loss": self.loss,
            "box_padding": self.box_padding,
            "epoch": self.epoch,
            "training": self.training,
            "evaluation": self.evaluation,
            "calibration": self.calibration.to_json() if self.calibration else None,
            "smoothing": self.smoothing,
        }
        temporary = path.with_name(path.name + ".tmp")
        content = {"json": json.dumps(metadata), "weights": pack(self.weights), "presence": self.presence}
        torch.save({**content, "resume": self.resume}, temporary)
        temporary.replace(path)


def pack(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in half precision where that loses nothing: see `Checkpoint.rounded`."""
    packed = {}
    for name, tensor in weights.items():
        half = tensor.half()
        packed[name] = half if tensor.dtype == torch.float32 and torch.equal(half.float(), tensor) else tensor
    return packed


def unpack(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`pack` undone."""
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in weights.items()}


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: with the reason and the file's name.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        metadata = json.loads(content["json"])
        if metadata["format"] != FORMAT:
            raise CheckpointError(f"{path}: format {metadata['format']!r}, where this version reads {FORMAT!r}")
        calibration = metadata.get("calibration")  # older files have neither this nor presence nor smoothing
        return Checkpoint(
            config=config_from_json(metadata["architecture"], metadata["config"]),
            skeleton=Skeleton.from_json(metadata["skeleton"]),
            weights=unpack(content["weights"]),
            loss=metadata["loss"],
            box_padding=metadata["box_padding"],
            epoch=metadata["epoch"],
            training=metadata["training"],
            evaluation=metadata["evaluation"],
            presence=content.get("presence", {}),
            calibration=Calibration.from_json(calibration) if calibration else None,
            smoothing=metadata.get("smoothing", 0.0),
            resume=content["resume"],
        )
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:  # whatever an unpickler makes of a file that is something else
        remedy = "name a .pt file that `poseglass train` or `calibrate` wrote, or a shipped model"
        raise CheckpointError(f"{path}: not a Poseglass checkpoint; {remedy}") from error
