"""`poseglass inspect`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import poseglass_models
from poseglass.commands.console import stdout
from poseglass.commands.files import output_folder
from poseglass.commands.outputs import write_heatmaps
from poseglass.commands.questions import parse_boxes
from poseglass.errors import InvalidRequest, MissingExtra
from poseglass.local import LocalPredictor, find
from poseglass.pictures import read_picture, save_picture
from poseglass_core.drawing import Image
from poseglass_core.geometry import Box, crop_affine, warp

if TYPE_CHECKING:
    from poseglass_training.checkpoint import Checkpoint


def inspect(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    box: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,W,H[,ANGLE]", help="A person's box in pixels; repeatable.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Shipped name, or path of an ONNX file.")] = "",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the sheets go.")] = Path("inspect"),
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Checkpoint to look into; default the model's shipped one.")
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also filters, stacks' heatmaps and feature maps (needs \\[training]).")
    ] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="What to compute on.")] = "auto",
) -> None:
    """Show every joint's heatmap over a picture as one contact sheet; with --layers, what each layer sees too."""
    boxes = parse_boxes(box or ())
    picture = read_picture(image)
    # Before anything is written.
    trained = _load(_checkpoint_path(checkpoint, model)) if layers or checkpoint else None
    output_folder(out)
    console = stdout()
    with LocalPredictor(model, device=device) as predictor:
        # The pixels are read already: what is drawn on is what was predicted.
        prediction = predictor.predict(picture, boxes=boxes, heatmaps=True)
    for number, pose in enumerate(prediction.poses, 1):
        for written in write_heatmaps(out / f"{image.stem}-person{number}", picture, pose):
            console.print(written, markup=False)
    if not prediction.poses:
        console.print("nobody found; give a --box to look at a part of the picture all the same")
    if trained is not None:
        person = prediction.poses[0].box if prediction.poses else Box(0, 0, picture.shape[1], picture.shape[0])
        for name, sheet in _layer_sheets(trained, picture, person).items():
            path = out / f"{image.stem}-{re.sub(r'[^A-Za-z0-9.]+', '-', name)}.png"
            save_picture(path, sheet)
            console.print(str(path), markup=False)


def _checkpoint_path(checkpoint: Path | None, model: str) -> Path:
    """The file whose layers are shown."""
    if checkpoint is not None:
        return find(str(checkpoint), ".pt")
    if Path(model).suffix == ".onnx":
        raise InvalidRequest("--layers", f"needs the checkpoint that {model} was exported from: add --checkpoint FILE")
    return find(model or poseglass_models.DEFAULT, ".pt")


def _load(path: Path) -> Checkpoint:
    try:
        from poseglass_training.checkpoint import CheckpointError, load_checkpoint
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("poseglass"):
            raise
        raise MissingExtra(f"`poseglass inspect --layers` ({error.name})", "training") from None
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        raise InvalidRequest("--checkpoint", str(error)) from None


def _layer_sheets(trained: Checkpoint, picture: Image, box: Box) -> dict[str, Image]:
    """Sheets by name, of the crop that the checkpoint's network would see."""
    from poseglass_training.pictures import layer_sheets

    size = trained.config.input_size
    crop = warp(picture, crop_affine(box, size, trained.box_padding), size)
    return dict(layer_sheets(trained, crop))
