"""A picture with twelve people: whether all are found, and what that costs over the bare networks.

    python benchmarks/crowd.py --data ANN.json
    python benchmarks/crowd.py --people 12 --rounds 40 --json crowd.json

Without --data the people are rendered figures.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

import poseglass_models
from machine import processor
from poseglass_core.geometry import Box, box_iou, crop_affine, warp
from poseglass_core.poses import Locate, PoseRequest
from poseglass_runtime.detector import load_detector
from poseglass_runtime.engine import ModelError, load_engine
from poseglass_runtime.images import decode_image
from poseglass_runtime.predictor import Predictor
from poseglass_runtime.threads import available_threads
from poseglass_training.annotations import AnnotationError, load_coco
from poseglass_training.figures import render_figure

CELL, MARGIN = 200, 10
"""Pixels; each person has a square of their own."""

FOUND = 0.5
"""IoU of an answered box with the person's from which the person is found."""


@dataclass(frozen=True)
class Crowd:
    """A picture and where its people are."""

    image: NDArray[np.uint8]
    boxes: Sequence[Box]


@dataclass(frozen=True)
class Cost:
    """What one way of working took, over all rounds.

    Attributes:
        milliseconds: median of a round.
        cpu: processor time over wall time.
        switches: context switches a round, voluntary and forced.
    """

    milliseconds: float
    cpu: float
    switches: tuple[float, float]


def crowd_of(tiles: Sequence[tuple[NDArray[np.uint8], Box]]) -> Crowd:
    """People side by side on grey, four in a row."""
    rows = -(-len(tiles) // 4)
    image = np.full((rows * CELL, 4 * CELL, 3), 128, np.uint8)
    boxes = []
    for i, (picture, box) in enumerate(tiles):
        scale = (CELL - 2 * MARGIN) / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = i // 4 * CELL + MARGIN, i % 4 * CELL + MARGIN
        image[top : top + small.shape[0], left : left + small.shape[1]] = small
        x, y = small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]
        boxes.append(Box(left + box.x * x, top + box.y * y, box.width * x, box.height * y))
    return Crowd(image, boxes)


def tiles_of(data: Path | None, count: int) -> list[tuple[NDArray[np.uint8], Box]]:
    """Pictures with one person each: the first upright people of dev, or rendered figures.

    Raises:
        AnnotationError: the file cannot be used, or has too few such people.
    """
    if data is None:
        figures = [render_figure(np.random.default_rng(i), (300, 300), fill=(0.7, 0.9)) for i in range(count)]
        return [(figure.image, figure.box) for figure in figures]
    _, dev = load_coco(data).hold_out()
    tall = [person for person in dev.people if person.box.height > 1.5 * person.box.width][:count]
    if len(tall) < count:
        raise AnnotationError(f"{data}: only {len(tall)} upright people in dev, not {count}")
    return [(decode_image(person.image.read_bytes()), person.box) for person in tall]


def measured(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """Every way in turn, round by round, so that whatever else the machine does meets all of them."""
    spent: dict[str, list[tuple[float, float, int, int]]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            before, began, cpu = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), time.process_time()
            way()
            wall, worked = time.perf_counter() - began, time.process_time() - cpu
            after = resource.getrusage(resource.RUSAGE_SELF)
            spent[name].append((wall, worked, after.ru_nvcsw - before.ru_nvcsw, after.ru_nivcsw - before.ru_nivcsw))
    costs = {}
    for name, rows in spent.items():
        switches = statistics.mean(row[2] for row in rows), statistics.mean(row[3] for row in rows)
        busy = sum(row[1] for row in rows) / sum(row[0] for row in rows)
        costs[name] = Cost(1e3 * statistics.median(row[0] for row in rows), busy, switches)
    return costs


def main(
    data: Annotated[Path | None, typer.Option(metavar="ANN.json", help="COCO keypoint file to take people of.")] = None,
    people: Annotated[int, typer.Option(min=1, help="In the picture.")] = 12,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Pose model.")] = poseglass_models.DEFAULT,
    detector: Annotated[str, typer.Option(metavar="NAME|FILE", help="Of people.")] = poseglass_models.DETECTOR,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of inference; default: what this process may use.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that everything is done.")] = 40,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")] = None,
) -> None:
    """Find and pose everybody in a picture, and compare with the bare networks."""
    count = threads or available_threads()[0]
    cv2.setNumThreads(0)
    try:
        crowd = crowd_of(tiles_of(data, people))
        engine = load_engine(poseglass_models.resolve(model), "cpu", count)
        finder = load_detector(poseglass_models.resolve(detector), "cpu", count)
    except (AnnotationError, FileNotFoundError, ModelError) as error:
        typer.echo(f"crowd: {error}", err=True)
        raise typer.Exit(2) from None
    predictor, request = Predictor(engine), PoseRequest(locate=Locate.DETECT)
    size, padding = engine.manifest.input_size, engine.manifest.box_padding
    crops = np.stack([warp(crowd.image, crop_affine(box, size, padding), size) for box in crowd.boxes])
    costs = measured(
        {
            "detector": lambda: finder.detect(crowd.image),
            "poses": lambda: engine.run(crops),
            "everything": lambda: predictor.predict(crowd.image, request, finder),
        },
        rounds,
    )
    poses = predictor.predict(crowd.image, request, finder).poses
    found = sum(any(box_iou(pose.box, box) >= FOUND for pose in poses) for box in crowd.boxes)
    ratio = costs["everything"].milliseconds / (costs["detector"].milliseconds + costs["poses"].milliseconds)
    typer.echo(f"{found} of {people} people found, {len(poses)} poses answered")
    for name, cost in costs.items():
        typer.echo(
            f"{name:12}{cost.milliseconds:8.1f} ms, {cost.cpu:.2f} processors busy, {cost.switches[0]:.0f} context "
            f"switches and {cost.switches[1]:.0f} forced ones a round"
        )
    typer.echo(f"everything over detector and {people} bare poses: {ratio:.3f}")
    typer.echo(f"{processor()}; {count} threads")
    if as_json is not None:
        row = {"people": people, "found": found, "answered": len(poses), "ratio": round(ratio, 4), "threads": count}
        as_json.write_text(
            json.dumps({**row, "machine": processor(), "costs": {n: asdict(c) for n, c in costs.items()}}) + "\n"
        )


if __name__ == "__main__":
    typer.run(main)
