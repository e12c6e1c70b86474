"""The second pass over a video's raw rows: who is who, smoothing, and the files that people asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poseglass.errors import InvalidRequest
from poseglass.video import formats
from poseglass.video.following import Ask
from poseglass.video.formats.csv import header_path
from poseglass.video.smoothing import FILTERS, smooth
from poseglass.video.table import PoseTable
from poseglass.video.tracking import track

DEFAULT_FORMAT = "parquet"

OVERLAY = "-overlay.mp4"
"""What the name of an overlay ends in, after that of its folder."""


@dataclass(frozen=True)
class Finishing:
    """What is made of the rows.

    Attributes:
        formats: of result files, by name.
        smoothing: name of a filter; empty: none.
        overlay: write the video with poses drawn on it.
        report: write a page about it.
        heatmaps: draw heatmaps on the overlay too.

    Raises:
        InvalidRequest: no such format or filter; the message lists those there are.
    """

    formats: tuple[str, ...] = (DEFAULT_FORMAT,)
    smoothing: str = ""
    overlay: bool = False
    report: bool = False
    heatmaps: bool = False

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in formats.FORMATS:
                raise InvalidRequest("--format", f"must be one of {', '.join(formats.FORMATS)}, not {name!r}")
        if self.smoothing and self.smoothing not in FILTERS:
            raise InvalidRequest("--smooth", f"must be one of {', '.join(FILTERS)} or none, not {self.smoothing!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "formats": list(self.formats),
            "smoothing": self.smoothing,
            "overlay": self.overlay,
            "report": self.report,
            "heatmaps": self.heatmaps,
        }


def second_pass(table: PoseTable, finishing: Finishing) -> PoseTable:
    """Ids over the whole video and, where asked for, smoothed joints.

    Args:
        table: raw rows.
        finishing: which filter.
    """
    table = track(table)
    return smooth(table, FILTERS[finishing.smoothing]()) if finishing.smoothing else table


def result_files(folder: Path, name: str, finishing: Finishing) -> dict[str, Path]:
    """Kind of file -> where it is, of all files that `write_results` writes.

    Args:
        folder: to write into.
        name: of the files, without suffix.
        finishing: which files.
    """
    files = {kind: folder / f"{name}{formats.FORMATS[kind].suffix}" for kind in finishing.formats}
    if "csv" in files:
        files["csv_header"] = header_path(files["csv"])
    if finishing.overlay:
        files["overlay"] = folder / f"{name}{OVERLAY}"
    if finishing.report:
        files["report"] = folder / f"{name}.html"
    return files


def write_results(
    table: PoseTable,
    files: Mapping[str, Path],
    finishing: Finishing,
    source: Path,
    heatmaps: Ask | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write the files that were asked for, each whole or not at all.

    Args:
        table: after the second pass.
        files: where, as `result_files` gives them.
        finishing: which files.
        source: the video.
        heatmaps: gives poses with heatmaps for the boxes of a frame's rows, where the overlay shows them.
        stop: set from another thread: give up at the next frame.

    Raises:
        Cancelled: `stop` was set.
        PoseglassError, OSError: one cannot be written.
    """
    for kind in finishing.formats:
        formats.write(table, files[kind], kind)
    if finishing.overlay:
        from poseglass.video.overlay import write_overlay

        layer = heatmaps if finishing.heatmaps else None
        write_overlay(table, source, files["overlay"], heatmaps=layer, stop=stop)
    if finishing.report:
        from poseglass.video.report import write_report

        write_report(table, files["report"], source)


def losses(table: PoseTable, finishing: Finishing) -> dict[str, list[str]]:
    """What the result files do not hold of a table: format -> in words; only formats that drop something."""
    found = {kind: formats.losses(table, formats.FORMATS[kind]) for kind in finishing.formats}
    return {kind: words for kind, words in found.items() if words}


def loss_lines(videos: Iterable[Mapping[str, Sequence[str]]]) -> list[str]:
    """A line a format that says what it does not hold of any of some videos, each as `losses` gives it."""
    union: dict[str, dict[str, None]] = {}
    for video in videos:
        for kind, words in video.items():
            union.setdefault(kind, {}).update(dict.fromkeys(words))
    return [formats.loss_line(formats.FORMATS[kind], list(words)) for kind, words in union.items()]
