"""`poseglass predict`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from poseglass.cli import FAILED, complain, explain
from poseglass.commands.connection import Connection
from poseglass.commands.console import Meter, print_prediction, stdout
from poseglass.commands.files import find_pictures, output_names
from poseglass.commands.outputs import Outputs, prepare, write_files
from poseglass.errors import (
    FailedPrecondition,
    InvalidRequest,
    MissingExtra,
    ModelNotFound,
    PermissionDenied,
    PoseglassError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from poseglass.local import LocalPredictor
from poseglass.options import PredictOptions, as_box
from poseglass_core.geometry import Box
from poseglass_core.poses import Prediction

NOT_THE_PICTURE = (
    FailedPrecondition,
    MissingExtra,
    ModelNotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
"""Errors that every further picture would meet too: they end the run."""


def predict(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Pictures, folders, quoted globs.")],
    box: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,W,H[,ANGLE]", help="A person's box in pixels; repeatable.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Shipped name, path, or the server's name.")] = "",
    locate: Annotated[
        str,
        typer.Option(
            metavar="auto|whole|detect",
            help="Without --box: everybody (detect), or one person. auto: detect where there is a detector.",
        ),
    ] = "auto",
    detector: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="What finds people; named as --model. Default: the shipped one.")
    ] = "",
    overlay: Annotated[Path | None, typer.Option(metavar="DIR", help="Write pictures with the poses on them.")] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write heatmaps: a sheet (.png) and values (.npz) a person.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture.")] = False,
    joint_threshold: Annotated[float, typer.Option(metavar="0...1", help="Leave out joints that score less.")] = 0.0,
    person_threshold: Annotated[
        float | None, typer.Option(metavar="0...1", help="Leave out people that score less; default the model's.")
    ] = None,
    overlap_threshold: Annotated[
        float | None,
        typer.Option(metavar="0...1", help="Leave out the worse of two poses that are more alike (OKS)."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="What to compute on in-process.")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list, one object a picture; failed ones have `error`.")
    ] = False,
    *,
    connection: Connection,
) -> None:
    """Find the poses in pictures: named joints in pixels of the upright picture, each with a score.

    Exit code 1 where a picture failed (the others are done), 2 where the question was wrong.
    """
    server = connection.wanted
    if server and device != "auto":
        raise InvalidRequest("--device", "is for work in this process; the server chooses its own: leave it out")
    for option, name, what in (("--model", model, "model"), ("--detector", detector, "detector")):
        if server and Path(name).suffix == ".onnx":
            raise InvalidRequest(option, f"{name} is a file; with --server give the name of a {what} that it serves")
    files = find_pictures(paths)
    outputs = Outputs(overlay, heatmaps, output_names(files))
    prepare(files, outputs)
    options = PredictOptions(
        boxes=parse_boxes(box or ()),
        locate=locate,
        detector=detector,
        model=model,
        heatmaps=heatmaps is not None,
        flip_test=flip,
        joint_threshold=joint_threshold,
        person_threshold=person_threshold,
        overlap_threshold=overlap_threshold,
    )
    answers = _ask(connection, files, options) if server else _compute(device, files, options)
    first = next(answers)  # what is wrong with the question shows here, before anything is printed
    failed = 0
    console = stdout()
    with Meter(len(files), "pictures") as meter, JsonList(as_json) as document:
        for file, answer in zip(files, chain([first], answers), strict=True):
            error, written = None, {}
            if isinstance(answer, Prediction):
                try:
                    written = write_files(file, answer, outputs)
                except (PoseglassError, OSError) as problem:
                    error = problem
            else:
                error = answer
            with meter.aside():
                if as_json:
                    document.add({"file": str(file), **_as_json(answer, error), **written})
                elif isinstance(answer, Prediction):
                    print_prediction(console, str(file), answer)
                if error is not None:
                    failed += 1
                    said = explain(error)
                    complain(said if str(file) in said else f"{file}: {said}")
            meter.advance()
    if failed:
        if len(files) > 1:
            complain(f"{failed} of {len(files)} pictures failed")
        raise typer.Exit(FAILED)


def parse_boxes(texts: Any) -> list[Box]:
    """Boxes as they are written on the command line: x,y,width,height[,angle].

    Raises:
        InvalidRequest: naming --box.
    """
    boxes = []
    for text in texts:
        try:
            boxes.append(as_box([float(part) for part in text.split(",")]))
        except InvalidRequest as error:
            side = error.field.partition(".")[2]
            raise InvalidRequest("--box", f"{text!r}: {side} {error.reason}" if side else _BOX.format(text)) from None
        except ValueError:
            raise InvalidRequest("--box", _BOX.format(text)) from None
    return boxes


_BOX = "{!r} must be x,y,width,height or x,y,width,height,angle in pixels and degrees, e.g. 40,20,200,380"


class JsonList:
    """One JSON list on stdout, written as it grows, and closed even where the run breaks off.

    Args:
        wanted: write nothing where not.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted, self._started = wanted, False

    def __enter__(self) -> JsonList:
        if self._wanted:
            typer.echo("[", nl=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            typer.echo("\n]" if self._started else "]")

    def add(self, value: dict[str, Any]) -> None:
        """One more element."""
        typer.echo(f"{',' if self._started else ''}\n{json.dumps(value)}", nl=False)
        self._started = True


def _as_json(answer: Prediction | PoseglassError, error: Exception | None) -> dict[str, Any]:
    value = answer.to_json() if isinstance(answer, Prediction) else {}
    if isinstance(error, PoseglassError):
        value["error"] = error.to_json()
    elif error is not None:
        value["error"] = {"code": "UNKNOWN", "message": explain(error)}
    return value


def _ask(connection: Connection, files: list[Path], options: PredictOptions) -> Iterator[Prediction | PoseglassError]:
    """Answers of a server."""
    with connection.client() as client:
        yield from map(_checked, client.stream(files, **options))


def _compute(device: str, files: list[Path], options: PredictOptions) -> Iterator[Prediction | PoseglassError]:
    """Answers of this process."""
    with LocalPredictor(device=device) as predictor:
        for file in files:
            try:
                yield predictor.predict(file, **options)
            except PoseglassError as error:
                yield _checked(error)


def _checked(answer: Prediction | PoseglassError) -> Prediction | PoseglassError:
    """The answer, unless it is an error that is not about the picture, which is raised."""
    about_options = isinstance(answer, InvalidRequest) and not answer.field.startswith("image")
    if isinstance(answer, PoseglassError) and (about_options or isinstance(answer, NOT_THE_PICTURE)):
        raise answer
    return answer
