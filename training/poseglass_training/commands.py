"""`poseglass train` and `poseglass evaluate`. An ONNX model is evaluated without torch."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

import poseglass_models
from poseglass_core.metrics import reference_lengths
from poseglass_core.poses import PoseRequest, Prediction
from poseglass_core.skeleton import LSP
from poseglass_runtime.outputs import Network
from poseglass_runtime.predictor import Predictor
from poseglass_training.annotations import (
    DEV_EVERY,
    FIXES,
    AnnotationError,
    KeypointData,
    audit,
    image_folder,
    load_coco,
    require_fixed,
)
from poseglass_training.annotations import describe as describe_problems
from poseglass_training.crops import PhotoCrops, SampleSource
from poseglass_training.evaluation import Predict
from poseglass_training.evaluation import evaluate as evaluate_model
from poseglass_training.pasting import Pasting, backgrounds_of, encode_png
from poseglass_training.reporting import TrainingReport, evaluation_bar, print_evaluation
from poseglass_training.scenes import WithNobody, load_scenes, split
from poseglass_training.synthetic import SyntheticCrops

if TYPE_CHECKING:
    from poseglass_training.presets import Preset

SYNTHETIC = "synthetic"
FIGURES, DEV_FIGURES = 2000, 200
"""Rendered figures to train on and to select on."""

DEV_SEED = 1_000_003
"""Added to the seed for the figures of dev, so that none of them is trained on."""

Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND", help=f"Mend such annotations instead of refusing them: {', '.join(FIXES)}."),
]

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes: tried and failed; asked for wrongly; Ctrl-C."""


class ModelUnusable(RuntimeError):
    """A model that cannot be evaluated, and why."""


class Mode(StrEnum):
    """How people are looked for."""

    box = "box"
    whole = "whole"


class Subset(StrEnum):
    """Which people of an annotation file."""

    all = "all"
    train = "train"
    dev = "dev"


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
) -> None:
    """Train a network on annotated pictures.

    DIR gets `best.pt` (best on dev), `last.pt` (to resume), `metrics.jsonl`, `curve.png`, and `batch.png`: look at that
    one first, it shows what the network is given, with the joints drawn and left and right coloured.
    """
    from poseglass_training.checkpoint import CheckpointError, load_checkpoint
    from poseglass_training.devices import DeviceError, pick_device
    from poseglass_training.loop import Diverged
    from poseglass_training.loop import train as run_training
    from poseglass_training.pictures import batch_picture
    from poseglass_training.presets import PRESETS

    if preset not in PRESETS:
        raise _refusal("train", f"no preset is called {preset!r}; there are: {', '.join(PRESETS)}")
    recipe = PRESETS[preset]
    report = TrainingReport(out, Console(stderr=True))
    try:
        place = str(pick_device(device))
        learn, select, origin = _sources(recipe, data, images, dev, seed, fix or [])
        if scenes is not None:
            pictures, _ = split(load_scenes(scenes))
            learn = WithNobody(learn, pictures, recipe.nobody, recipe.augmentation, seed)
            name = f"{scenes.parent.name}, {len(pictures)} pictures, where nobody is in them"
            origin.append({"name": name, "licence": "see the data set"})
        command = ["poseglass", "train", "--preset", preset, "--data", _portable(data)]
        command += ["--dev", _portable(str(dev))] if dev else []
        command += ["--out", _portable(str(out)), "--seed", str(seed)]
        command += ["--init", _portable(init)] if init else []
        command += [part for kind in fix or [] for part in ("--fix", kind)]
        command += ["--scenes", _portable(str(scenes))] if scenes else []
        training: dict[str, Any] = {
            "data": origin,
            "preset": preset,
            "command": shlex.join(command),
            "commit": _commit(),
        }
        start = load_checkpoint(poseglass_models.resolve(init, ".pt")) if init else None
        if start is not None:
            training["init"] = {"epoch": start.epoch, **start.training}
        if not resume and not (out / "last.pt").exists():
            out.mkdir(parents=True, exist_ok=True)
            (out / "batch.png").write_bytes(encode_png(batch_picture(learn, recipe.network.input_size)))
        with report:
            best = run_training(
                recipe, learn, select, out, training, seed, resume, place, workers, report, start, report.taken
            )
    except (AnnotationError, CheckpointError, DeviceError, FileNotFoundError) as error:
        raise _refusal("train", str(error)) from None
    except Diverged as error:
        raise _refusal("train", str(error), FAILED) from None
    except KeyboardInterrupt:
        remedy = "go on with --resume" if (out / "last.pt").exists() else "no epoch was finished: start again"
        raise _refusal("train", f"stopped; {remedy}", INTERRUPTED) from None
    dev_pck, epochs = best.evaluation[0]["pck"], best.training["epochs"]
    typer.echo(f"{out / 'best.pt'}: PCK@0.2 on dev {dev_pck:.1f}, after epoch {best.epoch} of {epochs}")


