"""A few small frames of a video, with its rows drawn on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from poseglass.errors import PoseglassError
from poseglass.video.annotate import draw_rows
from poseglass.video.reading import Decoded, display_matrix, pyav
from poseglass.video.table import PoseTable
from poseglass_core.drawing import Image

WIDTH = 240
"""Pixels of a thumbnail."""

NEAR = 0.002
"""Seconds by which the time of a frame may differ from that of its rows; beyond, it is another frame."""

PATIENCE = 300
"""Frames to look at after a jump before a picture is given up."""


def thumbnails(table: PoseTable, source: Path, count: int) -> Iterator[tuple[float, Image]]:
    """(time, picture) of frames spread evenly over the table's, found by jumping to their times.

    A frame that cannot be found so (some files cannot be jumped about in) is left out; so is everything where the file
    cannot be opened: a page without pictures is better than none.

    Args:
        table: rows of the video.
        source: the video.
        count: how many.
    """
    starts = table.frame_starts
    middle = (np.arange(count) + 0.5) / max(count, 1) * len(starts)
    chosen = sorted(set(np.clip(middle.astype(int), 0, len(starts) - 1).tolist()))
    rows = {float(table.time[starts[i]]): slice(starts[i], [*starts, len(table)][i + 1]) for i in chosen}
    for time, at in rows.items():
        picture = _frame_at(source, time)
        if picture is not None:
            drawn = draw_rows(picture, table, at, table.smoothed is not None)
            height = max(1, round(drawn.shape[0] * WIDTH / drawn.shape[1]))
            yield time, np.asarray(cv2.resize(drawn, (WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)


def _frame_at(source: Path, time: float) -> Image | None:
    """The picture shown at a time, upright; None where it is not found."""
    try:
        av = pyav()
    except PoseglassError:
        return None
    try:
        with av.open(f"file:{source}", options={"protocol_whitelist": "file"}) as file:
            stream = file.streams.video[0]
            stream.codec_context.thread_count = 1  # as the frames were read that the rows are of
            file.seek(int(time / stream.time_base), stream=stream)
            for number, frame in enumerate(file.decode(stream)):
                if frame.pts is None or number > PATIENCE:
                    return None
                here = float(frame.pts * stream.time_base)
                if here > time + NEAR:
                    return None
                if here >= time - NEAR:
                    return Decoded(0, here, frame, display_matrix(frame)).image()
    except (av.FFmpegError, IndexError, ValueError):
        return None
    return None
