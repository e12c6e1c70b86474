"""Where a job keeps what it has done: one folder a video, a manifest that says of what, and a lock around them all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from poseglass.errors import FailedPrecondition, InvalidRequest, PoseglassError
from poseglass.video.segments import SegmentFolder
from poseglass_core.files import write_whole

FORMAT = "poseglass.video/1"

LOCK = ".poseglass.lock"

SURPRISE = "error.txt"
"""What is left of an error that nobody foresaw."""

SAMPLES, SAMPLE = 32, 1 << 16
"""Pieces of a file that are hashed, evenly spread, and their size in bytes: a night's recordings cannot be read twice
only to see that they are still the same."""


NO_ROOM = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota of this disk is used up; make room",
    errno.EFBIG: "a file may not grow any further; raise the limit (ulimit -f), or choose a disk that has none",
}
"""What the system calls it when nothing more can be written, and what to do."""


class DiskFull(PoseglassError):
    """There is no room for results; what was finished before is whole."""

    code = "RESOURCE_EXHAUSTED"


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Says in words that the disk is full, wherever writing below finds out.

    Raises:
        DiskFull: naming the folder and what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskFull(
            f"{folder}: {NO_ROOM[error.errno]}, and run the same command again: it goes on where it stopped"
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no second run works in it. The lock goes when its holder ends, however it ends.

    Raises:
        FailedPrecondition: another run holds it.
        OSError: it cannot be written into.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip()
            who = f" (process {holder})" if holder.isdigit() else ""
            raise FailedPrecondition(
                f"{folder}: another run is at work here{who}; wait for it, or choose another --out"
            ) from None
        with suppress(OSError):  # the disk may be full, and the number is for the message only
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


def fingerprint(path: Path) -> dict[str, Any]:
    """What tells a file from another: its size, and a hash of its size and of pieces all over it.

    Raises:
        InvalidRequest: it cannot be read.
    """
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            last = max(size - SAMPLE, 0)
            for start in sorted({last * i // (SAMPLES - 1) for i in range(SAMPLES)}):
                file.seek(start)
                digest.update(file.read(SAMPLE))
    except OSError as error:
        raise InvalidRequest("", f"{path}: cannot be read ({error.strerror})") from None
    return {"bytes": size, "sampled_sha256": digest.hexdigest()}


class VideoFolder:
    """What has been done about one video.

    Args:
        path: the folder.
        source: the video.

    Attributes:
        segments: those that are finished.
        manifest: what stands in `manifest.json`; empty before anything was begun.
    """

    def __init__(self, path: Path, source: Path) -> None:
        self.path, self.source = path, source
        self.segments = SegmentFolder(path / "segments")
        self.manifest = self._read()

    @property
    def name(self) -> str:
        """Of the folder and, with a suffix each, of the files in it."""
        return self.path.name

    def begin(self, of: Mapping[str, Any]) -> bool:
        """Make sure that all that is here is of this input, these models and these options.

        Args:
            of: what rows depend on, plain values, with `input`: the video's fingerprint.

        Returns:
            Whether something done before can be used.

        Raises:
            FailedPrecondition: here are the results of another video.
        """
        of = json.loads(json.dumps(of))
        self._tidy()
        before, source = self.manifest.get("source"), str(self.source.resolve())
        if self.manifest.get("of") == of:
            if before != source:  # it was moved
                self.note(source=source)
            return True
        if before is not None and before != source and self.manifest["of"]["input"] != of["input"]:
            raise FailedPrecondition(
                f"{self.path}: holds the results of another video, {before}; choose another --out, or remove it"
            )
        for name in self.manifest.get("written", ()):
            _remove(self.path / name)  # results of what is no more must not be taken for new ones
        # Then the manifest: without it, segments of another kind count as nothing.
        self.manifest = {}
        (self.path / "manifest.json").unlink(missing_ok=True)
        self.segments.clear()
        self.note(format=FORMAT, source=source, of=of)
        return False

    def will_write(self, files: Iterable[Path]) -> None:
        """Note results before they are written, for whoever has to remove them when they hold no longer.

        Args:
            files: in this folder.

        Raises:
            OSError: the manifest cannot be written.
        """
        written = self.manifest.get("written", [])
        if names := sorted({*written, *(file.name for file in files)}):
            self.note(written=names)

    def note(self, **values: Any) -> None:
        """Add to the manifest, which is replaced whole.

        Raises:
            OSError: it cannot be written.
        """
        self.manifest = {**self.manifest, **values}
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "manifest.json", json.dumps(self.manifest, indent=1).encode())

    def _tidy(self) -> None:
        """Remove what a run that was killed had not finished writing, and what it left for a report of an error.

        The lock says that nobody writes now.
        """
        _remove(self.path / SURPRISE)
        for inside in (self.path, self.segments.path):
            for left in inside.glob(".*.tmp*"):
                _remove(left)

    def _read(self) -> dict[str, Any]:
        try:
            manifest = json.loads((self.path / "manifest.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        sound = isinstance(manifest, dict) and manifest.get("format") == FORMAT
        return manifest if sound and {"source", "of"} <= manifest.keys() else {}


def extent(path: Path) -> list[int]:
    """(files, bytes) of a result, which may be a folder; no file where it is not there."""
    try:
        sizes = [file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path])]
    except OSError:
        return [0, 0]
    return [len(sizes), sum(sizes)]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
