"""`poseglass train-detector` and `poseglass evaluate-detector`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import poseglass_models
from poseglass_core.geometry import Box
from poseglass_training.annotations import AnnotationError, KeypointData, load_coco, require_pictures
from poseglass_training.commands.common import FAILED, INTERRUPTED, check_target, make_folder, refusal
from poseglass_training.commands.provenance import commit, portable, sha256
from poseglass_training.locking import FolderInUse, only_run_in
from poseglass_training.pasting import Pasting
from poseglass_training.scenes import HELD_OUT_EVERY, Scene, load_scenes

DEV_REST = 1
"""Of the pictures of scenes, those whose id leaves this rest when divided by `DEV_SPAN` choose the threshold."""

DEV_SPAN = 10

DEV_PEOPLE = 120
"""Labelled people whose pictures are pasted for the threshold and for each epoch's row."""


def split_scenes(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Scene], list[Scene]]:
    """(train, dev, held out): ids divisible by 5 are held out; of the rest, those that end in 1 are dev."""
    rest = [scene for scene in scenes if scene.id % HELD_OUT_EVERY]
    return (
        [scene for scene in rest if scene.id % DEV_SPAN != DEV_REST],
        [scene for scene in rest if scene.id % DEV_SPAN == DEV_REST],
        [scene for scene in scenes if scene.id % HELD_OUT_EVERY == 0],
    )


