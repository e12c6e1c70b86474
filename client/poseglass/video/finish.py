"""The second pass over a video's raw rows: who is who, smoothing, and the files that people asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poseglass.errors import InvalidRequest
from poseglass.video import formats
from poseglass.video.smoothing import FILTERS, smooth
from poseglass.video.table import PoseTable
from poseglass.video.tracking import track

DEFAULT_FORMAT = "parquet"


@dataclass(frozen=True)
class Finishing:
    """What is made of the rows.

    Attributes:
        formats: of result files, by name.
        smoothing: name of a filter; empty: none.
        overlay: write the video with poses drawn on it.
        report: write a page about it.

    Raises:
        InvalidRequest: no such format or filter; the message lists those there are.
    """

    formats: tuple[str, ...] = (DEFAULT_FORMAT,)
    smoothing: str = ""
    overlay: bool = False
    report: bool = False

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
        }


def second_pass(table: PoseTable, finishing: Finishing) -> PoseTable:
    """Ids over the whole video and, where asked for, smoothed joints.

    Args:
        table: raw rows.
        finishing: which filter.
    """
    table = track(table)
    return smooth(table, FILTERS[finishing.smoothing]()) if finishing.smoothing else table


def write_results(table: PoseTable, folder: Path, name: str, finishing: Finishing, source: Path) -> dict[str, Path]:
    """Write the files that were asked for, each whole or not at all.

    Args:
        table: after the second pass.
        folder: to write into.
        name: of the files, without suffix.
        finishing: which files.
        source: the video.

    Returns:
        Kind of file -> where it is.

    Raises:
        PoseglassError, OSError: one cannot be written.
    """
    written: dict[str, Path] = {}
    for kind in finishing.formats:
        path = folder / f"{name}{formats.FORMATS[kind].suffix}"
        formats.write(table, path, kind)
        written[kind] = path
    if finishing.overlay:
        from poseglass.video.overlay import write_overlay

        written["overlay"] = folder / f"{name}-overlay.mp4"
        write_overlay(table, source, written["overlay"])
    if finishing.report:
        from poseglass.video.report import write_report

        written["report"] = folder / f"{name}.html"
        write_report(table, written["report"], source)
    return written
