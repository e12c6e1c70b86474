"""A long clip made of short ones, for `video.py`: one after the other, or one there and back, without a cut.

    python benchmarks/clips.py book.mkv help.mkv walk.mkv --frames 1280 --out in-turns.mp4
    python benchmarks/clips.py book.mkv --there-and-back --frames 2000 --out in-view.mp4

Times are even, whatever those of the short ones are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import typer


def frames_of(clip: Path) -> list[av.VideoFrame]:
    """All frames, decoded."""
    with av.open(str(clip)) as container:
        return list(container.decode(video=0))


def endless(clips: list[list[av.VideoFrame]], there_and_back: bool) -> Iterator[av.VideoFrame]:
    """Their frames for ever."""
    once = [frame for clip in clips for frame in (clip + clip[-2:0:-1] if there_and_back else clip)]
    return itertools.cycle(once)


def main(
    clips: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Of one size and rate.")],
    out: Annotated[Path, typer.Option(help="H.264.")],
    frames: Annotated[int, typer.Option(min=1)] = 1280,
    there_and_back: Annotated[bool, typer.Option(help="Play each clip backwards after it.")] = False,
) -> None:
    """Write it."""
    decoded = [frames_of(clip) for clip in clips]
    first = decoded[0][0]
    with av.open(str(clips[0])) as container:
        rate = container.streams.video[0].average_rate or Fraction(30)
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        stream.time_base = 1 / rate
        for index, frame in enumerate(itertools.islice(endless(decoded, there_and_back), frames)):
            picture = frame.reformat(first.width, first.height, "yuv420p")
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


if __name__ == "__main__":
    typer.run(main)
