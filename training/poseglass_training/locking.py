"""One run a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderInUse(RuntimeError):
    """Another process trains in the folder."""


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder for as long as this process lives; a killed one leaves nothing behind.

    Raises:
        FolderInUse: another run is there. Where the system knows no such locks (Windows), it is not noticed.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"{folder}: another training runs in this folder; wait for it, or choose another"
            ) from None
        yield
    finally:
        os.close(handle)
