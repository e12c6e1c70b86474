"""The training loop: two engine functions and the schedule around them."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from poseglass_core.metrics import pck, reference_lengths
from poseglass_core.skeleton import Skeleton
from poseglass_training.batches import Batch, CropDataset, Stopwatch, crop_batches
from poseglass_training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from poseglass_training.crops import Augmentation, SampleSource
from poseglass_training.decoder import EPSILON, decode
from poseglass_training.devices import bf16_pays
from poseglass_training.networks import Network, build
from poseglass_training.presets import Preset
from poseglass_training.schedule import average_decay, learning_rate
from poseglass_training.targets import LOSSES, activate, gaussian_targets
from poseglass_training.teacher import Teacher, blend, require_teacher
from poseglass_training.warmstart import warm_start


@dataclass(frozen=True)
class Progress:
    """What the loop tells whoever watches it.

    Attributes:
        epoch, epochs: finished epochs (a fraction inside one) and their total.
        loss: mean training loss of the epoch so far.
        dev_pck: PCK@0.2 on dev after the last whole epoch, percent; None before the first.
        seconds_left: estimate, from the crops' sizes.
        learning_rate: of the latest step.
        epoch_done: whether an epoch has just been evaluated and its files written.
    """

    epoch: float
    epochs: int
    loss: float
    dev_pck: float | None
    seconds_left: float
    learning_rate: float
    epoch_done: bool = False


class Diverged(RuntimeError):
    """The loss is no longer a finite number."""


def normalise(images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to [N, 3, H, W] in -1 ... 1, the layout that convolutions are fastest in."""
    return images.permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)  # a permuted NHWC tensor is channels_last


def train_epoch(
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    preset: Preset,
    schedule: Callable[[int], float],
    first_step: int,
    device: torch.device,
    on_step: Callable[[int, float], None],
    bf16: bool | None = None,
    teacher: Teacher | None = None,
) -> float:
    """One pass over the data.

    Args:
        network: trained in place.
        average: its running mean, updated in place.
        optimizer: of the network's parameters.
        batches: of (images, joints, visible, nobody).
        preset: loss, sigma, intermediate supervision, averaging and the teacher's share.
        schedule: step within the epoch -> learning rate.
        first_step: steps behind this epoch.
        device: where to compute.
        on_step: called with (step, mean loss so far).
        bf16: whether to compute in bfloat16; None: where the device does so natively.
        teacher: learned from beside the labels; None: nobody.

    Returns:
        The mean loss.

    Raises:
        Diverged: the loss is not finite.
    """
    network.train()
    bf16 = bf16_pays(device) if bf16 is None else bf16
    total = 0.0
    step = -1
    for step, (images, joints, visible, nobody) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step)
        images, joints, visible, nobody = (part.to(device) for part in (images, joints, visible, nobody))
        crops = normalise(images)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            stacks = network(crops)
        targets = gaussian_targets(joints, stacks[-1].shape[2:], preset.sigma)
        if teacher is not None:
            targets = blend(targets, teacher.heatmaps(crops), preset.taught)
        targets[nobody] = 0  # and that is to be learned too
        visible = visible | nobody[:, None]
        supervised = stacks if preset.intermediate_supervision else stacks[-1:]
        losses = [LOSSES[preset.loss](heatmaps.float(), targets, visible) for heatmaps in supervised]
        loss = torch.stack(losses).sum()
        value = losses[-1].item()
        if not math.isfinite(loss.item()):
            raise Diverged(f"the loss became {loss.item()} at step {step}: lower the learning rate or look at the data")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        update_average(average, network, average_decay(first_step + step, preset.ema))
        total += value
        on_step(step, total / (step + 1))
    return total / max(step + 1, 1)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move a running mean of weights, in place, towards a network's: by 1 - `decay` of the way."""
    new = network.state_dict()
    for name, mean in average.state_dict().items():
        if mean.is_floating_point():
            mean.lerp_(new[name], 1 - decay)
        else:
            mean.copy_(new[name])


