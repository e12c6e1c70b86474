"""`poseglass train` and `poseglass calibrate`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

import poseglass_models
from poseglass_core.metrics import reference_lengths
from poseglass_training.annotations import DEV_EVERY, AnnotationError, KeypointData
from poseglass_training.commands.common import FAILED, INTERRUPTED, Fix, check_target, make_folder, people, refusal
from poseglass_training.commands.provenance import commit, portable, sha256
from poseglass_training.crops import PhotoCrops, SampleSource
from poseglass_training.locking import FolderInUse, only_run_in
from poseglass_training.pasting import encode_png
from poseglass_training.reporting import TrainingReport
from poseglass_training.scenes import WithNobody, load_scenes, split
from poseglass_training.synthetic import SyntheticCrops

if TYPE_CHECKING:
    from poseglass_training.checkpoint import Checkpoint
    from poseglass_training.presets import Preset

SYNTHETIC = "synthetic"
FIGURES, DEV_FIGURES = 2000, 200
"""Rendered figures to train on and to select on."""

DEV_SEED = 1_000_003
"""Added to the seed for the figures of dev, so that none of them is trained on."""


def train(
    preset: Annotated[str, typer.Option(metavar="NAME", help="Recipe: network, loss, schedule.")],
    data: Annotated[
        str, typer.Option(metavar="ANN.json", help="COCO keypoint file; or `synthetic`: figures rendered on the way.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures; default: `images` beside ANN.json, or its folder.")
    ] = None,
    dev: Annotated[
        Path | None,
        typer.Option(metavar="ANN.json", help="To select the best epoch on; default: the people with id % 17 == 0."),
    ] = None,
    init: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.pt",
            help="Start from these weights, also of other joints: a shipped name or a checkpoint.",
        ),
    ] = "",
    teacher: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.pt", help="A trained network of the same joints to learn from beside the labels."
        ),
    ] = "",
    fix: Fix = None,
    scenes: Annotated[
        Path | None,
        typer.Option(
            metavar="COCO.json",
            help="Pictures with every person's box, and pictures without people: the preset's share of crops comes "
            "from where nobody is in them, so that heatmaps stay flat there.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights, the order and the augmentation.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in DIR stopped.")] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="Where to compute.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare crops.")] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write DIR/tensorboard too, for `tensorboard --logdir DIR`.")
    ] = False,
) -> None:
    """Train a network on annotated pictures.

    DIR gets `best.pt` (best on dev), `last.pt` (to resume), `metrics.jsonl`, `curve.png`, and `batch.png`: look at that
    one first, it shows what the network is given, with the joints drawn and left and right coloured.
    """
    from poseglass_training.checkpoint import CheckpointError
    from poseglass_training.devices import DeviceError, keep_freed_memory, pick_device
    from poseglass_training.loop import Diverged, Progress
    from poseglass_training.loop import train as run_training
    from poseglass_training.pictures import batch_picture
    from poseglass_training.presets import PRESETS
    from poseglass_training.teacher import check_teacher, require_teacher
    from poseglass_training.tensorboard import TensorBoardUnavailable, TensorBoardWriter

    if preset not in PRESETS:
        raise refusal("train", f"no preset is called {preset!r}; there are: {', '.join(PRESETS)}")
    recipe = PRESETS[preset]
    report = TrainingReport(out, Console(stderr=True))
    try:
        place = str(pick_device(device))
        require_teacher(recipe, bool(teacher))
        start, master = (_weights(option, name) for option, name in (("--init", init), ("--teacher", teacher)))
        learn, select, origin = _sources(recipe, data, images, dev, seed, fix or [])
        if scenes is not None:
            pictures, _ = split(load_scenes(scenes))
            learn = WithNobody(learn, pictures, recipe.nobody, recipe.augmentation, seed)
            name = f"{scenes.parent.name}, {len(pictures)} pictures, where nobody is in them"
            origin.append({"name": name, "licence": "see the data set", "sha256": sha256(scenes)})
        command = ["poseglass", "train", "--preset", preset, "--data", portable(data)]
        command += ["--images", portable(str(images))] if images else []
        command += ["--dev", portable(str(dev))] if dev else []
        command += ["--out", portable(str(out), 1), "--seed", str(seed)]
        command += ["--init", portable(init)] if init else []
        command += ["--teacher", portable(teacher)] if teacher else []
        command += [part for kind in fix or [] for part in ("--fix", kind)]
        command += ["--scenes", portable(str(scenes))] if scenes else []
        training: dict[str, Any] = {
            "data": origin,
            "preset": preset,
            "command": shlex.join(command),
            "commit": commit(),
        }
        if start is not None:
            training["init"] = {"epoch": start.epoch, **start.training}
        if master is not None:
            check_teacher(master, learn.skeleton)
            training["teacher"] = sha256(poseglass_models.resolve(teacher, ".pt"))
        keep_freed_memory()
        with ExitStack() as stack:
            make_folder("train", "--out", out)
            stack.enter_context(only_run_in(out))
            listeners: list[Callable[[Progress], None]] = [report]
            board = stack.enter_context(TensorBoardWriter(out)) if tensorboard else None
            if board is not None:
                listeners.append(board)
            if not resume and not (out / "last.pt").exists():
                batch = batch_picture(learn, recipe.network.input_size)
                (out / "batch.png").write_bytes(encode_png(batch))
                if board is not None:
                    board.picture("batch", batch)
            stack.enter_context(report)

            def tell(progress: Progress) -> None:
                for listener in listeners:
                    listener(progress)

            best = run_training(
                recipe, learn, select, out, training, seed, resume, place, workers, tell, start, report.taken, master
            )
    except (
        AnnotationError,
        CheckpointError,
        DeviceError,
        FileNotFoundError,
        FolderInUse,
        TensorBoardUnavailable,
    ) as error:
        raise refusal("train", str(error)) from None
    except Diverged as error:
        raise refusal("train", str(error), FAILED) from None
    except KeyboardInterrupt:
        remedy = "go on with --resume" if (out / "last.pt").exists() else "no epoch was finished: start again"
        raise refusal("train", f"stopped; {remedy}", INTERRUPTED) from None
    dev_pck, epochs = best.evaluation[0]["pck"], best.training["epochs"]
    typer.echo(f"{out / 'best.pt'}: PCK@0.2 on dev {dev_pck:.1f}, after epoch {best.epoch} of {epochs}")


def _weights(option: str, name: str) -> Checkpoint | None:
    """A pose network's checkpoint; None where none is named. CheckpointError names the option."""
    from poseglass_training.checkpoint import CheckpointError, load_checkpoint
    from poseglass_training.detection.checkpoint import is_detector

    if not name:
        return None
    try:
        path = poseglass_models.resolve(name, ".pt")
    except FileNotFoundError as error:
        raise CheckpointError(f"{option}: {error}") from None
    if is_detector(path):
        raise CheckpointError(f"{option}: {name} is a detector's checkpoint; name a pose network's")
    return load_checkpoint(path)


