"""The training loop: two engine functions and the schedule around them."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from poseglass_core.metrics import pck, reference_lengths
from poseglass_core.skeleton import Skeleton
from poseglass_training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from poseglass_training.crops import Sample, SampleSource
from poseglass_training.decoder import EPSILON, decode
from poseglass_training.networks import Network, build
from poseglass_training.presets import Preset
from poseglass_training.targets import LOSSES, activate, gaussian_targets

WARM_UP = 0.05
"""Share of the run in which the learning rate rises."""


@dataclass(frozen=True)
class Progress:
    """What the loop tells whoever watches it.

    Attributes:
        epoch, epochs: finished epochs (a fraction inside one) and their total.
        loss: mean training loss of the epoch so far.
        dev_pck: PCK@0.2 on dev after the last whole epoch, percent; None before the first.
        seconds_left: estimate, from the crops' sizes.
        learning_rate: of the latest step.
    """

    epoch: float
    epochs: int
    loss: float
    dev_pck: float | None
    seconds_left: float
    learning_rate: float


class Diverged(RuntimeError):
    """The loss is no longer a finite number."""


class _Crops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A sample source at one epoch (None: unaugmented) and size, for DataLoader's worker processes."""

    def __init__(self, source: SampleSource, epoch: int | None, size: tuple[int, int]) -> None:
        self.source, self.epoch, self.size = source, epoch, size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self.source.sample(self.epoch, index, self.size)


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)  # the cores belong to the network


def _batches(
    crops: _Crops, batch_size: int, order: list[int] | None, workers: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of (images uint8 [N, H, W, 3], joints [N, J, 2], visible [N, J])."""
    loader: DataLoader[Any] = DataLoader(
        crops,
        batch_size=batch_size,
        sampler=order,
        drop_last=order is not None and len(order) >= batch_size,
        num_workers=workers,
        worker_init_fn=_one_thread,
        collate_fn=_collate,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


def _collate(samples: list[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    images, joints, visible = zip(*samples, strict=True)
    return tuple(torch.from_numpy(np.stack(part)) for part in (images, joints, visible))  # type: ignore[return-value]


def normalise(images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to [N, 3, H, W] in -1 ... 1, the layout that convolutions are fastest in."""
    return images.permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)  # a permuted NHWC tensor is channels_last


