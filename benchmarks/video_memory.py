"""Whether memory grows with a video's length: the peak of `poseglass video` on a short and on a long one.

    python benchmarks/video_memory.py
    python benchmarks/video_memory.py --frames 2000 --frames 20000 --model hourglass-s --json memory.json

The videos show a rendered figure that walks to and fro; only their length differs.
"""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from machine import processor
from poseglass_core.files import write_whole
from poseglass_training.figures import render_figure
from spending import spend

SIDE, RATE = 256, 25
"""Pixels of the picture, and frames a second."""

STEP, TURN = 2, 32
"""Pixels the figure goes between frames, and frames until it turns round."""


def write_walk(path: Path, frames: int) -> None:
    """Write a video of a figure that walks."""
    figure = render_figure(np.random.default_rng(3), (SIDE, SIDE), fill=(0.6, 0.6)).image
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, RATE)
        for index in range(frames):
            to, fro = index % (2 * TURN), 2 * TURN - index % (2 * TURN)
            image = np.roll(figure, STEP * min(to, fro), axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def peak_of(frames: int, model: str) -> float:
    """MiB that the program held at most."""
    with tempfile.TemporaryDirectory() as scratch:
        video, results = Path(scratch) / "walk.mp4", Path(scratch) / "out"
        write_walk(video, frames)
        options = ["--out", str(results), "--model", model, "--device", "cpu", "--smooth", "one-euro", "--strict"]
        return spend(["-m", "poseglass", "video", str(video), *options]).peak_mb


def main(
    frames: Annotated[list[int], typer.Option(min=1, help="Length of a video; repeatable.")] = [2000, 20000],  # noqa: B006
    model: Annotated[str, typer.Option()] = "hourglass-s",
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure, and print a table."""
    peaks = {length: peak_of(length, model) for length in frames}
    first = next(iter(peaks.values()))
    for length, peak in peaks.items():
        print(f"{length:7,} frames: {peak:6.1f} MiB at most ({100 * (peak / first - 1):+.1f} %)")
    print(processor())
    if out is not None:
        document = {"machine": processor(), "model": model, "peak_mb": peaks}
        write_whole(out, (json.dumps(document, indent=2) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