def calibrate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE.pt", help="From the trainer; replaced, once all is done.")
    ],
    data: Annotated[Path, typer.Option(metavar="ANN.json", help="COCO keypoint file, the one it was trained on.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures; default: `images` beside ANN.json, or its folder.")
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(metavar="ANN.json", help="To fit scores to; default: the people with id % 17 == 0.")
    ] = None,
    scenes: Annotated[
        Path | None,
        typer.Option(
            metavar="COCO.json",
            help="Pictures with every person's box, and pictures without people, to learn presence from as well.",
        ),
    ] = None,
    fix: Fix = None,
    stacks: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Keep the first N hourglasses alone: a smaller network, trained as well."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.pt", help="Write here instead.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the crops.")] = 0,
) -> None:
    """Make scores probabilities, learn to tell crops with a person from crops without, and smooth heatmaps.

    The network's own weights stay as they are, but for their last bits: they are rounded to half precision, which
    halves the file.
    """
    from poseglass_training.calibrating import calibrate as fit_scores
    from poseglass_training.calibrating import fit_smoothing
    from poseglass_training.checkpoint import CheckpointError, load_checkpoint
    from poseglass_training.presence import describe, fit_presence, presence_sources

    target = out or checkpoint
    check_target("calibrate", "--out", target)
    try:
        loaded = load_checkpoint(checkpoint).rounded()
        loaded = loaded if stacks is None else loaded.first_stacks(stacks)
        learn, select, _ = people(data, images, dev, fix or [])
        if learn.skeleton.joints != loaded.skeleton.joints:
            raise AnnotationError(f"{data}: has other joints than {checkpoint}")
        _require_measurable(select, data, dev)
        plain = PhotoCrops(select.people, select.skeleton, loaded.box_padding)
        loaded, rates = fit_smoothing(loaded, plain)
        loaded, fit = fit_scores(loaded, plain, f"dev of {learn.name}")
        loaded, report = fit_presence(loaded, presence_sources(learn, select, scenes), seed)
    except (AnnotationError, CheckpointError, ValueError) as error:
        raise refusal("calibrate", str(error)) from None
    smoothing = {f"{sigma:g}": rate for sigma, rate in rates.items()}
    made = {"smoothing": smoothing, "scores": fit.to_json(), "presence": report}
    replace(loaded, training={**loaded.training, "calibration": made}).save(target)
    chosen = f"{loaded.smoothing:g}"
    typer.echo(
        f"{target}: heatmaps smoothed by {chosen} cells: PCK@0.2 on dev {smoothing[chosen]:.1f}, unsmoothed "
        f"{smoothing['0']:.1f}"
    )
    typer.echo(
        f"scores on dev, cross-fitted: calibration error {fit.expected_calibration_error:.3f}, "
        f"area under ROC {fit.roc_auc:.3f}, Brier {fit.brier:.3f} (joint rates alone {fit.brier_of_rates:.3f})"
    )
    typer.echo(describe(report))


