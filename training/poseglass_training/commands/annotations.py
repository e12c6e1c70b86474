"""`poseglass check` and `poseglass import`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from poseglass_core.files import write_whole
from poseglass_core.skeleton import LSP
from poseglass_training.annotations import AnnotationError, audit, image_folder, require_other_file
from poseglass_training.annotations import describe as describe_problems
from poseglass_training.commands.common import FAILED, refusal
from poseglass_training.commands.models import ModelUnusable, local_predictor
from poseglass_training.reporting import evaluation_bar
from poseglass_training.sides import MARGIN, describe_swaps, find_swaps, write_mended


def check(
    data: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO keypoint file.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures; default: `images` beside ANN.json, or its folder.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="Also list people whose left and right this model (.onnx or .pt) finds exchanged."
        ),
    ] = "",
    margin: Annotated[
        float,
        typer.Option(min=0.0, help="With --model: how much better exchanged labels must agree with its heatmaps."),
    ] = MARGIN,
    mended: Annotated[
        Path | None, typer.Option(metavar="OUT.json", help="With --model: write a copy with those exchanged back.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="With --model: where it computes.")] = "auto",
) -> None:
    """Say what is wrong with annotations, by kind, with the ids of all of them; exit code 1 where anything is.

    Exchanged sides are suspicions: by themselves they leave the exit code at 0.
    """
    try:
        if mended is not None:
            if not model:
                raise AnnotationError("--mended needs --model: a network that says whose sides are exchanged")
            require_other_file(data, mended, "--mended")
        network = local_predictor(model, device).network if model else None
        found, problems = audit(data, images)
        usable = f"{data}: {len(found.people)} people with {len(found.skeleton.joints)} joints can be used"
        typer.echo(f"{data}: {describe_problems(problems)}\n{usable} once that is fixed" if problems else usable)
        if network is not None:
            with evaluation_bar(Console(stderr=True)) as progress:
                swaps = find_swaps(network, found, margin, progress)
            typer.echo(describe_swaps(swaps))
            if mended is not None:
                write_mended(data, mended, swaps)
                what = "the same with these exchanged" if swaps else "a copy, with nobody exchanged"
                typer.echo(f"{mended}: {what}; train on it with --images where the pictures are")
    except (AnnotationError, ModelUnusable) as error:
        raise refusal("check", str(error)) from None
    if problems or not found.people:
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
    )

    names, limbs, offset = MPII_JOINTS, MPII_LIMBS, FROM_ONE
    try:
        require_other_file(file, out, "--out")
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
        folder = images or image_folder(out)
        write_whole(out, json.dumps(coco_content(rows, file.stem, names, limbs, folder, offset)).encode())
    except AnnotationError as error:
        raise refusal("import", str(error)) from None
    except ModuleNotFoundError as error:
        raise refusal("import", f"{error}: .mat files need `pip install scipy`") from None
    typer.echo(f"{out}: {len(rows)} people; `poseglass check {out}` says whether they can be trained on")
