"""What the networks cost without a server: a loop of decoding, cropping and running, nothing else.

    python benchmarks/bare.py --picture raw:256x256 --sessions 2 --threads 1 --seconds 10

Prints JSON: pictures, seconds, and this process' processor seconds in the loop.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Annotated

import cv2
import numpy as np
import typer

import poseglass_models
from poseglass.bench.mix import kinds_of
from poseglass_core.geometry import crop_affine, warp, whole_image
from poseglass_runtime.engine import load_engine
from poseglass_runtime.images import decode_image


def main(
    model: Annotated[str, typer.Option()] = "hourglass-s",
    picture: Annotated[str, typer.Option(help="As `poseglass bench --picture`.")] = "raw:256x256",
    sessions: Annotated[int, typer.Option(min=1, help="Loops side by side, each with a session.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="A session.")] = 2,
    batch: Annotated[int, typer.Option(min=1, help="Crops a run.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1)] = 10.0,
) -> None:
    """Run for some seconds and say what it took."""
    cv2.setNumThreads(0)
    (kind,) = kinds_of([picture], (), lambda _: [], measured=False, rng=np.random.default_rng(0))
    pictures = kind.pictures
    engines = [load_engine(poseglass_models.resolve(model), "cpu", threads) for _ in range(sessions)]
    manifest = engines[0].manifest
    counts = [0] * sessions
    end = time.monotonic() + seconds

    def loop(index: int) -> None:
        while time.monotonic() < end:
            crops = []
            for i in range(batch):
                source = pictures[(counts[index] + i) % len(pictures)]
                image = decode_image(source) if isinstance(source, bytes) else np.asarray(source)
                height, width = image.shape[:2]
                affine = crop_affine(whole_image(width, height), manifest.input_size, manifest.box_padding)
                crops.append(warp(image, affine, manifest.input_size))
            engines[index].run(np.stack(crops))
            counts[index] += batch

    began, spent = time.monotonic(), time.process_time()
    loops = [threading.Thread(target=loop, args=(i,)) for i in range(sessions)]
    for thread in loops:
        thread.start()
    for thread in loops:
        thread.join()
    print(
        json.dumps(
            {
                "pictures": sum(counts),
                "seconds": time.monotonic() - began,
                "cpu_seconds": time.process_time() - spent,
                "sessions": sessions,
                "threads": threads,
                "batch": batch,
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
