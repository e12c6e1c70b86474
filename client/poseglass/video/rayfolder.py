"""Folders as actors write into them: only as long as the run that they belong to holds the folder around them all.

Actors outlive a run that is killed, by seconds or by a minute. The next run must not find a segment of the last one's
options among its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from poseglass.errors import Cancelled, FailedPrecondition
from poseglass.video.folder import LOCK, VideoFolder
from poseglass.video.segments import SegmentFolder
from poseglass.video.table import PoseTable


def holder(out: Path) -> int:
    """What tells the run that holds a folder from any other: when it has taken hold, in nanoseconds.

    Args:
        out: the folder around those of the videos.

    Raises:
        FailedPrecondition: nobody holds it, or it is not seen from here.
    """
    try:
        with (out / LOCK).open("rb") as file:  # on a shared file system, opening asks for what is true now
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        raise FailedPrecondition(
            f"{os.uname().nodename} does not see {out}; every machine must see videos and results under these paths"
        ) from None


class HeldFolder(VideoFolder):
    """A video's folder, as long as a run holds the one around it.

    Args:
        path: the folder.
        source: the video.
        run: the `holder` that it belongs to.
    """

    def __init__(self, path: Path, source: Path, run: int) -> None:
        super().__init__(path, source)
        self._run = run
        self.segments = HeldSegments(path / "segments", self)

    def note(self, **values: Any) -> None:
        """Add to the manifest.

        Raises:
            Cancelled: another run holds it by now.
            OSError: it cannot be written.
        """
        self.check()
        super().note(**values)

    def check(self) -> None:
        """Make sure that the run still holds it.

        Raises:
            Cancelled: it does not.
        """
        if holder(self.path.parent) != self._run:
            raise Cancelled(f"{self.path.parent}: another run has begun here")


class HeldSegments(SegmentFolder):
    """The finished segments in a `HeldFolder`.

    Args:
        path: the folder; made when first written to.
        folder: the video's.
    """

    def __init__(self, path: Path, folder: HeldFolder) -> None:
        super().__init__(path)
        self._folder = folder

    def save(self, number: int, table: PoseTable) -> None:
        """Write a segment, whole or not at all.

        Raises:
            Cancelled: another run holds the folder by now.
            OSError: it cannot be written.
        """
        self._folder.check()
        super().save(number, table)
