"""Presence, fitted to a trained network whose own weights stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from poseglass_training.annotations import KeypointData
from poseglass_training.calibrating import BATCH
from poseglass_training.checkpoint import Checkpoint
from poseglass_training.loop import normalise
from poseglass_training.networks.presence import Presence, pool
from poseglass_training.scenes import Scene, draw_crops, load_scenes, scenes_of, split

PRESENCE_EPOCHS, PRESENCE_BATCH = 20, 256

ROUNDS, STEP, FOLDS = 6, 8.0, 4
"""Of weighing the groups: rounds of trial fits, how far an error moves a weight, and parts of the pictures, each of
which is kept aside once."""

PEOPLE_EVERY, SCENE_CROPS, SCENE_DRAWS = 6, 6, 3
"""Labelled pictures taken, one in so many; crops of either kind from each COCO picture, and draws of them."""

DRAW = 1000
"""Between the seeds of two draws."""


@dataclass(frozen=True)
class PresenceSource:
    """Where crops with and without people come from.

    Attributes:
        name: of the data.
        learn, held_out: scenes to fit to, and to report on.
        each: crops of either kind a scene.
        draws: times that crops are drawn to learn from, each time others.
    """

    name: str
    learn: Sequence[Scene]
    held_out: Sequence[Scene]
    each: int = 1
    draws: int = 1


def fit_presence(
    checkpoint: Checkpoint, sources: Sequence[PresenceSource], seed: int = 0
) -> tuple[Checkpoint, dict[str, dict[str, Any]]]:
    """Train the network that tells crops with a person from crops without.

    Args:
        checkpoint: the pose network, whose features are read and whose weights stay as they are.
        sources: each should hold both kinds; however many crops they have, the source and kind that is hardest to tell
            is to do as well as it can.
        seed: of the crops, the first weights and the order.

    Returns:
        The checkpoint with its presence network; and source -> {"person", "nobody": percent right of the held-out
        crops of that kind, "crops": their number}.

    Raises:
        ValueError: there are no crops of one of the two kinds.
    """
    torch.manual_seed(seed)
    parts = [
        (i, fold, *_pooled(checkpoint, source.learn[fold::FOLDS], source.each, seed + DRAW * draw))
        for i, source in enumerate(sources)
        for fold in range(FOLDS)
        for draw in range(source.draws)
    ]
    pooled, person = torch.cat([x for _, _, x, _ in parts]), torch.cat([y for *_, y in parts])
    if not person.any() or person.all():
        raise ValueError("presence needs crops with a person and crops without: name pictures without people")
    group = torch.cat([2 * i + y.long() for i, _, _, y in parts])  # a source's crops of either kind
    fold = torch.cat([torch.full_like(y, fold, dtype=torch.long) for _, fold, _, y in parts])
    presence = _fit(pooled, person, _balanced(group, _group_weights(pooled, person, group, fold)))
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


def _group_weights(pooled: Tensor, person: Tensor, group: Tensor, fold: Tensor) -> Tensor:
    """How much each group of crops should count for the worst group to do best, found by cross-validation.

    Sources and kinds that are harder get more weight, round by round: the idea of distributionally robust training
    over groups (Sagawa et al., arXiv:1911.08731), with pictures kept aside to measure on instead of the training loss.
    Whole pictures: crops of one are too alike to tell how hard others are.
    """
    weights = best = torch.ones(int(group.max()) + 1)
    least = float("inf")
    for _ in range(ROUNDS):
        wrong = torch.zeros(len(group))
        for number in range(FOLDS):
            aside = fold == number
            if not aside.any() or aside.all():
                continue
            trial = _fit(pooled[~aside], person[~aside], _balanced(group[~aside], weights))
            with torch.inference_mode():
                said = trial.logits(pooled[aside]).argmax(dim=1) == 1
            wrong[aside] = (said != person[aside]).float()
        counts = torch.bincount(group, minlength=len(weights)).clamp(min=1)
        errors = torch.bincount(group, wrong, minlength=len(weights)) / counts
        if float(errors.max()) < least:
            least, best = float(errors.max()), weights
        weights = weights * torch.exp(STEP * (errors - errors.mean()))
    return best


def _balanced(group: Tensor, weights: Tensor) -> Tensor:
    """A weight a crop: those of each group sum to the group's."""
    counts = torch.bincount(group, minlength=len(weights)).clamp(min=1)
    return (weights / counts)[group]


def _fit(pooled: Tensor, person: Tensor, weight: Tensor) -> Presence:
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
    return presence


@torch.inference_mode()
def _pooled(checkpoint: Checkpoint, scenes: Sequence[Scene], each: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pooled features [N, 2 C] of crops with and without people, and which is which."""
    network = checkpoint.fast_network()
    pooled, person = [torch.zeros(0, 2 * network.feature_channels)], [torch.zeros(0, dtype=torch.bool)]
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        crops, holds = draw_crops(part, checkpoint.config.input_size, checkpoint.box_padding, each, seed)
        for i in range(0, len(crops), BATCH):
            images = normalise(torch.from_numpy(crops[i : i + BATCH]))
            pooled.append(pool(network.with_features(images)[1]))
        person.append(torch.from_numpy(holds))
    return torch.cat(pooled).clone(), torch.cat(person).clone()


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
        sources.append(PresenceSource(scenes.parent.name, fit, held, SCENE_CROPS, SCENE_DRAWS))
    return sources


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