def bf16_pays(device: torch.device) -> bool:
    """Whether the processor computes in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def train_epoch(
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, Tensor, Tensor]],
    preset: Preset,
    schedule: Callable[[int], float],
    first_step: int,
    device: torch.device,
    on_step: Callable[[int, float], None],
) -> float:
    """One pass over the data.

    Args:
        network: trained in place.
        average: its running mean, updated in place.
        optimizer: of the network's parameters.
        batches: of (images, joints, visible).
        preset: loss, sigma, intermediate supervision and averaging.
        schedule: step within the epoch -> learning rate.
        first_step: steps behind this epoch.
        device: where to compute.
        on_step: called with (step, mean loss so far).

    Returns:
        The mean loss.

    Raises:
        Diverged: the loss is not finite.
    """
    network.train()
    bf16 = bf16_pays(device)
    total = 0.0
    step = -1
    for step, (images, joints, visible) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step)
        images, joints, visible = images.to(device), joints.to(device), visible.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            stacks = network(normalise(images))
        targets = gaussian_targets(joints, stacks[-1].shape[2:], preset.sigma)
        supervised = stacks if preset.intermediate_supervision else stacks[-1:]
        losses = [LOSSES[preset.loss](heatmaps.float(), targets, visible) for heatmaps in supervised]
        loss = torch.stack(losses).sum()
        value = losses[-1].item()
        if not math.isfinite(loss.item()):
            raise Diverged(f"the loss became {loss.item()} at step {step}: lower the learning rate or look at the data")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        _update_average(average, network, _average_decay(first_step + step, preset))
        total += value
        on_step(step, total / (step + 1))
    return total / max(step + 1, 1)


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    new = network.state_dict()
    for name, mean in average.state_dict().items():
        if mean.is_floating_point():
            mean.lerp_(new[name], 1 - decay)
        else:
            mean.copy_(new[name])


@torch.no_grad()
def evaluate_epoch(
    network: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor, Tensor]],
    preset: Preset,
    skeleton: Skeleton,
    device: torch.device,
) -> float:
    """PCK@0.2 in percent on unaugmented crops, box given; lengths and distances are taken inside the crops."""
    network.eval()
    predicted, truth, seen = [], [], []
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16_pays(device)):
        for images, joints, visible in batches:
            heatmaps = activate(network(normalise(images.to(device)))[-1].float(), preset.loss)
            predicted.append(decode(heatmaps, EPSILON[preset.loss])[0].cpu().numpy())
            truth.append(joints.numpy())
            seen.append(visible.numpy())
    answers, labels, mask = np.concatenate(predicted), np.concatenate(truth), np.concatenate(seen)
    side = float(images.shape[1]) / preset.box_padding
    boxes = np.full((len(labels), 4), side)
    lengths = reference_lengths(skeleton, labels, mask, boxes)
    return pck(skeleton, answers, labels, mask, lengths, resamples=0).pck


def train(
    preset: Preset,
    data: SampleSource,
    dev: SampleSource,
    out: Path,
    origin: dict[str, Any],
    seed: int = 0,
    resume: bool = False,
    device: str = "cpu",
    workers: int = 1,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Checkpoint:
    """Train a preset from scratch, or go on where a run stopped.

    Writes into `out`: `last.pt` after every epoch (enough to resume), `best.pt` whenever dev improves at the final input
    size, and `metrics.jsonl`.

    Args:
        preset: the recipe.
        data: what to learn from; its skeleton decides the joints.
        dev: what to select on.
        out: folder of the run; made where missing.
        origin: JSON that goes into the checkpoint's `training` (data sets, licences, preset name, commit).
        seed: of the initial weights, the order and the augmentation.
        resume: continue `out/last.pt`.
        device: of torch.
        workers: processes that prepare crops; 0 prepares them in this one.
        on_progress: called after every step and every epoch.

    Returns:
        The best checkpoint.

    Raises:
        CheckpointError: there is a run in `out` already, or none to resume, or another one.
        Diverged: the loss is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    last, best = out / "last.pt", out / "best.pt"
    if last.exists() != resume:
        wrong = f"{out} holds a run already: add --resume" if last.exists() else f"{last}: there is no run to resume"
        raise CheckpointError(f"{wrong}, or choose another folder")
    place = torch.device(device)
    torch.manual_seed(seed)
    config = replace(preset.network, joints=len(data.skeleton.joints))
    network: Network = build(config).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay)
    average = copy.deepcopy(network)
    recipe = asdict(preset)
    start, best_pck, dev_pck = 0, -1.0, None
    if resume:
        checkpoint = load_checkpoint(last)
        if checkpoint.training.get("recipe") != json.loads(json.dumps(recipe)) or checkpoint.training["seed"] != seed:
            raise CheckpointError(f"{last} was made by another preset or seed: choose another folder for this run")
        network.load_state_dict(checkpoint.resume["weights"])
        average.load_state_dict(checkpoint.weights)
        optimizer.load_state_dict(checkpoint.resume["optimizer"])
        start, best_pck = checkpoint.epoch, checkpoint.training["best_dev_pck"]
    sizes = [phase.size for phase in preset.phases for _ in range(phase.epochs)]
    steps = max(len(data) // preset.batch_size, 1)
    training = {**origin, "recipe": recipe, "seed": seed, "epochs": len(sizes)}
    seconds_per_pixel = 0.0

    for epoch in range(start, len(sizes)):
        size = (sizes[epoch], sizes[epoch])
        began = time.monotonic()
        work_left = sum(s * s for s in sizes[epoch + 1 :])

        def report(
            done: int, loss: float, epoch: int = epoch, began: float = began, work_left: int = work_left
        ) -> None:
            share = done / steps
            per_pixel = (time.monotonic() - began) / max(share, 1e-9) / sizes[epoch] ** 2
            left = per_pixel * (work_left + (1 - share) * sizes[epoch] ** 2)
            rate = _learning_rate((epoch * steps + done) / (steps * len(sizes)), preset)
            on_progress(Progress(epoch + share, len(sizes), loss, dev_pck, left, rate))

        order = np.random.default_rng((seed, epoch)).permutation(len(data)).tolist()
        loss = train_epoch(
            network,
            average,
            optimizer,
            _batches(_Crops(data, epoch, size), preset.batch_size, order, workers),
            preset,
            lambda step, epoch=epoch: _learning_rate(  # type: ignore[misc]
                (epoch * steps + step) / (steps * len(sizes)), preset
            ),
            epoch * steps,
            place,
            lambda step, mean, report=report: report(step + 1, mean),  # type: ignore[misc]
        )
        trained = time.monotonic() - began
        dev_pck = evaluate_epoch(
            average, _batches(_Crops(dev, None, size), preset.batch_size, None, workers), preset, data.skeleton, place
        )
        report(steps, loss)
        final_size = sizes[epoch] == sizes[-1]
        improved = final_size and dev_pck > best_pck
        best_pck = dev_pck if improved else best_pck
        shared = Checkpoint(
            config=config,
            skeleton=data.skeleton,
            weights={name: tensor.cpu().clone() for name, tensor in average.state_dict().items()},
            loss=preset.loss,
            box_padding=preset.box_padding,
            epoch=epoch + 1,
            training={**training, "best_dev_pck": best_pck},
            evaluation=[{"data": "dev", "protocol": f"PCK@0.2, box given, {size[0]} px", "pck": dev_pck}],
        )
        if improved:
            shared.save(best)
        replace(shared, resume={"weights": network.state_dict(), "optimizer": optimizer.state_dict()}).save(last)
        _append_metrics(
            out / "metrics.jsonl",
            epoch,
            {
                "epoch": epoch + 1,
                "size": size[0],
                "loss": loss,
                "dev_pck": dev_pck,
                "seconds": round(trained, 2),
                "crops_per_second": round(steps * preset.batch_size / trained, 1),
            },
        )
    return load_checkpoint(best)


def _learning_rate(progress: float, preset: Preset) -> float:
    """One cycle over the run: linear warm-up, then half a cosine down to nothing. `progress` runs from 0 to 1."""
    if progress < WARM_UP:
        return preset.learning_rate * (0.02 + 0.98 * progress / WARM_UP)
    return preset.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _average_decay(step: int, preset: Preset) -> float:
    """Short memory at first: a mean that still holds the untrained weights would hide what has been learnt."""
    return min(preset.ema, (1 + step) / (10 + step))


def _append_metrics(path: Path, epoch: int, row: dict[str, Any]) -> None:
    """Rows of epochs that a killed run wrote but a resumed one does again are replaced."""
    kept = path.read_text("utf-8").splitlines()[:epoch] if path.exists() else []
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("\n".join([*kept, json.dumps(row)]) + "\n", "utf-8")
    temporary.replace(path)
