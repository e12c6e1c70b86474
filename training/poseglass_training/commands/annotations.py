"""`poseglass check` and `poseglass import`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from poseglass_core.skeleton import LSP
from poseglass_training.annotations import AnnotationError, audit, image_folder
from poseglass_training.annotations import describe as describe_problems
from poseglass_training.commands.common import FAILED, refusal


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
        raise refusal("check", str(error)) from None
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
        raise refusal("import", str(error)) from None
    except ModuleNotFoundError as error:
        raise refusal("import", f"{error}: .mat files need `pip install scipy`") from None
    typer.echo(f"{out}: {len(rows)} people; `poseglass check {out}` says whether they can be trained on")
