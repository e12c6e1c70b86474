"""Segments: the unit of state, of resuming, and of work that can be shared out.

A segment's boundaries are fixed by time alone, and whoever works on it begins with a fresh look. So the same rows come
of a run that was interrupted, of several runs side by side, and of one that went through. A file is always decoded from
its beginning, for a seek may give other frames than that; what is done already is decoded and not looked at.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poseglass.errors import InvalidRequest
from poseglass.video.columns import OPTIONAL, columns
from poseglass.video.orientation import Image
from poseglass.video.reading import Decoded, Selection, VideoReader
from poseglass.video.table import PoseTable
from poseglass_core.files import write_whole
from poseglass_core.skeleton import Skeleton

SECONDS = 10.0
"""Length of a segment."""


class SegmentClock:
    """Says in which segment a frame is.

    Args:
        seconds: length of a segment.

    Raises:
        InvalidRequest: it has no length.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise InvalidRequest("--segment", f"must be a positive number of seconds, not {seconds:g}")
        self.seconds = seconds

    def number(self, time: float) -> int:
        """Number of the segment of a frame, from 0; times below zero belong to the first."""
        return max(0, math.floor(time / self.seconds))


@dataclass(frozen=True)
class SegmentFrame:
    """A frame that is to be looked at.

    Attributes:
        segment: number of its segment.
        index: among all decoded frames.
        time: seconds of presentation.
        image: [height, width, 3] RGB, upright.
    """

    segment: int
    index: int
    time: float
    image: Image


@dataclass(frozen=True)
class Passed:
    """A frame that is not to be looked at: it was left out, or its segment is done.

    Attributes:
        index: among all decoded frames.
    """

    index: int


def read_segments(
    reader: VideoReader, selection: Selection, clock: SegmentClock, done: frozenset[int] = frozenset()
) -> Iterator[SegmentFrame | Passed]:
    """Every decoded frame of a file, with pixels where it is to be looked at.

    Args:
        reader: at the file's beginning; its counts grow.
        selection: which frames are wanted.
        clock: cuts the time into segments.
        done: numbers of the segments that need no look.

    Raises:
        InvalidRequest: of the reader.
    """
    for frame in reader:
        if selection.over(frame.time):
            return
        number = clock.number(frame.time)
        wanted = selection.holds(frame.index, frame.time)
        reader.counts.selected += wanted
        if wanted and number not in done:
            yield SegmentFrame(number, frame.index, frame.time, _image(reader, frame))
        else:
            yield Passed(frame.index)


def _image(reader: VideoReader, frame: Decoded) -> Image:
    try:
        return frame.image()
    except Exception as error:  # FFmpeg's scaler has many reasons, none of them public
        raise InvalidRequest(
            "", f"{reader.path}: frame {frame.index} cannot be made RGB ({error}); re-encode the video"
        ) from None


class SegmentFolder:
    """The finished segments of one video.

    Args:
        path: the folder; made when first written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, number: int) -> Path:
        """Where a segment is."""
        return self.path / f"{number:06d}.npz"

    def save(self, number: int, table: PoseTable) -> None:
        """Write a segment, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        arrays = {name: getattr(table, name) for name in _stored(table.skeleton)}
        content = io.BytesIO()
        np.savez_compressed(content, skeleton=np.array(json.dumps(table.skeleton.to_json())), **arrays)
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.file(number), content.getvalue())

    def load(self, number: int) -> PoseTable | None:
        """A finished segment; None where there is none that can be read, so that it is done again."""
        try:
            with np.load(self.file(number), allow_pickle=False) as arrays:
                skeleton = Skeleton.from_json(json.loads(str(arrays["skeleton"])))
                stored: dict[str, Any] = {name: arrays[name] for name in _stored(skeleton)}
                return PoseTable(skeleton=skeleton, header={}, **stored)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def numbers(self) -> list[int]:
        """Of the segments that are here, in order, readable or not."""
        found = (re.fullmatch(r"(\d{6,})\.npz", file.name) for file in self.path.glob("*.npz"))
        return sorted(int(match[1]) for match in found if match)

    def finished(self, skeleton: Skeleton) -> frozenset[int]:
        """Numbers of the segments that are here, can be read, and are of that skeleton."""
        tables = ((number, self.load(number)) for number in self.numbers())
        return frozenset(number for number, table in tables if table is not None and table.skeleton == skeleton)

    def clear(self) -> None:
        """Forget everything."""
        for file in self.path.glob("*.npz"):
            file.unlink(missing_ok=True)


def _stored(skeleton: Skeleton) -> list[str]:
    return [name for name in columns(len(skeleton.joints)) if name not in OPTIONAL]
