"""`poseglass export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import poseglass_models
from poseglass_core.files import write_whole
from poseglass_core.manifest import ManifestError
from poseglass_export.card import model_card
from poseglass_export.exporting import export_model
from poseglass_export.gate import ParityError
from poseglass_training.annotations import AnnotationError, load_coco
from poseglass_training.checkpoint import CheckpointError


def export(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint (best.pt), or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    name: Annotated[str | None, typer.Option(help="What requests call the model; default: the file's name.")] = None,
    version: Annotated[int, typer.Option(help="Version, a positive integer.")] = 1,
    licence: Annotated[str | None, typer.Option(help="What the weights may be used for.")] = None,
    evaluate: Annotated[
        Path | None, typer.Option(metavar="ANN.json", help="Measure the graph on these people; the manifest says it.")
    ] = None,
    card: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write a model card too.")] = None,
    notes: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Text to end the card with.")] = None,
) -> None:
    """Turn a checkpoint into one ONNX file, and prove that it computes the same.

    PyTorch, ONNX Runtime and the NumPy decoder are compared on pictures that were not traced; the figures go into the
    file's manifest. Where they differ by more than the tolerance, nothing is written and the exit code is 1.
    """
    console = Console(stderr=True)
    try:
        source = poseglass_models.resolve(checkpoint, ".pt")
        ending = notes.read_text("utf-8") if notes else ""
        test = load_coco(evaluate) if evaluate else None
        with console.status("exporting and comparing"):
            manifest = export_model(source, out, name, version, licence, test)
        if card:
            write_whole(card, model_card(manifest, ending).encode())
    except (OSError, CheckpointError, ManifestError, AnnotationError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except ParityError as error:
        console.print(f"refused: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    parity = manifest.parity
    print(
        f"{out}: {manifest.name} version {manifest.version}; over {parity['pictures']} pictures at batch sizes "
        f"{' and '.join(map(str, parity['batch_sizes']))}: joints within {parity['joint_error']:.2g} crop pixels, "
        f"heatmaps within {parity['heatmap_error']:.2g} of their range, decoders within "
        f"{parity['decoder_error']:.2g} pixels, {parity['joints_apart']} ties of "
        f"{parity['joints_apart'] + parity['joints_compared']} joints counted apart"
    )
