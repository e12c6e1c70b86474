"""How a job on Ray goes: actors write on a board, and whoever waits for them reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from poseglass.video.job import Progress

PAUSE = 0.5
"""Seconds between two words of an actor, and between two looks at the board."""

PATIENCE = 10.0
"""Seconds for which the board is waited for."""


class Board:
    """Where actors write how far they are; an actor itself."""

    def __init__(self) -> None:
        self._tries: dict[int, int] = {}
        self._news: dict[int, tuple[int | None, int]] = {}

    def try_(self, task: int) -> int:
        """Note that a task is begun; returns how often it has been by now."""
        self._tries[task] = self._tries.get(task, 0) + 1
        return self._tries[task]

    def tell(self, task: int, promised: int | None, frames: int) -> None:
        """Note how many frames of a task are done, and how many its video says to have."""
        self._news[task] = promised, frames

    def news(self) -> dict[int, tuple[int | None, int]]:
        """What was told since this was last asked."""
        news, self._news = self._news, {}
        return news


class Reporter:
    """Progress of one task, written on the board.

    Args:
        board: the actor.
        task: its number.
    """

    def __init__(self, board: Any, task: int) -> None:
        self._board, self._task = board, task
        self._promised: int | None = None
        self._frames, self._told = 0, 0.0

    def tries(self) -> int:
        """How often the task has been begun, with this time."""
        import ray

        try:
            return int(ray.get(self._board.try_.remote(self._task), timeout=PATIENCE))
        except ray.exceptions.RayError:  # the board is gone: nobody counts any more
            return 1

    def begin(self, source: Path, promised: int | None) -> None:  # noqa: ARG002 (a task has one)
        """Its video is begun."""
        self._promised = promised
        self._tell()

    def advance(self, source: Path) -> None:  # noqa: ARG002
        """One more of its frames is done."""
        self._frames += 1
        if time.monotonic() - self._told >= PAUSE:
            self._tell()

    def end(self, source: Path) -> None:
        """It is done, or failed."""

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._board.tell.remote(self._task, self._promised, self._frames)


class Watch:
    """Tells a `Progress` what is on the board.

    Args:
        progress: is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._done: dict[int, int] = {}
        self._begun: set[Path] = set()
        self._ended: set[Path] = set()

    def tell(self, news: Mapping[int, tuple[int | None, int]], videos: Mapping[int, Path]) -> None:
        """Pass on what is new.

        Args:
            news: task -> (frames promised, frames done).
            videos: task -> its video.
        """
        with self._lock:
            for task, (promised, frames) in news.items():
                video = videos[task]
                if video in self._ended:
                    continue
                if video not in self._begun:
                    self._begun.add(video)
                    self._progress.begin(video, promised)
                # A task that was begun anew says nothing new until it is where it was.
                for _ in range(frames - self._done.get(task, 0)):
                    self._progress.advance(video)
                self._done[task] = max(frames, self._done.get(task, 0))

    def end(self, video: Path) -> None:
        """A video is done, or failed."""
        with self._lock:
            self._ended.add(video)
            self._progress.end(video)


@contextmanager
def watching(watch: Watch, board: Any, videos: Mapping[int, Path]) -> Iterator[None]:
    """Read the board in a thread of its own.

    Args:
        watch: is told.
        board: the actor.
        videos: task -> its video.
    """
    import ray

    stopped = threading.Event()

    def read() -> None:
        while not stopped.wait(PAUSE):
            try:
                watch.tell(ray.get(board.news.remote(), timeout=PATIENCE), videos)
            except ray.exceptions.GetTimeoutError:
                continue
            except ray.exceptions.RayError:  # the job does not hang on its progress
                return

    thread = threading.Thread(target=read, name="poseglass-board", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