def _sources(
    recipe: Preset, data: str, images: Path | None, dev: Path | None, seed: int, fix: Sequence[str]
) -> tuple[SampleSource, SampleSource, list[dict[str, Any]]]:
    """What to learn from, what to select on, and what to say of the former in the checkpoint."""
    padding, augmentation = recipe.box_padding, recipe.augmentation
    if data == SYNTHETIC:
        if images or dev or fix:
            raise AnnotationError("--data synthetic renders its own pictures: leave out --images, --dev and --fix")
        origin = [{"name": "rendered figures", "licence": "Apache-2.0", "people": FIGURES}]
        learn = SyntheticCrops(FIGURES, padding, seed, augmentation)
        return learn, SyntheticCrops(DEV_FIGURES, padding, seed + DEV_SEED), origin
    learn_from, select_on, fixed = people(Path(data), images, dev, fix)
    if not learn_from.people:
        raise AnnotationError(f"{data}: there is nobody to learn from")
    if select_on.skeleton.joints != learn_from.skeleton.joints:
        raise AnnotationError(f"{dev}: has other joints than {data}")
    _require_measurable(select_on, data, dev)
    source: dict[str, Any] = {"name": learn_from.name, "licence": learn_from.licence, "people": len(learn_from.people)}
    source["sha256"] = sha256(Path(data))
    if dev:
        source["dev_sha256"] = sha256(dev)
    origin = [{**source, "fixed": fixed} if fixed else source]
    return (
        PhotoCrops(learn_from.people, learn_from.skeleton, padding, augmentation, seed),
        PhotoCrops(select_on.people, select_on.skeleton, padding),
        origin,
    )


def _require_measurable(held_out: KeypointData, data: str | Path, dev: Path | None) -> None:
    """AnnotationError where PCK of these people is not defined."""
    if held_out.people:
        truth = np.stack([person.joints for person in held_out.people])
        visible = np.stack([person.visible for person in held_out.people])
        boxes = np.array([person.box.to_list() for person in held_out.people])
        if np.isfinite(reference_lengths(held_out.skeleton, truth, visible, boxes)).any():
            return
    hint = " is in it" if dev else f" among the people whose id is a multiple of {DEV_EVERY}; name others with --dev"
    raise AnnotationError(f"{dev or data}: nobody to select on, with a reference length,{hint}")
