"""One (row, seed) is one training run and one JSON file, written when the run is over; what is there is not redone."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from experiment.rows import Budget, Row
from poseglass_core.files import write_whole
from poseglass_training.annotations import KeypointData
from poseglass_training.cost import cost
from poseglass_training.crops import PhotoCrops
from poseglass_training.devices import bf16_pays
from poseglass_training.loop import train


@dataclass(frozen=True)
class Data:
    """The same people for every row and seed.

    Attributes:
        train: learned from.
        dev: measured on after every epoch.
    """

    train: KeypointData
    dev: KeypointData

    def to_json(self) -> dict[str, Any]:
        """What a result says of them."""
        return {"name": self.train.name, "people": len(self.train.people), "dev_people": len(self.dev.people)}


@dataclass(frozen=True)
class Result:
    """What came of one run.

    Attributes:
        dev_pck: PCK@0.2 on dev after every epoch, percent; the last is the row's figure.
        loss: mean training loss of every epoch (of the last stack).
        gmac, parameters: of the network, as `poseglass_training.cost` counts them.
        seconds: the whole run took.
        machine: what it ran on, in words.
    """

    dev_pck: tuple[float, ...]
    loss: tuple[float, ...]
    gmac: float
    parameters: int
    seconds: float
    machine: str


def choose(data: KeypointData, budget: Budget) -> Data:
    """The people a budget allows, evenly spread, and those that are held out (id % 17 == 0)."""
    learn, dev = data.hold_out()
    count = min(budget.people, len(learn.people))
    spread = [learn.people[i * len(learn.people) // count] for i in range(count)]
    return Data(replace(learn, people=spread), dev)


def result_path(out: Path, row: Row, seed: int) -> Path:
    """Where the result of a run is."""
    return out / f"{row.name}-seed{seed}.json"


def load_result(out: Path, row: Row, seed: int, budget: Budget, data: Data) -> Result | None:
    """The result of a run; None where there is none, or one of another budget, recipe or data set."""
    try:
        value = json.loads(result_path(out, row, seed).read_text("utf-8"))
        described = _describe(row, seed, budget, data)
        if {key: value[key] for key in described} != described:
            return None
        result = value["result"]
        return Result(**{**result, "dev_pck": tuple(result["dev_pck"]), "loss": tuple(result["loss"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def run_row(out: Path, row: Row, seed: int, budget: Budget, data: Data, workers: int) -> Result:
    """Train a row with a seed and write its result.

    The seed decides the first weights, the order and the augmentation. The network computes in one thread: networks
    this small gain little from more, and lose much where something else runs on the machine.

    Raises:
        Diverged: the loss is not finite.
        AnnotationError: a picture is missing or broken.
    """
    torch.set_num_threads(1)
    preset = row.preset(budget)
    began = time.monotonic()
    learn = PhotoCrops(data.train.people, data.train.skeleton, preset.box_padding, preset.augmentation, seed)
    dev = PhotoCrops(data.dev.people, data.dev.skeleton, preset.box_padding)
    with tempfile.TemporaryDirectory() as folder:
        best = train(preset, learn, dev, Path(folder) / "run", {}, seed, workers=workers)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    price = cost(best.config)
    result = Result(
        dev_pck=tuple(epoch["dev_pck"] for epoch in epochs),
        loss=tuple(epoch["loss"] for epoch in epochs),
        gmac=price.gmac,
        parameters=price.parameters,
        seconds=round(time.monotonic() - began, 1),
        machine=f"PyTorch {torch.__version__}, CPU, " + ("bfloat16" if bf16_pays(torch.device("cpu")) else "float32"),
    )
    value = {"row": row.name, **_describe(row, seed, budget, data), "result": asdict(result)}
    out.mkdir(parents=True, exist_ok=True)
    write_whole(result_path(out, row, seed), (json.dumps(value, indent=1) + "\n").encode())
    return result


def _describe(row: Row, seed: int, budget: Budget, data: Data) -> dict[str, Any]:
    """All that decides a run, as it comes back from JSON."""
    recipe = asdict(row.preset(budget))
    described = {"seed": seed, "budget": asdict(budget), "recipe": recipe, "data": data.to_json()}
    return json.loads(json.dumps(described))  # type: ignore[no-any-return]
