"""`poseglass predict`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from poseglass.cli import FAILED, complain, explain, naming
from poseglass.commands.connection import Connection
from poseglass.commands.console import Meter, print_prediction, stdout
from poseglass.commands.documents import JsonList, error_json
from poseglass.commands.files import folder, output_names
from poseglass.commands.finding import find_pictures
from poseglass.commands.outputs import Outputs, prepare, write_files
from poseglass.commands.questions import check_remote, check_sought, parse_boxes, parse_locate
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
from poseglass.options import PredictOptions, checked
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

_OPTIONS = {f"thresholds.{what}": f"--{what}-threshold" for what in ("joint", "person", "overlap")}
"""Fields of a request -> the options they come from."""


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
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=folder, help="Write pictures with the poses on them."),
    ] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=folder,
            help="Write heatmaps: a sheet (.png) and values (.npz) a person.",
        ),
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
    if server:
        check_remote(device, model, detector)
    files = find_pictures(paths)
    outputs = Outputs(overlay, heatmaps, output_names(files))
    prepare(files, outputs)
    options = PredictOptions(
        boxes=parse_boxes(box or ()),
        locate=parse_locate(locate),
        detector=detector,
        model=model,
        heatmaps=heatmaps is not None,
        flip_test=flip,
        joint_threshold=joint_threshold,
        person_threshold=person_threshold,
        overlap_threshold=overlap_threshold,
    )
    if box:
        sought = {
            "--detector": detector,
            "--person-threshold": person_threshold,
            "--locate": locate,
            "--overlap-threshold": overlap_threshold,
        }
        check_sought(sought, "--box says where they are: leave that out")
    try:
        checked(options)
    except InvalidRequest as wrong:
        raise InvalidRequest(_OPTIONS.get(wrong.field, wrong.field), wrong.reason) from None
    answers = _ask(connection, files, options) if server else _compute(device, files, options)
    first = next(answers)  # what is wrong with the question shows here, before anything is printed
    failed, console = 0, stdout()
    with Meter(len(files), "pictures") as meter, JsonList(as_json) as document:
        for file, answer in zip(files, _to_the_end(len(files), chain([first], answers)), strict=True):
            written, error = _write(file, answer, outputs)
            failed += error is not None
            with meter.aside():
                if as_json:
                    document.add({"file": str(file), **_as_json(answer, error), **written})
                elif isinstance(answer, Prediction):
                    print_prediction(console, str(file), answer)
                if error is not None:
                    complain(naming(file, explain(error)))
            meter.advance()
    if failed:
        if len(files) > 1:
            complain(f"{failed} of {len(files)} pictures failed")
        raise typer.Exit(FAILED)


def _to_the_end(count: int, answers: Iterator[Prediction | PoseglassError]) -> Iterator[Prediction | PoseglassError]:
    """Answers to some number of pictures; what breaks them off is the answer to all that are left."""
    done = 0
    try:
        for answer in answers:
            done += 1
            yield answer
    except NOT_THE_PICTURE as error:
        for _ in range(count - done):
            yield error


def _write(
    file: Path, answer: Prediction | PoseglassError, outputs: Outputs
) -> tuple[dict[str, Any], Exception | None]:
    """Write what was asked for about one picture: the paths, by kind, and what went wrong with the picture so far."""
    if not isinstance(answer, Prediction):
        return {}, answer
    try:
        return write_files(file, answer, outputs), None
    except (PoseglassError, OSError) as error:
        return {}, error


def _as_json(answer: Prediction | PoseglassError, error: Exception | None) -> dict[str, Any]:
    value = answer.to_json() if isinstance(answer, Prediction) else {}
    return value if error is None else {**value, "error": error_json(error)}


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