def check(
    data: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO keypoint file.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures; default: `images` beside ANN.json, or its folder.")
    ] = None,
) -> None:
    """Say what is wrong with annotations, by kind, with the ids of all of them; exit code 1 where anything is."""
    try:
        found, problems = audit(data, images)
    except AnnotationError as error:
        raise _refusal("check", str(error)) from None
    usable = f"{data}: {len(found.people)} people with {len(found.skeleton.joints)} joints can be used"
    if not problems:
        typer.echo(usable)
        return
    typer.echo(f"{data}: {describe_problems(problems)}\n{usable} once that is fixed")
    raise typer.Exit(FAILED)


class Format(StrEnum):
    """Annotation formats that can be turned into COCO keypoint JSON."""

    lsp = "lsp"
    mpii = "mpii"
    text = "text"


def import_annotations(
    kind: Annotated[Format, typer.Argument(metavar="lsp|mpii|text", help="What FILE is.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="joints.mat of LSP or LSPET; mpii_human_pose_v1_u12_1.mat; lines of "
            "`image x_min y_min x_max y_max x1 y1 …`.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="ANN.json", help="The COCO keypoint file to write.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures; default: `images` beside ANN.json, or its folder.")
    ] = None,
    joints: Annotated[
        str, typer.Option(metavar="NAME,NAME,…", help="Joints of a text file in its order; default: MPII's 16.")
    ] = "",
    count_from: Annotated[
        int, typer.Option(min=0, max=1, help="What a text file calls the first pixel; .mat files say 1.")
    ] = 0,
) -> None:
    """Turn annotations of another format into a COCO keypoint file; their pictures stay where they are."""
    from poseglass_training.importing import (
        FROM_ONE,
        MPII_JOINTS,
        MPII_LIMBS,
        coco_content,
        lsp_rows,
        mpii_rows,
        text_rows,
        write_coco,
    )

    names, limbs, offset = MPII_JOINTS, MPII_LIMBS, FROM_ONE
    try:
        if kind is not Format.text and (joints or count_from):
            raise AnnotationError("--joints and --count-from are for text files: a .mat file has its own")
        if kind is Format.lsp:
            names, limbs, rows = LSP.joints, LSP.limbs, lsp_rows(file)
        elif kind is Format.mpii:
            rows = mpii_rows(file)
        else:
            if joints:
                names, limbs = tuple(name.strip() for name in joints.split(",")), ()
            rows, offset = text_rows(file, len(names)), FROM_ONE if count_from else (0.0, 0.0)
        if not rows:
            raise AnnotationError(f"{file}: nobody is in it")
        if not out.parent.is_dir():
            raise AnnotationError(f"{out.parent}: no such folder to write into")
        folder = images or image_folder(out)
        write_coco(coco_content(rows, file.stem, names, limbs, folder, offset), out)
    except AnnotationError as error:
        raise _refusal("import", str(error)) from None
    except ModuleNotFoundError as error:
        raise _refusal("import", f"{error}: .mat files need `pip install scipy`") from None
    typer.echo(f"{out}: {len(rows)} people; `poseglass check {out}` says whether they can be trained on")


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
    out: Annotated[Path | None, typer.Option(metavar="FILE.pt", help="Write here instead.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the crops.")] = 0,
) -> None:
    """Make scores probabilities, and learn to tell crops with a person from crops without.

    The network's own weights stay as they are, but for their last bits: they are rounded to half precision, which
    halves the file.
    """
    from poseglass_training.calibrating import calibrate as fit_scores
    from poseglass_training.calibrating import describe, fit_presence, presence_sources
    from poseglass_training.checkpoint import CheckpointError, load_checkpoint

    try:
        loaded = load_checkpoint(checkpoint).rounded()
        learn, select, _ = _people(data, images, dev, fix or [])
        if learn.skeleton.joints != loaded.skeleton.joints:
            raise AnnotationError(f"{data}: has other joints than {checkpoint}")
        plain = PhotoCrops(select.people, select.skeleton, loaded.box_padding)
        loaded, fit = fit_scores(loaded, plain, f"dev of {learn.name}")
        loaded, report = fit_presence(loaded, presence_sources(learn, select, scenes), seed)
    except (AnnotationError, CheckpointError, ValueError) as error:
        raise _refusal("calibrate", str(error)) from None
    made = {"scores": fit.to_json(), "presence": report}
    target = out or checkpoint
    replace(loaded, training={**loaded.training, "calibration": made}).save(target)
    typer.echo(
        f"{target}: scores on dev, cross-fitted: calibration error {fit.expected_calibration_error:.3f}, "
        f"area under ROC {fit.roc_auc:.3f}, Brier {fit.brier:.3f} (joint rates alone {fit.brier_of_rates:.3f})"
    )
    typer.echo(describe(report))