def train_detector(
    preset: Annotated[str, typer.Option(metavar="NAME", help="Recipe: network and schedule.")],
    scenes: Annotated[
        Path,
        typer.Option(metavar="COCO.json", help="Pictures with every person's box, some of them without people."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run.")],
    people: Annotated[
        Path | None,
        typer.Option(
            metavar="ANN.json", help="COCO keypoint file of pictures with one labelled person each, to paste elsewhere."
        ),
    ] = None,
    init: Annotated[
        str, typer.Option(metavar="NAME|FILE.pt", help="Start from a pose network's trunk, or from a detector.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights and the pictures.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in DIR stopped.")] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="Where to compute.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare pictures.")] = 1,
) -> None:
    """Train a network that finds people.

    Pictures whose id is divisible by 5 are held out, those of the rest whose id ends in 1 choose the threshold. DIR
    gets `last.pt` after every epoch (to resume), `metrics.jsonl`, `batch.png` (what the network is shown: boxes drawn,
    what is not known about it reddened) and, at the end, `best.pt`.
    """
    from poseglass_training.checkpoint import CheckpointError, load_checkpoint
    from poseglass_training.detection.checkpoint import DetectorCheckpoint, is_detector, load_detector_checkpoint
    from poseglass_training.detection.inference import detector_of
    from poseglass_training.detection.loop import check_run
    from poseglass_training.detection.loop import train_detector as run_training
    from poseglass_training.detection.presets import DETECTOR_PRESETS
    from poseglass_training.detection.scenes import DetectionScenes
    from poseglass_training.detection.selecting import choose_threshold, dev_row
    from poseglass_training.devices import DeviceError, keep_freed_memory, pick_device
    from poseglass_training.loop import Diverged
    from poseglass_training.pictures import detection_picture

    if preset not in DETECTOR_PRESETS:
        raise refusal("train-detector", f"no preset is called {preset!r}; there are: {', '.join(DETECTOR_PRESETS)}")
    recipe = DETECTOR_PRESETS[preset]
    console = Console(stderr=True)
    try:
        place = str(pick_device(device))
        learn, dev, _ = split_scenes(load_scenes(scenes, smallest=0))
        require_pictures(scenes, (scene.image for scene in (*learn, *dev)))
        labelled = load_coco(people) if people else None
        if people and labelled:
            require_pictures(people, (person.image for person in labelled.people))
        train_people, dev_people = labelled.hold_out() if labelled else (None, None)
        source = DetectionScenes(learn, train_people, recipe.pictures, recipe.augmentation, seed)
        command = ["poseglass", "train-detector", "--preset", preset, "--scenes", portable(str(scenes))]
        command += ["--people", portable(str(people))] if people else []
        command += ["--out", portable(str(out), 1), "--seed", str(seed)]
        command += ["--init", portable(init)] if init else []
        origin: dict[str, Any] = {
            "data": _origin(scenes, len(learn), people, train_people),
            "preset": preset,
            "command": shlex.join(command),
            "commit": commit(),
        }
        start = None
        if init:
            path = poseglass_models.resolve(init, ".pt")
            start = load_detector_checkpoint(path) if is_detector(path) else load_checkpoint(path)
            origin["init"] = {"epoch": start.epoch, **start.training}
        select = _pasted(dev, dev_people)

        def measure(checkpoint: DetectorCheckpoint) -> dict[str, float]:
            row = dev_row(detector_of(checkpoint), dev, select)
            console.print(f"epoch {checkpoint.epoch}: " + ", ".join(f"{k} {v:.1f}" for k, v in row.items()))
            return row

        keep_freed_memory()
        with ExitStack() as stack:
            check_run(out, resume)
            make_folder("train-detector", "--out", out)
            stack.enter_context(only_run_in(out))
            detection_picture(source, recipe.network.input_size[0], out / "batch.png")
            columns = TextColumn("epoch {task.completed:.2f}"), BarColumn(), TextColumn("loss {task.fields[loss]:.3f}")
            bar = stack.enter_context(Progress(*columns, TimeRemainingColumn(), console=console))
            task = bar.add_task("", total=recipe.epochs, loss=float("nan"))
            checkpoint = run_training(
                recipe,
                source,
                out,
                origin,
                seed,
                resume,
                place,
                workers,
                on_progress=lambda done, loss: bar.update(task, completed=done, loss=loss),
                measure=measure,
                init=start,
            )
        threshold = choose_threshold(detector_of(checkpoint), dev)
        replace(checkpoint, threshold=threshold).save(out / "best.pt")
    except KeyboardInterrupt:
        console.print(f"stopped; go on with --resume and the same options; {out} keeps the last whole epoch")
        raise typer.Exit(INTERRUPTED) from None
    except (AnnotationError, CheckpointError, DeviceError, FolderInUse, FileNotFoundError, ValueError) as error:
        raise refusal("train-detector", str(error)) from None
    except Diverged as error:
        console.print(f"train-detector: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from None
    console.print(f"{out / 'best.pt'}: {_threshold(threshold, dev)}")


def calibrate_detector(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE.pt", help="From `train-detector`.")],
    scenes: Annotated[Path, typer.Option(metavar="COCO.json", help="The scenes that it was trained on.")],
    side: Annotated[
        int | None,
        typer.Option(
            min=64, metavar="PIXELS", help="Of the square pictures it will be given; default: as it was trained."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.pt", help="Write here instead.")] = None,
) -> None:
    """Choose the score from which a box is a person, on dev; for pictures of another size, where that is asked for.

    In larger pictures people who are small in them are found more often, at the price of time. Weights are rounded to
    half precision, which halves the file.
    """
    from poseglass_training.checkpoint import CheckpointError
    from poseglass_training.detection.checkpoint import load_detector_checkpoint
    from poseglass_training.detection.inference import detector_of
    from poseglass_training.detection.selecting import choose_threshold

    target = out or checkpoint
    check_target("calibrate-detector", "--out", target)
    try:
        loaded = load_detector_checkpoint(checkpoint).rounded()
        if side is not None:
            loaded = replace(loaded, config=replace(loaded.config, input_size=(side, side)))
        _, dev, _ = split_scenes(load_scenes(scenes, smallest=0))
        require_pictures(scenes, (scene.image for scene in dev))
        loaded = replace(loaded, threshold=choose_threshold(detector_of(loaded), dev))
    except (AnnotationError, CheckpointError, ValueError) as error:
        raise refusal("calibrate-detector", str(error)) from None
    loaded.save(target)
    typer.echo(f"{target}: at {loaded.config.input_size[0]} pixels {_threshold(loaded.threshold, dev)}")


def evaluate_detector(
    model: Annotated[str, typer.Argument(metavar="NAME|FILE.onnx", help="Shipped detector or file.")],
    scenes: Annotated[
        Path, typer.Option(metavar="COCO.json", help="Pictures with every person's box; those with id % 5 == 0 count.")
    ],
    people: Annotated[
        Path | None,
        typer.Option(metavar="ANN.json", help="COCO keypoint file of pictures with one labelled person each."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Of the people, one in so many.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure how well a detector finds people.

    Average precision at an IoU of 0.5 over the held-out scenes; pictures without people in which it finds somebody at
    its threshold; and, with --people, how often it finds the labelled person, in the pictures as they are and pasted
    at a fifth to two fifths of their size onto the held-out scenes without people.
    """
    from poseglass_runtime.engine import ModelError

    if every > 1 and people is None:
        raise refusal("evaluate-detector", "--every is of the people: give --people too, or leave it out")
    try:
        row = measure_detector(poseglass_models.resolve(model), scenes, people, every)
    except (AnnotationError, FileNotFoundError, ModelError, ValueError) as error:
        raise refusal("evaluate-detector", str(error)) from None
    if json_:
        print(json.dumps(row))
        return
    for key, value in row.items():
        print(f"{key.replace('_', ' '):24} {value}")


def measure_detector(model: Path, scenes: Path, people: Path | None, every: int = 1) -> dict[str, Any]:
    """What `evaluate-detector` says of an exported detector, ready for its manifest.

    Args:
        model: ONNX file.
        scenes: COCO file of pictures in which everybody's box is labelled.
        people: COCO keypoint file of pictures with one labelled person each.
        every: of the people, one in so many.

    Raises:
        AnnotationError: a file cannot be used.
        ModelError: the detector cannot.
    """
    from poseglass_runtime.detector import load_detector
    from poseglass_training.detection.evaluation import false_alarms, main_person_found, measure_precision

    detector = load_detector(model)
    _, _, held_out = split_scenes(load_scenes(scenes, smallest=0))
    threshold = detector.manifest.threshold
    if not any(scene.people for scene in held_out):
        raise AnnotationError(f"{scenes}: nobody is in the pictures whose id is a multiple of {HELD_OUT_EVERY}")
    if not any(scene.empty for scene in held_out):
        raise AnnotationError(
            f"{scenes}: somebody is in every picture whose id is a multiple of {HELD_OUT_EVERY}, so false alarms "
            "cannot be counted; add pictures without people"
        )
    require_pictures(scenes, (scene.image for scene in held_out))

    def detect(image: NDArray[np.uint8]) -> tuple[list[Box], NDArray[np.float32]]:
        found = detector.detect(image, threshold=0.0)
        return list(found.boxes), found.scores

    row: dict[str, Any] = {
        "data": f"{scenes.parent.name}, id % {HELD_OUT_EVERY} == 0",
        "protocol": "average precision at an IoU of 0.5; the rest at the threshold",
        "threshold": threshold,
        **measure_precision(detect, held_out).to_json(),
        "without_people": sum(scene.empty for scene in held_out),
        "false_alarms": round(false_alarms(detect, held_out, threshold), 1),
    }
    if people is not None:
        data = load_coco(people)
        data = replace(data, people=data.people[::every])
        if not data.people:
            raise AnnotationError(f"{people}: nobody is labelled in it")
        row["people_of"], row["searched"] = data.name, len(data.people)
        for name, pasting in (("found", None), ("found_pasted", _pasting(held_out))):
            rate, interval = main_person_found(detect, data, threshold, pasting)
            row[name], row[f"{name}_interval"] = round(rate, 1), interval
    return row


def _origin(scenes: Path, pictures: int, people: Path | None, learn: KeypointData | None) -> list[dict[str, Any]]:
    rows = [
        {"name": f"{scenes.parent.name}, {pictures} pictures", "licence": "see the data set", "sha256": sha256(scenes)}
    ]
    if people is not None and learn is not None:
        rows.append(
            {"name": f"{learn.name}, {len(learn.people)} people", "licence": learn.licence, "sha256": sha256(people)}
        )
    return rows


def _threshold(threshold: float, dev: Sequence[Scene]) -> str:
    """What to say of a threshold, and of where it comes from."""
    where = "chosen on dev" if any(scene.empty for scene in dev) else "not chosen: dev has no picture without people"
    return f"a box is a person from a score of {threshold:.2f}, {where}"


def _pasted(dev: Sequence[Scene], people: KeypointData | None) -> tuple[KeypointData, Pasting] | None:
    """Some of dev's people and what pastes their pictures onto dev's scenes without people; None without either."""
    if people is None or not people.people or not any(scene.empty for scene in dev):
        return None
    chosen = people.people[:: max(len(people.people) // DEV_PEOPLE, 1)]
    return replace(people, people=chosen), _pasting(dev)


def _pasting(scenes: Sequence[Scene]) -> Pasting:
    empty = [scene.image for scene in scenes if scene.empty]
    return Pasting(empty, "the scenes without people", share=(0.2, 0.4))
