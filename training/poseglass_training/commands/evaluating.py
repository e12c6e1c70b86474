"""`poseglass evaluate`: an ONNX model without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from poseglass_core.errors import NotSupported
from poseglass_training.annotations import AnnotationError, KeypointData, load_coco
from poseglass_training.commands.common import make_folder, refusal
from poseglass_training.commands.models import ModelUnusable, predictor
from poseglass_training.evaluation import Evaluation, answered_with_nobody
from poseglass_training.evaluation import evaluate as evaluate_model
from poseglass_training.pasting import Pasting, backgrounds_of
from poseglass_training.reporting import evaluation_bar, print_evaluation
from poseglass_training.scenes import HELD_OUT_EVERY

if TYPE_CHECKING:
    from poseglass.commands.connection import Connection


class Mode(StrEnum):
    """How people are looked for."""

    box = "box"
    whole = "whole"
    detect = "detect"


class Subset(StrEnum):
    """Which people of an annotation file."""

    all = "all"
    train = "train"
    dev = "dev"
    held_out = "held-out"


def evaluate(
    model: Annotated[str, typer.Argument(help="Shipped name, ONNX file or checkpoint (.pt); the server's name of it.")],
    data: Annotated[Path, typer.Option(metavar="ANN.json", help="COCO keypoint file.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures; default: `images` beside ANN.json, or its folder.")
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(help="Give each person's box, find the person in the whole picture, or detect everybody in it."),
    ] = Mode.box,
    detector: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Finds people where no box is given: shipped name or ONNX file; the server's name of it. Default: the "
            "shipped one (the server's own); `none`: the pose network searches alone.",
        ),
    ] = "",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored crops.")] = False,
    subset: Annotated[
        Subset,
        typer.Option(
            help="dev: people with id % 17 == 0; train: the others; held-out: people of the pictures that "
            f"`train --scenes` never learns from (image id % {HELD_OUT_EVERY} == 0)."
        ),
    ] = Subset.all,
    paste_onto: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|COCO.json",
            help="Paste each picture, at a third of its size, onto one of these (a COCO file's without annotations).",
        ),
    ] = None,
    without_people: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|COCO.json",
            help="Also count how many of these pictures (a COCO file's without annotations) are answered with nobody.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="Where to compute in-process.")] = "auto",
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Write report.html and report.json there: curves, tables, the worst pictures.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    connection: Connection,
) -> None:
    """Measure PCK@0.2 of a model, with its 95 % interval and the protocol it was measured by."""
    console = Console(stderr=True)
    write_report = _report_writer() if report else None
    if report:
        make_folder("evaluate", "--report", report)
    try:
        people = _chosen(load_coco(data, images), subset)
        if not people.people:
            raise AnnotationError(f"{data}: nobody in it is of --subset {subset.value}; --subset all takes everybody")
        pasting = None
        if paste_onto:
            onto = paste_onto.resolve()
            name = onto.name if onto.is_dir() else f"{onto.parent.name}/{onto.name}"
            pasting = Pasting(backgrounds_of(onto), name)
        empty = backgrounds_of(without_people) if without_people else []
        if empty and mode is Mode.box:
            raise AnnotationError(
                "--without-people is for --mode whole and detect: with boxes given, nobody is left out"
            )
        nobody = None
        server = connection if connection.wanted else None
        with predictor(model, server, device, detector) as (predict, encoded), evaluation_bar(console) as progress:
            result = evaluate_model(predict, people, mode.value, flip, encoded, pasting, progress)
            if empty:
                right = answered_with_nobody(predict, empty, mode.value, encoded, progress)
                nobody = {"pictures": len(empty), "nobody": right, "percent": round(100 * right / len(empty), 1)}
        page = write_report(result, report, subset.value, pasting) if write_report and report else None
    except (AnnotationError, ModelUnusable, NotSupported) as error:
        raise refusal("evaluate", str(error)) from None
    if as_json:
        typer.echo(json.dumps({**result.to_json(), "subset": subset.value, "without_people": nobody}))
    else:
        print_evaluation(result, Console())
        if nobody:
            typer.echo(f"of {nobody['pictures']} pictures without people, {nobody['percent']} % answered with nobody")
    if page:
        console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def _chosen(labelled: KeypointData, subset: Subset) -> KeypointData:
    """The people of a subset."""
    if subset is Subset.all:
        return labelled
    if subset is Subset.held_out:
        return labelled.where(lambda person: person.image_id % HELD_OUT_EVERY == 0)
    train_part, dev_part = labelled.hold_out()
    return train_part if subset is Subset.train else dev_part


def _report_writer() -> Callable[[Evaluation, Path, str, Pasting | None], Path]:
    """What writes reports; looked for before anything is measured, as its plots need more than measuring does."""
    try:
        from poseglass_training.report import write_report
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("poseglass"):
            raise
        remedy = 'install it with: pip install "poseglass[training]"'
        raise refusal("evaluate", f"--report needs {error.name}, which is not installed; {remedy}") from None
    return write_report
