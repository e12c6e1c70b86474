"""What is fitted to a trained network, its own weights untouched: presence, and scores that are probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from poseglass_core.calibration import Calibration, log_mass
from poseglass_core.metrics import reference_lengths
from poseglass_core.reliability import Reliability, reliability
from poseglass_training.annotations import KeypointData
from poseglass_training.batches import CropDataset, crop_batches
from poseglass_training.checkpoint import Checkpoint
from poseglass_training.crops import SampleSource
from poseglass_training.decoder import EPSILON, decode
from poseglass_training.loop import normalise
from poseglass_training.networks import Network
from poseglass_training.networks.presence import Presence, pool
from poseglass_training.scenes import Scene, draw_crops, load_scenes, scenes_of, split
from poseglass_training.targets import activate

WINDOW = 5
"""Heatmap cells a side whose sum the scores are made of."""

RIDGE = 20.0
"""Pull of a joint's own numbers towards those fitted to all joints together."""

RIGHT = 0.2
"""Share of the reference length within which a joint is right, as in PCK@0.2."""

PRESENCE_EPOCHS, PRESENCE_BATCH = 60, 256

PEOPLE_EVERY, SCENE_CROPS = 3, 10
"""Labelled pictures taken, one in so many; crops of either kind from each COCO picture."""

BATCH = 8
"""Crops a pass: few, so that the allocator keeps the memory instead of giving it back each time."""


@dataclass(frozen=True)
class PresenceSource:
    """Where crops with and without people come from.

    Attributes:
        name: of the data.
        learn, held_out: scenes to fit to, and to report on.
        each: crops of either kind a scene.
    """

    name: str
    learn: Sequence[Scene]
    held_out: Sequence[Scene]
    each: int = 1


def calibrate(checkpoint: Checkpoint, dev: SampleSource, name: str) -> tuple[Checkpoint, Reliability]:
    """Fit scores that are probabilities of a right joint, given that the joint is in the picture.

    Args:
        checkpoint: the network; its weights stay as they are.
        dev: people that were not trained on.
        name: of dev, for the record.

    Returns:
        The checkpoint with its calibration; and how reliable the scores are on the half of dev that was not fitted to,
        both halves taken in turn.

    Raises:
        ValueError: nobody in dev has a reference length.
    """
    features, right, counted = _joint_outcomes(checkpoint, dev)
    halves = np.arange(len(features)) % 2
    scores = np.zeros(right.shape)
    for half in (0, 1):
        part = _fit(features[halves != half], right[halves != half], counted[halves != half], "")
        scores[halves == half] = part.scores_of_mass(features[halves == half])
    joint = np.broadcast_to(np.arange(right.shape[1]), right.shape)
    fitted = _fit(features, right, counted, f"{name}, {len(features)} people")
    return replace(checkpoint, calibration=fitted), reliability(scores[counted], right[counted], joint[counted])


