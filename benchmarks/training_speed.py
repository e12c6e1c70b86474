"""Training crops a second of every preset, in bfloat16 and in float32, and how long the network waits for crops.

    python benchmarks/training_speed.py --data ANN.json

Times the project's own `train_epoch`; figures are rendered where no data is given.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from machine import processor
from poseglass_core.files import write_whole
from poseglass_training.annotations import AnnotationError, KeypointData, load_coco
from poseglass_training.batches import Batch, CropDataset, Stopwatch, crop_batches
from poseglass_training.crops import PhotoCrops, SampleSource
from poseglass_training.devices import DeviceError, bf16_pays, keep_freed_memory, pick_device
from poseglass_training.loop import train_epoch
from poseglass_training.networks import build
from poseglass_training.presets import PRESETS, Preset
from poseglass_training.synthetic import SyntheticCrops


@dataclass(frozen=True)
class Work:
    """What is timed.

    Attributes:
        name: of the preset.
        size: side of the crops in pixels.
        bf16: bfloat16 autocast, else float32 throughout.
    """

    name: str
    size: int
    bf16: bool


@dataclass(frozen=True)
class Speed:
    """How fast training went, after the warm-up.

    Attributes:
        crops_per_second: waiting included.
        waiting: share of the time in which the next batch was waited for.
        seconds: timed.
        steps: timed.
    """

    crops_per_second: float
    waiting: float
    seconds: float
    steps: int


class Steps:
    """Times steps once the warm-up is over; `on_step` is for `train_epoch`.

    Args:
        batches: what the steps wait for.
        warm_up: steps that are not timed, at least one.
    """

    def __init__(self, batches: Stopwatch[Batch], warm_up: int) -> None:
        self._batches, self._warm_up = batches, warm_up
        self._marks: list[tuple[float, float]] = []

    def on_step(self, step: int, _loss: float) -> None:
        """A step is done."""
        if step >= self._warm_up - 1:
            self._marks.append((time.perf_counter(), self._batches.seconds))

    def speed(self, batch_size: int) -> Speed:
        """Of all timed steps."""
        (began, waited_before), (ended, waited) = self._marks[0], self._marks[-1]
        seconds, steps = ended - began, len(self._marks) - 1
        return Speed(steps * batch_size / seconds, (waited - waited_before) / seconds, seconds, steps)


def measure(
    work: Work, preset: Preset, source: SampleSource, steps: int, warm_up: int, device: torch.device, workers: int
) -> Speed:
    """Train a fresh network for some steps.

    Args:
        work: size and precision.
        preset: the recipe.
        source: of the crops; drawn from in a random order, again and again where it is small.
        steps: to time.
        warm_up: steps before them.
        device: of torch.
        workers: processes that prepare crops; 0: this one.
    """
    torch.manual_seed(0)
    network = build(replace(preset.network, joints=len(source.skeleton.joints)))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay)
    order = np.random.default_rng(0).integers(len(source), size=(warm_up + steps) * preset.batch_size).tolist()
    crops = CropDataset(source, 0, (work.size, work.size))
    batches = Stopwatch(crop_batches(crops, preset.batch_size, order, workers))
    timed = Steps(batches, warm_up)
    train_epoch(
        network,
        copy.deepcopy(network),
        optimizer,
        batches,
        preset,
        lambda _step: preset.learning_rate / 100,  # as a schedule begins: nothing diverges
        0,
        device,
        timed.on_step,
        work.bf16,
    )
    return timed.speed(preset.batch_size)


def works(name: str, preset: Preset) -> list[Work]:
    """The preset's final input size and its smallest phase, each in both precisions."""
    sizes = {preset.phases[-1].size, min(phase.size for phase in preset.phases)}
    return [Work(name, size, bf16) for size in sorted(sizes, reverse=True) for bf16 in (True, False)]


def crops_of(preset: Preset, data: KeypointData | None) -> SampleSource:
    """What the preset is trained on."""
    if data is None:
        return SyntheticCrops(2000, preset.box_padding, 0, preset.augmentation)
    return PhotoCrops(data.people, data.skeleton, preset.box_padding, preset.augmentation)


def machine(device: torch.device) -> str:
    """The card's name, where there is one, and the processor's."""
    host = processor()
    return f"{torch.cuda.get_device_name(device)}, {host}" if device.type == "cuda" else host


def main(
    data: Annotated[
        Path | None, typer.Option(metavar="ANN.json", help="COCO keypoint file. Default: rendered figures.")
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="The pictures; default as `poseglass`.")] = None,
    preset: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Again for more. Default: all.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps to time.")] = 20,
    warm_up: Annotated[
        int, typer.Option(min=1, help="Steps before them: as long as crops prepared ahead of the first step last.")
    ] = 10,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare crops, as of `poseglass train`.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch. Default: torch's own.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="Where to compute.")] = "auto",
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")] = None,
) -> None:
    """Time the training of every preset."""
    try:
        names = preset or list(PRESETS)
        for name in names:
            if name not in PRESETS:
                raise ValueError(f"--preset: no preset is called {name!r}; there are: {', '.join(PRESETS)}")
        place = pick_device(device)
        keep_freed_memory()  # as `poseglass train` does
        people = load_coco(data, images) if data else None
        if threads is not None:
            torch.set_num_threads(threads)
        table = Table("preset", "px", "precision", "crops/s", "waiting for crops")
        rows = []
        for name in names:
            source = crops_of(PRESETS[name], people)
            for work in works(name, PRESETS[name]):
                precision = "bfloat16" if work.bf16 else "float32"
                with Console(stderr=True).status(f"{name}, {work.size} px, {precision}"):
                    speed = measure(work, PRESETS[name], source, steps, warm_up, place, workers)
                waiting = f"{100 * speed.waiting:.0f} %"
                table.add_row(name, str(work.size), precision, f"{speed.crops_per_second:.1f}", waiting)
                rows.append({**asdict(work), **asdict(speed)})
    except (AnnotationError, DeviceError, ValueError) as error:
        typer.echo(f"training_speed: {error}", err=True)
        raise typer.Exit(2) from None
    where = {
        "machine": machine(place),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "workers": workers,
        "bf16_pays": bf16_pays(place),
        "data": people.name if people else "rendered figures",
    }
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    console.print("; ".join(f"{name} {value}" for name, value in where.items()), markup=False)
    if as_json is not None:
        write_whole(
            as_json, (json.dumps({**where, "steps": steps, "warm_up": warm_up, "rows": rows}, indent=1) + "\n").encode()
        )


if __name__ == "__main__":
    typer.run(main)
