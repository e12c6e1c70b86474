"""`poseglass export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import poseglass_models
from poseglass_core.files import write_whole
from poseglass_core.manifest import Manifest, ManifestError
from poseglass_export.card import detector_card, model_card
from poseglass_export.detectors import export_detector
from poseglass_export.exporting import export_model
from poseglass_export.gate import ParityError
from poseglass_training.annotations import AnnotationError, load_coco
from poseglass_training.checkpoint import CheckpointError
from poseglass_training.commands.detecting import measure_detector
from poseglass_training.detection.checkpoint import is_detector


def export(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint (best.pt), or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    name: Annotated[str | None, typer.Option(help="What requests call the model; default: the file's name.")] = None,
    version: Annotated[int, typer.Option(help="Version, a positive integer.")] = 1,
    licence: Annotated[str | None, typer.Option(help="What the weights may be used for.")] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            metavar="ANN.json",
            help="Measure the graph on these people (a detector: on these scenes); the manifest says it.",
        ),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(metavar="ANN.json", help="A detector: and on pictures with one labelled person each."),
    ] = None,
    card: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write a model card too.")] = None,
    notes: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Text to end the card with.")] = None,
) -> None:
    """Turn a checkpoint into one ONNX file, and prove that it computes the same.

    PyTorch, ONNX Runtime and, for a pose network, the NumPy decoder are compared on pictures that were not traced; the
    figures go into the file's manifest. Where they differ by more than the tolerance, nothing is written and the exit
    code is 1.
    """
    console = Console(stderr=True)
    try:
        for option, file in (("--out", out), ("--card", card)):
            if file is not None and file.is_dir():
                raise IsADirectoryError(f"{option} {file} is a folder; name a file")
        source = poseglass_models.resolve(checkpoint, ".pt")
        ending = notes.read_text("utf-8") if notes else ""
        with console.status("exporting and comparing"):
            if is_detector(source):
                line, described = _detector(source, out, name, version, licence, evaluate, people, ending)
            elif people is not None:
                raise AnnotationError("--people is for detectors; this checkpoint is a pose network's: use --evaluate")
            else:
                test = load_coco(evaluate) if evaluate else None
                line, described = _pose(export_model(source, out, name, version, licence, test), ending)
        if card:
            card.parent.mkdir(parents=True, exist_ok=True)
            write_whole(card, described.encode())
    except (OSError, CheckpointError, ManifestError, AnnotationError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except ParityError as error:
        console.print(f"refused: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    print(f"{out}: {line}")


def _pose(manifest: Manifest, ending: str) -> tuple[str, str]:
    """What to say of an exported pose model, and its card."""
    parity = manifest.parity
    line = (
        f"{manifest.name} version {manifest.version}; over {parity['pictures']} pictures at batch sizes "
        f"{' and '.join(map(str, parity['batch_sizes']))}: joints within {parity['joint_error']:.2g} crop pixels, "
        f"heatmaps within {parity['heatmap_error']:.2g} of their range, decoders within "
        f"{parity['decoder_error']:.2g} pixels, {parity['joints_apart']} ties of "
        f"{parity['joints_apart'] + parity['joints_compared']} joints counted apart"
    )
    return line, model_card(manifest, ending)


def _detector(
    source: Path,
    out: Path,
    name: str | None,
    version: int,
    licence: str | None,
    scenes: Path | None,
    people: Path | None,
    ending: str,
) -> tuple[str, str]:
    """Export a detector; what to say of it, and its card."""
    if people is not None and scenes is None:
        raise AnnotationError("--people needs --evaluate too: the scenes that their pictures are pasted onto")
    measure = (lambda model: measure_detector(model, scenes, people)) if scenes else None
    manifest = export_detector(source, out, name, version, licence, measure)
    parity = manifest.parity
    line = (
        f"{manifest.name} version {manifest.version}; over {parity['pictures']} pictures at batch sizes "
        f"{' and '.join(map(str, parity['batch_sizes']))}: {parity['boxes_compared']} boxes within "
        f"{parity['box_error']:.2g} input pixels, scores within {parity['score_error']:.2g}, "
        f"{parity['boxes_apart']} ties counted apart"
    )
    return line, detector_card(manifest, ending)