def evaluate(
    model: Annotated[str, typer.Argument(help="Shipped name, ONNX file or checkpoint (.pt); the server's name of it.")],
    data: Annotated[Path, typer.Option(metavar="ANN.json", help="COCO keypoint file.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures; default: `images` beside ANN.json, or its folder.")
    ] = None,
    mode: Annotated[
        Mode, typer.Option(help="Give each person's box, or find the person in the whole picture.")
    ] = Mode.box,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored crops.")] = False,
    subset: Annotated[Subset, typer.Option(help="dev: people with id % 17 == 0; train: the others.")] = Subset.all,
    paste_onto: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|COCO.json",
            help="Paste each picture, at a third of its size, onto one of these (a COCO file's without annotations).",
        ),
    ] = None,
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Ask a server; else evaluate in-process.")] = "",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="Where to compute in-process.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure PCK@0.2 of a model, with its 95 % interval and the protocol it was measured by."""
    console = Console(stderr=True)
    try:
        labelled = load_coco(data, images)
        train_part, dev_part = labelled.hold_out()
        people = {Subset.all: labelled, Subset.train: train_part, Subset.dev: dev_part}[subset]
        pasting = None
        if paste_onto:
            onto = paste_onto.resolve()
            name = onto.name if onto.is_dir() else f"{onto.parent.name}/{onto.name}"
            pasting = Pasting(backgrounds_of(onto), name)
        with _predictor(model, server, device) as (predict, encoded), evaluation_bar(console) as progress:
            result = evaluate_model(predict, people, mode.value, flip, encoded, pasting, progress)
    except (AnnotationError, ModelUnusable) as error:
        raise _refusal("evaluate", str(error)) from None
    if as_json:
        typer.echo(json.dumps({**result.to_json(), "subset": subset.value}))
    else:
        print_evaluation(result, Console())


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
    learn_from, select_on, fixed = _people(Path(data), images, dev, fix)
    if not learn_from.people:
        raise AnnotationError(f"{data}: there is nobody to learn from")
    if select_on.skeleton.joints != learn_from.skeleton.joints:
        raise AnnotationError(f"{dev}: has other joints than {data}")
    if not _measurable(select_on):
        hint = "" if dev else f" among the people whose id is a multiple of {DEV_EVERY}; name others with --dev"
        raise AnnotationError(f"{dev or data}: nobody to select on, with a reference length,{hint or ' is in it'}")
    source = {"name": learn_from.name, "licence": learn_from.licence, "people": len(learn_from.people)}
    origin = [{**source, "fixed": fixed} if fixed else source]
    return (
        PhotoCrops(learn_from.people, learn_from.skeleton, padding, augmentation, seed),
        PhotoCrops(select_on.people, select_on.skeleton, padding),
        origin,
    )


def _people(
    data: Path, images: Path | None, dev: Path | None, fix: Sequence[str]
) -> tuple[KeypointData, KeypointData, dict[str, int]]:
    """People to learn from, people held out, and how many annotations of each kind of problem were mended.

    Raises:
        AnnotationError: a file cannot be used, or holds problems that are not to be mended.
    """
    labelled, problems = audit(data, images)
    require_fixed(data, problems, fix)
    if not dev:
        learn, select = labelled.hold_out()
        return learn, select, dict(Counter(problem.kind for problem in problems))
    select, more = audit(dev, images)
    require_fixed(dev, more, fix)
    return labelled, select, dict(Counter(problem.kind for problem in [*problems, *more]))


def _measurable(data: KeypointData) -> bool:
    """Whether PCK of these people is defined."""
    if not data.people:
        return False
    truth = np.stack([person.joints for person in data.people])
    visible = np.stack([person.visible for person in data.people])
    boxes = np.array([person.box.to_list() for person in data.people])
    return bool(np.isfinite(reference_lengths(data.skeleton, truth, visible, boxes)).any())


@contextmanager
def _predictor(model: str, server: str, device: str) -> Iterator[tuple[Predict, bool]]:
    """What answers, and whether it takes the bytes of files."""
    if not server:
        yield _local(model, device).predict, False
        return
    from poseglass import PoseClient

    with PoseClient(server) as client:

        def ask(content: Any, request: PoseRequest) -> Prediction:
            return client.predict(
                content, model=model, boxes=request.boxes, locate=request.locate, flip_test=request.flip_test
            )

        yield ask, True


def _local(model: str, device: str) -> Predictor:
    try:
        path = poseglass_models.resolve(model)
        return Predictor(_checkpoint(path, device) if path.suffix == ".pt" else _onnx(path, device))
    except FileNotFoundError as error:
        raise ModelUnusable(str(error)) from None


def _onnx(path: Path, device: str) -> Network:
    from poseglass_runtime.engine import ModelError, load_engine

    try:
        return load_engine(path, device)
    except ModelError as error:
        raise ModelUnusable(str(error)) from None


def _checkpoint(path: Path, device: str) -> Network:
    from poseglass_training.checkpoint import CheckpointError
    from poseglass_training.devices import DeviceError
    from poseglass_training.torch_engine import TorchEngine

    try:
        return TorchEngine(path, device)
    except (CheckpointError, DeviceError) as error:
        raise ModelUnusable(str(error)) from None


def _portable(path: str) -> str:
    """A path as it goes into a checkpoint: not with the folders of the machine it was trained on."""
    return Path(path).name if Path(path).is_absolute() else path


def _commit() -> str | None:
    """The commit of the checkout this file is in; None where it is not tracked in one."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True, timeout=10
        )
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # an installed copy may lie inside somebody else's checkout
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def _refusal(command: str, message: str, code: int = USAGE) -> typer.Exit:
    typer.echo(f"poseglass {command}: {' '.join(message.split())}", err=True)
    return typer.Exit(code)
