"""A video's result file, for analysis: arrays, angles and a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.video import formats
from poseglass.video.angles import joint_angles
from poseglass.video.formats.flat import to_columns
from poseglass.video.table import PoseTable
from poseglass.video.whole import package
from poseglass_core.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Results:
    """The poses of one video; R rows, one a decoded frame and person, and one for a frame without anybody.

    Attributes:
        table: all of it.
        path: of the file.
    """

    table: PoseTable
    path: Path

    def __len__(self) -> int:
        return len(self.table)

    @property
    def header(self) -> Mapping[str, Any]:
        """Source, counts, model, options, tracking and smoothing, as plain values."""
        return self.table.header

    @property
    def skeleton(self) -> Skeleton:
        """Names of joints, limbs and angles."""
        return self.table.skeleton

    @property
    def frame(self) -> NDArray[np.int64]:
        """[R] index of the decoded frame, from 0."""
        return self.table.frame

    @property
    def time(self) -> NDArray[np.float64]:
        """[R] presentation time in seconds."""
        return self.table.time

    @property
    def person(self) -> NDArray[np.int32]:
        """[R] index within the frame; -1: nobody."""
        return self.table.person

    @property
    def track(self) -> NDArray[np.int32] | None:
        """[R] id over the whole video; None where the file has none."""
        return self.table.track

    @property
    def joints(self) -> NDArray[np.float32]:
        """[R, J, 2] pixels as estimated; NaN where not known."""
        return self.table.joints

    @property
    def smoothed(self) -> NDArray[np.float32] | None:
        """[R, J, 2] pixels after the filter; None where the file has none."""
        return self.table.smoothed

    @property
    def scores(self) -> NDArray[np.float32]:
        """[R, J] of joints."""
        return self.table.joint_scores

    def angles(self) -> dict[str, NDArray[np.float32]]:
        """Angle name -> [R] degrees, of the smoothed joints where there are any."""
        return joint_angles(self.table)

    def of_track(self, number: int) -> Results:
        """The rows of one person, in time.

        Args:
            number: the id.

        Raises:
            ValueError: the file has no tracks.
        """
        if self.table.track is None:
            raise ValueError(f"{self.path}: has no tracks; `poseglass video` writes them")
        return Results(self.table.select(self.table.track == number), self.path)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with the columns of the Parquet file.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return package("pandas", "a data frame").DataFrame(to_columns(self.table))

    def save(self, path: str | Path, format: str = "") -> list[str]:  # noqa: A002 (its name everywhere)
        """Write it, in any format.

        Args:
            path: of the new file.
            format: its name; empty: by the path's suffix.

        Returns:
            What the format drops, in words.
        """
        return formats.write(self.table, path, format)


def load(path: str | Path, format: str = "", skeleton: Skeleton | None = None) -> Results:  # noqa: A002
    """Read a result file of `poseglass video`, or one of the same format by others.

    Args:
        path: a .parquet, .csv, .jsonl, .json (COCO results) or .h5 (SLEAP analysis) file, or a folder of OpenPose JSON.
        format: name of its format; empty: by the path.
        skeleton: for COCO and OpenPose, which do not name joints; None: the built-in one with that number of joints.

    Raises:
        InvalidRequest: it cannot be read; the message says why.
        MissingExtra: a package that reads it is not installed.
    """
    return Results(formats.read(path, format, skeleton), Path(path))