@torch.no_grad()
def evaluate_epoch(
    network: nn.Module,
    batches: Iterator[Batch],
    preset: Preset,
    skeleton: Skeleton,
    device: torch.device,
) -> float:
    """PCK@0.2 in percent on unaugmented crops, box given; lengths and distances are taken inside the crops."""
    network.eval()
    predicted, truth, seen = [], [], []
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16_pays(device)):
        for images, joints, visible, _ in batches:
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
    init: Checkpoint | None = None,
    on_init: Callable[[list[str], int], None] = lambda *_: None,
    teacher: Checkpoint | None = None,
) -> Checkpoint:
    """Train a preset from scratch or from given weights, or go on where a run stopped.

    Writes into `out`: `last.pt` after every epoch (enough to resume), `best.pt` whenever dev improves at the final
    input size, and `metrics.jsonl`.

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
        on_progress: called after every step, and after every epoch once its files are written.
        init: weights to start from, as `warm_start` takes them; a resumed run has its own.
        on_init: told which of the network's tensors keep their fresh values, and how many it has.
        teacher: a trained network to learn from beside the labels, where the preset gives it a share.

    Returns:
        The best checkpoint.

    Raises:
        CheckpointError: there is a run in `out` already, or none to resume, or another one; `init` or `teacher` does
            not fit, or the preset wants a teacher and there is none, or the other way round.
        ValueError: nobody in dev can be measured.
        Diverged: the loss is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    last, best = out / "last.pt", out / "best.pt"
    if last.exists() != resume:
        wrong = f"{out} holds a run already: add --resume" if last.exists() else f"{last}: there is no run to resume"
        raise CheckpointError(f"{wrong}, or choose another folder")
    require_teacher(preset, teacher is not None)
    place = torch.device(device)
    learned_from = Teacher(teacher, data.skeleton, place) if teacher else None
    torch.manual_seed(seed)
    config = replace(preset.network, joints=len(data.skeleton.joints))
    network: Network = build(config)
    if init is not None and not resume:
        on_init(warm_start(network, data.skeleton, init), len(network.state_dict()))
    network = network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay)
    average = copy.deepcopy(network)
    recipe = json.loads(json.dumps(asdict(preset)))
    start, best_pck, dev_pck = 0, -1.0, None
    if resume:
        checkpoint = _load_run(last, recipe, seed, data, origin)
        network.load_state_dict(checkpoint.resume["weights"])
        average.load_state_dict(checkpoint.weights)
        optimizer.load_state_dict(checkpoint.resume["optimizer"])
        start, best_pck = checkpoint.epoch, checkpoint.training["best_dev_pck"]
        dev_pck = checkpoint.evaluation[0]["pck"]
    sizes = [phase.size for phase in preset.phases for _ in range(phase.epochs)]
    steps = max(len(data) // preset.batch_size, 1)
    training = {**origin, "recipe": recipe, "seed": seed, "epochs": len(sizes), "samples": len(data)}

    for epoch in range(start, len(sizes)):
        size = (sizes[epoch], sizes[epoch])
        began = time.monotonic()

        def rate(step: int, epoch: int = epoch) -> float:
            return learning_rate((epoch * steps + step) / (steps * len(sizes)), preset.learning_rate)

        def report(
            done: int,
            loss: float,
            dev_pck: float | None = dev_pck,
            epoch_done: bool = False,
            epoch: int = epoch,
            began: float = began,
        ) -> None:
            share = done / steps
            per_pixel = (time.monotonic() - began) / max(share, 1e-9) / sizes[epoch] ** 2
            pixels_left = sum(s * s for s in sizes[epoch + 1 :]) + (1 - share) * sizes[epoch] ** 2
            seconds_left = per_pixel * pixels_left
            on_progress(Progress(epoch + share, len(sizes), loss, dev_pck, seconds_left, rate(done), epoch_done))

        order = np.random.default_rng((seed, epoch)).permutation(len(data)).tolist()
        batches = Stopwatch(crop_batches(CropDataset(data, epoch, size), preset.batch_size, order, workers))
        loss = train_epoch(
            network,
            average,
            optimizer,
            batches,
            preset,
            rate,
            epoch * steps,
            place,
            lambda step, mean, report=report: report(step + 1, mean),  # type: ignore[misc]
            teacher=learned_from,
        )
        trained = time.monotonic() - began
        dev_pck = evaluate_epoch(
            average,
            crop_batches(CropDataset(dev, None, size), preset.batch_size, None, workers),
            preset,
            data.skeleton,
            place,
        )
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
        append_metrics(
            out / "metrics.jsonl",
            epoch,
            {
                "epoch": epoch + 1,
                "size": size[0],
                "loss": loss,
                "dev_pck": dev_pck,
                "learning_rate": rate(steps),
                "seconds": round(trained, 2),
                "crops_per_second": round(steps * preset.batch_size / trained, 1),
                "waiting": round(batches.seconds / trained, 4),
            },
        )
        report(steps, loss, dev_pck, epoch_done=True)
    return load_checkpoint(best)


def _load_run(last: Path, recipe: dict[str, Any], seed: int, data: SampleSource, origin: dict[str, Any]) -> Checkpoint:
    """The checkpoint to go on from; CheckpointError where it is of another run than the one described."""
    checkpoint = load_checkpoint(last)
    if not checkpoint.resume:
        raise CheckpointError(f"{last} holds weights only, not what is needed to go on training")
    if _completed(checkpoint) != recipe or checkpoint.training.get("seed") != seed:
        raise CheckpointError(f"{last} was made by another preset or seed: choose another folder for this run")
    if checkpoint.skeleton.joints != data.skeleton.joints:
        raise CheckpointError(f"{last} was trained on other joints: choose another folder for this run")
    if checkpoint.training.get("samples") != len(data) or not _same_data(checkpoint.training, origin):
        raise CheckpointError(f"{last} was trained on other data: choose another folder for this run")
    if checkpoint.training.get("teacher") != origin.get("teacher"):
        raise CheckpointError(f"{last} learned from another teacher: choose another folder for this run")
    return checkpoint


def _same_data(then: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a checkpoint is of the same data sets; what an older one does not say of them is not held against it."""
    before, after = then.get("data", []), now.get("data", [])
    return len(before) == len(after) and all(
        a == {key: value for key, value in b.items() if key in a} for a, b in zip(before, after, strict=True)
    )


def _completed(checkpoint: Checkpoint) -> dict[str, Any]:
    """The recipe of a checkpoint, with the defaults of settings that came after it was written."""
    recipe = checkpoint.training.get("recipe", {})
    kinds = {"network": type(checkpoint.config), "augmentation": Augmentation}
    parts = {name: {**_defaults(kind), **recipe.get(name, {})} for name, kind in kinds.items()}
    return {**_defaults(Preset), **recipe, **parts}


def _defaults(kind: Any) -> dict[str, Any]:
    """A dataclass's defaults as JSON gives them back; without those that are dataclasses themselves."""
    values = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    plain: dict[str, Any] = json.loads(json.dumps({n: v for n, v in values.items() if not is_dataclass(v)}))
    return plain


def append_metrics(path: Path, epoch: int, row: dict[str, Any]) -> None:
    """Add an epoch's row to `metrics.jsonl`; rows of epochs that a resumed run does again are replaced."""
    kept = path.read_text("utf-8").splitlines()[:epoch] if path.exists() else []
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("\n".join([*kept, json.dumps(row)]) + "\n", "utf-8")
    temporary.replace(path)
