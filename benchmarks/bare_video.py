"""What a video costs without a pipeline: decoding, one crop and one run a known box, nothing else.

    python benchmarks/bare_video.py VIDEO.mp4 --rows DIR/VIDEO/VIDEO.parquet --sessions 2 --threads 1

The boxes are those of a result of `poseglass video`, so that the same people are looked at. Prints how many.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import typer
from numpy.typing import NDArray

import poseglass
import poseglass_models
from poseglass_core.geometry import Box, crop_affine, warp
from poseglass_runtime.engine import Engine, load_engine

AHEAD = 2
"""Frames a session that are decoded and not done."""


def boxes_of(rows: Path) -> dict[int, list[Box]]:
    """Frame index -> boxes of the people in it."""
    table = poseglass.load(rows).table
    people = table.people
    boxes: dict[int, list[Box]] = {}
    for index, box in zip(table.frame[people], table.box[people], strict=True):
        boxes.setdefault(int(index), []).append(Box(*map(float, box)))
    return boxes


def look(engine: Engine, image: NDArray[np.uint8], boxes: Sequence[Box]) -> int:
    """Crop and run; how many."""
    size, padding = engine.manifest.input_size, engine.manifest.box_padding
    if boxes:
        engine.run(np.stack([warp(image, crop_affine(box, size, padding), size) for box in boxes]))
    return len(boxes)


def main(
    video: Annotated[Path, typer.Argument()],
    rows: Annotated[Path, typer.Option(help="A result of this video.")],
    model: Annotated[str, typer.Option()] = "hourglass-s",
    sessions: Annotated[int, typer.Option(min=1, help="Frames at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="A session.")] = 2,
) -> None:
    """Do the whole video."""
    cv2.setNumThreads(0)
    boxes = boxes_of(rows)
    engines = [load_engine(poseglass_models.resolve(model), "cpu", threads) for _ in range(sessions)]
    looks = 0
    with ThreadPoolExecutor(sessions) as pool, av.open(str(video)) as container:
        under_way: list[Future[int]] = []
        engine = itertools.cycle(engines)
        for index, frame in enumerate(container.decode(video=0)):
            if len(under_way) == AHEAD * sessions:
                looks += under_way.pop(0).result()
            image: NDArray[np.uint8] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            under_way.append(pool.submit(look, next(engine), image, boxes.get(index, ())))
        looks += sum(future.result() for future in under_way)
    print(looks)


if __name__ == "__main__":
    typer.run(main)