@torch.inference_mode()
def _joint_outcomes(
    checkpoint: Checkpoint, dev: SampleSource
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Log masses [P, J], whether each joint is right, and whether it can be said at all."""
    network, size = _fast(checkpoint), checkpoint.config.input_size
    features, predicted, truth, seen = [], [], [], []
    for images, joints, visible, _ in crop_batches(CropDataset(dev, None, size), BATCH, None, 0):
        heatmaps = activate(network(normalise(images))[-1], checkpoint.loss)
        features.append(log_mass(heatmaps.numpy(), WINDOW))
        predicted.append(decode(heatmaps, EPSILON[checkpoint.loss])[0].numpy())
        truth.append(joints.numpy())
        seen.append(visible.numpy())
    labels, mask = np.concatenate(truth), np.concatenate(seen)
    side = max(size) / checkpoint.box_padding
    lengths = reference_lengths(checkpoint.skeleton, labels, mask, np.full((len(labels), 4), side))
    if not np.isfinite(lengths).any():
        raise ValueError("nobody to calibrate on has a reference length")
    distance = np.linalg.norm(np.concatenate(predicted) - labels, axis=2)
    right = distance <= RIGHT * lengths[:, None]
    return np.concatenate(features).astype(np.float64), right, mask & np.isfinite(lengths)[:, None]


def _fit(
    features: NDArray[np.float64], right: NDArray[np.bool_], counted: NDArray[np.bool_], fitted_on: str
) -> Calibration:
    mean = features.mean(axis=1, keepdims=True)
    design = np.stack([np.ones_like(features), features, np.broadcast_to(mean, features.shape)], axis=2)  # [P, J, 3]
    shared = _logistic(design[counted], right[counted], np.zeros(3), 1e-3)
    own = [
        _logistic(design[counted[:, j], j], right[counted[:, j], j], shared, RIDGE) for j in range(features.shape[1])
    ]
    bias, slope, common = (tuple(round(float(v), 6) for v in column) for column in np.array(own).T)
    return Calibration(WINDOW, bias, slope, common, fitted_on)


def _logistic(
    design: NDArray[np.float64], right: NDArray[np.bool_], prior: NDArray[np.float64], strength: float
) -> NDArray[np.float64]:
    """Logistic regression by Newton's method, held to a prior by a ridge; [K, D] and [K] -> [D]."""
    weights = prior.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (p - right) + strength * (weights - prior)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + strength * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 5 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return weights


def fit_presence(
    checkpoint: Checkpoint, sources: Sequence[PresenceSource], seed: int = 0
) -> tuple[Checkpoint, dict[str, dict[str, Any]]]:
    """Train the network that tells crops with a person from crops without.

    Args:
        checkpoint: the pose network, whose features are read and whose weights stay as they are.
        sources: each should hold both kinds; sources and kinds count alike, however many crops they have.
        seed: of the crops, the first weights and the order.

    Returns:
        The checkpoint with its presence network; and source -> {"person", "nobody": percent right of the held-out
        crops of that kind, "crops": their number}.

    Raises:
        ValueError: there are no crops of one of the two kinds.
    """
    torch.manual_seed(seed)
    learn = [_pooled(checkpoint, source.learn, source.each, seed) for source in sources]
    pooled, person = torch.cat([x for x, _ in learn]), torch.cat([y for _, y in learn])
    if not person.any() or person.all():
        raise ValueError("presence needs crops with a person and crops without: name pictures without people")
    weight = torch.cat([_balance(y) for _, y in learn])
    presence = Presence(pooled.shape[1] // 2)
    # Inputs brought to zero mean and unit spread train fast; the two numbers are folded into the first layer below.
    mean, spread = pooled.mean(dim=0), pooled.std(dim=0).clamp(min=1e-3)
    optimizer = torch.optim.AdamW(presence.parameters(), lr=2e-3, weight_decay=0.02)
    inputs = (pooled - mean) / spread
    steps = max(len(inputs) // PRESENCE_BATCH, 1) * PRESENCE_EPOCHS
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.multinomial(weight, min(PRESENCE_BATCH, len(weight)), replacement=True)
        noisy = inputs[rows] + 0.1 * torch.randn_like(inputs[rows])
        loss = F.cross_entropy(presence.logits(noisy), person[rows].long(), label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        presence.hidden.bias.sub_(presence.hidden.weight @ (mean / spread))
        presence.hidden.weight.div_(spread)
    report = {}
    for source in sources:
        x, y = _pooled(checkpoint, source.held_out, source.each, seed + 1)
        with torch.inference_mode():
            said = presence.logits(x).softmax(dim=1)[:, 1] >= 0.5 if len(y) else y
        report[source.name] = {
            **{kind: _percent(said[y == holds] == holds) for kind, holds in (("person", True), ("nobody", False))},
            "crops": len(y),
        }
    weights = {name: tensor.detach().clone() for name, tensor in presence.state_dict().items()}
    return replace(checkpoint, presence=weights), report


@torch.inference_mode()
def _pooled(checkpoint: Checkpoint, scenes: Sequence[Scene], each: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pooled features [N, 2 C] of crops with and without people, and which is which."""
    network = _fast(checkpoint)
    pooled, person = [torch.zeros(0, 2 * network.feature_channels)], [torch.zeros(0, dtype=torch.bool)]
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        crops, holds = draw_crops(part, checkpoint.config.input_size, checkpoint.box_padding, each, seed)
        for i in range(0, len(crops), BATCH):
            images = normalise(torch.from_numpy(crops[i : i + BATCH]))
            pooled.append(pool(network.with_features(images)[1]))
        person.append(torch.from_numpy(holds))
    return torch.cat(pooled).clone(), torch.cat(person).clone()


def _fast(checkpoint: Checkpoint) -> Network:
    network: Network = checkpoint.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def presence_sources(learn: KeypointData, held_out: KeypointData, scenes: Path | None) -> list[PresenceSource]:
    """The labelled people's own pictures; and a COCO file's, every fifth of which (by id) is held out.

    Args:
        learn, held_out: labelled people.
        scenes: COCO file with every person's box; None: no such source.

    Raises:
        AnnotationError: `scenes` is missing or is no such file.
    """
    sources = [PresenceSource(learn.name, scenes_of(learn)[::PEOPLE_EVERY], scenes_of(held_out))]
    if scenes is not None:
        fit, held = split(load_scenes(scenes))
        sources.append(PresenceSource(scenes.parent.name, fit, held, SCENE_CROPS))
    return sources


def _balance(person: Tensor) -> Tensor:
    """Weights that make the two kinds of a source count alike, and sum to 1."""
    counts = torch.stack([(~person).sum(), person.sum()]).clamp(min=1)
    weights = 1.0 / counts[person.long()]
    return weights / weights.sum() if len(person) else weights


def _percent(right: Tensor) -> float | None:
    return round(100 * float(right.float().mean()), 1) if len(right) else None


def describe(report: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a source about `fit_presence`'s report."""

    def say(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f} %"

    return "\n".join(
        f"presence on {name}: person {say(row['person'])}, nobody {say(row['nobody'])} of {row['crops']} crops"
        for name, row in report.items()
    )
