"""Training a detector: an engine function and the schedule around it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from poseglass_training.batches import Stopwatch, begin_worker
from poseglass_training.checkpoint import Checkpoint, CheckpointError
from poseglass_training.detection.canvas import Example
from poseglass_training.detection.checkpoint import DetectorCheckpoint, load_detector_checkpoint
from poseglass_training.detection.network import Detector, DetectorConfig
from poseglass_training.detection.presets import DetectorPreset
from poseglass_training.detection.scenes import DetectionScenes
from poseglass_training.detection.targets import detection_loss
from poseglass_training.devices import bf16_pays
from poseglass_training.loop import Diverged, append_metrics, normalise, update_average
from poseglass_training.networks import HourglassConfig
from poseglass_training.schedule import average_decay, learning_rate


class DetectionBatch(NamedTuple):
    """Images uint8 [N, S, S, 3], boxes float32 [N, M, 4], valid bool [N, M], known bool [N, S/4, S/4]."""

    images: Tensor
    boxes: Tensor
    valid: Tensor
    known: Tensor


class _Epoch(Dataset[Example]):
    def __init__(self, scenes: DetectionScenes, epoch: int, size: int) -> None:
        self.scenes, self.epoch, self.size = scenes, epoch, size

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Example:
        return self.scenes.sample(self.epoch, index, self.size)


def detection_batches(
    scenes: DetectionScenes, epoch: int, size: int, batch_size: int, workers: int
) -> Iterator[DetectionBatch]:
    """The training pictures of an epoch; a last, smaller batch is dropped.

    Args:
        scenes: to draw from.
        epoch: which pictures.
        size: their side in pixels.
        batch_size: pictures a batch.
        workers: processes that prepare them; 0: this one.
    """
    loader: DataLoader[Any] = DataLoader(
        _Epoch(scenes, epoch, size),
        batch_size=batch_size,
        drop_last=True,
        num_workers=workers,
        worker_init_fn=begin_worker,
        collate_fn=collate,
        prefetch_factor=4 if workers else None,
    )
    yield from loader


def collate(examples: list[Example]) -> DetectionBatch:
    """Examples to a batch, their boxes padded to the longest list."""
    most = max(max(len(example.boxes) for example in examples), 1)
    boxes = np.zeros((len(examples), most, 4), np.float32)
    valid = np.zeros((len(examples), most), bool)
    for i, example in enumerate(examples):
        boxes[i, : len(example.boxes)] = example.boxes
        valid[i, : len(example.boxes)] = True
    parts = np.stack([e.image for e in examples]), boxes, valid, np.stack([e.known for e in examples])
    return DetectionBatch(*(torch.from_numpy(part) for part in parts))


def train_detection_epoch(
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[DetectionBatch],
    schedule: Callable[[int], float],
    decay: Callable[[int], float],
    device: torch.device,
    on_step: Callable[[int, float], None],
) -> dict[str, float]:
    """One pass over an epoch's pictures.

    Args:
        network: trained in place.
        average: its running mean, updated in place.
        optimizer: of the network's parameters.
        batches: of training pictures.
        schedule: step within the epoch -> learning rate.
        decay: step within the epoch -> decay of the running mean.
        device: where to compute.
        on_step: called with (step, mean loss so far).

    Returns:
        Mean "centre_loss" and "box_loss".

    Raises:
        Diverged: the loss is not finite.
    """
    network.train()
    totals, step = torch.zeros(2), -1
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step)
        images, boxes, valid, known = (part.to(device) for part in batch)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16_pays(device)):
            centres, geometry = network(normalise(images))
        losses = torch.stack(detection_loss(centres.float(), geometry.float(), boxes, valid, known))
        value = losses.detach().cpu()
        if not torch.isfinite(value).all():
            raise Diverged(f"the loss became {value.tolist()} at step {step}: lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        update_average(average, network, decay(step))
        totals += value
        on_step(step, float(totals.sum()) / (step + 1))
    centre, box = (totals / max(step + 1, 1)).tolist()
    return {"centre_loss": centre, "box_loss": box}


def train_detector(
    preset: DetectorPreset,
    scenes: DetectionScenes,
    out: Path,
    origin: dict[str, Any],
    seed: int = 0,
    resume: bool = False,
    device: str = "cpu",
    workers: int = 1,
    on_progress: Callable[[float, float], None] = lambda *_: None,
    measure: Callable[[DetectorCheckpoint], dict[str, float]] = lambda _: {},
    init: Checkpoint | DetectorCheckpoint | None = None,
) -> DetectorCheckpoint:
    """Train a detector, from given weights or from scratch, or go on where a run stopped.

    Writes `last.pt` and a row of `metrics.jsonl` into `out` after every epoch.

    Args:
        preset: the recipe.
        scenes: what to learn from.
        out: folder of the run; made where missing.
        origin: JSON that goes into the checkpoint's `training`.
        seed: of the first weights.
        resume: continue `out/last.pt`.
        device: of torch.
        workers: processes that prepare pictures.
        on_progress: called after every step with epochs done, as a fraction, and the mean loss.
        measure: called after every epoch; what it gives goes into the epoch's row.
        init: a pose network, whose trunk is taken, or a detector.

    Returns:
        The last checkpoint, without what is needed to resume.

    Raises:
        CheckpointError: there is a run in `out` already, or none to resume, or another one; `init` does not fit.
        Diverged: the loss is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    check_run(out, resume)
    last = out / "last.pt"
    place = torch.device(device)
    torch.manual_seed(seed)
    network = Detector(preset.network)
    if init is not None and not resume:
        take_trunk(network, init)
    network = network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay)
    average = copy.deepcopy(network)
    recipe = json.loads(json.dumps(asdict(preset)))
    training = {**origin, "recipe": recipe, "seed": seed, "epochs": preset.epochs, "samples": len(scenes)}
    done = 0
    checkpoint = DetectorCheckpoint(preset.network, {}, 0, training)
    if resume:
        checkpoint = load_detector_checkpoint(last)
        same = {key: checkpoint.training.get(key) for key in ("recipe", "seed", "samples")}
        ours = {key: training[key] for key in same}
        if not checkpoint.resume or (same, _files(checkpoint.training)) != (ours, _files(training)):
            raise CheckpointError(
                f"{last} was made by another preset, seed or data: choose another folder for this run"
            )
        network.load_state_dict(checkpoint.resume["weights"])
        average.load_state_dict(checkpoint.weights)
        optimizer.load_state_dict(checkpoint.resume["optimizer"])
        done = checkpoint.epoch
    steps = max(len(scenes) // preset.batch_size, 1)
    for epoch in range(done, preset.epochs):
        began = time.monotonic()
        batches = Stopwatch(detection_batches(scenes, epoch, preset.network.input_size[0], preset.batch_size, workers))
        losses = train_detection_epoch(
            network,
            average,
            optimizer,
            batches,
            lambda step, e=epoch: learning_rate((e * steps + step) / (steps * preset.epochs), preset.learning_rate),  # type: ignore[misc]
            lambda step, e=epoch: average_decay(e * steps + step, preset.ema),  # type: ignore[misc]
            place,
            lambda step, loss, e=epoch: on_progress(e + (step + 1) / steps, loss),  # type: ignore[misc]
        )
        seconds = time.monotonic() - began
        weights = {name: tensor.cpu().clone() for name, tensor in average.state_dict().items()}
        checkpoint = DetectorCheckpoint(preset.network, weights, epoch + 1, training)
        replace(checkpoint, resume={"weights": network.state_dict(), "optimizer": optimizer.state_dict()}).save(last)
        row = {
            "epoch": epoch + 1,
            **losses,
            **measure(checkpoint),
            "seconds": round(seconds, 2),
            "pictures_per_second": round(steps * preset.batch_size / seconds, 1),
            "waiting": round(batches.seconds / seconds, 4),
        }
        append_metrics(out / "metrics.jsonl", epoch, row)
    return replace(checkpoint, resume={})


def check_run(out: Path, resume: bool) -> None:
    """Make sure that a run can begin in a folder, or go on in it.

    Raises:
        CheckpointError: there is a run already, or none to resume.
    """
    there = (out / "last.pt").exists()
    if there and not resume:
        raise CheckpointError(f"{out} holds a run already: add --resume, or choose another folder")
    if resume and not there:
        raise CheckpointError(f"{out / 'last.pt'}: there is no run to resume; leave out --resume, or name its folder")


def _files(training: dict[str, Any]) -> list[str | None]:
    """Hashes of the annotation files that a run learns from, wherever they lie."""
    return [part.get("sha256") for part in training.get("data", [])]


def take_trunk(network: Detector, init: Checkpoint | DetectorCheckpoint) -> None:
    """Begin from the weights of a pose network's first stack, or of a detector.

    Raises:
        CheckpointError: they are of another architecture or size.
    """
    config = init.config
    if isinstance(config, DetectorConfig):
        offered, prefix = init.weights, ""
    elif isinstance(config, HourglassConfig):
        offered = {name: tensor for name, tensor in init.weights.items() if not name.startswith("heads.")}
        prefix = "trunk."
    else:
        raise CheckpointError("weights to start from must be of an hourglass or of a detector")
    own = network.state_dict()
    taken = {
        prefix + name: tensor
        for name, tensor in offered.items()
        if prefix + name in own and own[prefix + name].shape == tensor.shape
    }
    if len(taken) < len(own) / 2:
        raise CheckpointError(
            f"weights to start from: only {len(taken)} of the detector's {len(own)} tensors fit; name a network of the "
            "same width"
        )
    network.load_state_dict(taken, strict=False)
