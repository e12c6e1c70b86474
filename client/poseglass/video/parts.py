"""Parts of a video: runs of segments that several processes do at the same time.

A part needs nothing of the others, as a segment does not. What it costs: whoever does it decodes the video from its
beginning, since a seek may give other frames; and the last part's decodes all of it, which counts its frames.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from poseglass.video.counts import Counts
from poseglass.video.folder import VideoFolder
from poseglass.video.job import JobSettings, Progress, look_through
from poseglass.video.pipeline import Machine
from poseglass.video.reading import DEFAULT_RATE, Decoded, VideoReader

MOST_PARTS = 8
"""Of one video; each costs a decoding of all that is before it."""

FEWEST_SEGMENTS = 3
"""In a part; less is not worth that."""


@dataclass(frozen=True)
class Part:
    """Some of a video's segments, one after another.

    Attributes:
        first: number of the first; with 0, whatever is before the next part belongs to it.
        end: number after the last; None: all that follow.
    """

    first: int = 0
    end: int | None = None

    @property
    def last(self) -> bool:
        """Whether it reaches to the end of the video."""
        return self.end is None


WHOLE = Part()


@dataclass(frozen=True)
class PartDone:
    """What came of a part, beside its segments.

    Attributes:
        counts: of what was read; of the whole video where the part is the last.
        video: facts about it.
        seconds: that it took.
    """

    counts: Counts
    video: Mapping[str, Any]
    seconds: float


class PartReader(VideoReader):
    """Reads a video from its beginning, and gives the frames of a part.

    Args:
        path: the file.
        part: of it.
        settings: how it is cut into segments, and which frames are wanted; those before the part are counted.

    Raises:
        InvalidRequest, MissingExtra: of `VideoReader`.
    """

    def __init__(self, path: Path, part: Part, settings: JobSettings) -> None:
        super().__init__(path)
        self._part, self._settings = part, settings

    def __iter__(self) -> Iterator[Decoded]:
        """Its frames, in the order of presentation; the file is read no further than they go."""
        for frame in super().__iter__():
            number = self._settings.clock.number(frame.time)
            if self._part.end is not None and number >= self._part.end:
                return
            if number >= self._part.first:
                yield frame
            else:
                self.counts.selected += self._settings.selection.holds(frame.index, frame.time)


def do_part(folder: VideoFolder, part: Part, machine: Machine, settings: JobSettings, progress: Progress) -> PartDone:
    """Look at the frames of a part whose segments are not finished.

    Args:
        folder: of the video; somebody else has begun it, and keeps its manifest.
        part: which segments.
        machine: looks at frames.
        settings: what is done.
        progress: is told of the frames in the part.

    Raises:
        InvalidRequest: the video cannot be read.
        DiskFull, OSError: something cannot be written.
    """
    began = time.monotonic()
    with PartReader(folder.source, part, settings) as reader:
        progress.begin(folder.source, reader.expected)
        look_through(reader, folder, machine, settings, progress)
        return PartDone(reader.counts, reader.facts, time.monotonic() - began)


def segment_numbers(source: Path, settings: JobSettings) -> range:
    """About which segments a video will have, as its header says; none where it says nothing, or cannot be read.

    Args:
        source: the video.
        settings: how it is cut, and which frames are wanted.
    """
    try:
        with VideoReader(source) as reader:
            first = next(iter(reader)).time
            length = reader.counts.promised_seconds
            if length is None:
                length = (reader.expected or 0) / (reader.facts["rate"] or DEFAULT_RATE)
    except Exception:  # whoever does the video says what is wrong with it
        return range(0)
    wanted, number = settings.selection, settings.clock.number
    start = first if wanted.start is None else max(first, wanted.start)
    end = first + length if wanted.end is None else min(first + length, wanted.end)
    return range(number(start), number(end) + 1) if start < end else range(0)


def split(missing: Sequence[int], share: float) -> list[Part]:
    """Cut a video into parts with about as many segments to be done in each.

    Args:
        missing: numbers of the segments that are to be done.
        share: how many of them one process is to do.
    """
    count = min(MOST_PARTS, math.ceil(len(missing) / share), len(missing) // FEWEST_SEGMENTS)
    if count < 2:
        return [WHOLE]
    starts = [missing[i * len(missing) // count] for i in range(1, count)]
    return [Part(first or 0, end) for first, end in pairwise([0, *starts, None])]
