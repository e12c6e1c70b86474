"""What runs in an actor of Ray: one task after another, each a video or a part of one."""

from __future__ import annotations

import io
import os
import pickle
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poseglass import __version__
from poseglass.errors import FailedPrecondition, InvalidRequest, PoseglassError
from poseglass.video.asking import Asker, Facts
from poseglass.video.following import LAG
from poseglass.video.job import JobSettings, Outcome, attempted, run_video
from poseglass.video.parts import WHOLE, Part, PartDone, do_part
from poseglass.video.pipeline import Machine
from poseglass.video.rayfolder import HeldFolder, holder
from poseglass.video.rayprogress import Reporter

TRIES = 4
"""How often a task is begun; one that ends its process every time must not do so all night."""


@dataclass(frozen=True)
class Task:
    """A row of the data set: a video, or a part of one.

    Attributes:
        number: of the task.
        source: the video, as every machine sees it.
        folder: its own.
        part: which segments.
    """

    number: int
    source: Path
    folder: Path
    part: Part = WHOLE

    def to_row(self) -> dict[str, Any]:
        """What Ray keeps of it; names of files are bytes, as not all of them are text."""
        end = -1 if self.part.end is None else self.part.end
        names = {"video": os.fsencode(self.source), "folder": os.fsencode(self.folder)}
        return {"number": self.number, **names, "first": self.part.first, "end": end}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Task:
        """What `to_row` gave."""
        source, folder = (Path(os.fsdecode(row[name])) for name in ("video", "folder"))
        end = None if row["end"] < 0 else int(row["end"])
        return cls(int(row["number"]), source, folder, Part(int(row["first"]), end))


@dataclass(frozen=True)
class Order:
    """What all actors are told.

    Attributes:
        out: the folder around those of the videos.
        run: who holds it.
        ask: makes what answers.
        facts: of what is to answer.
        settings: what is done about every video.
        version: of the package.
    """

    out: Path
    run: int
    ask: Callable[[], AbstractContextManager[Asker]]
    facts: Facts
    settings: JobSettings
    version: str = __version__


@dataclass(frozen=True)
class Done:
    """What became of a task.

    Attributes:
        number: of the task.
        result: of the video, where it failed or was done whole; else of the part.
        fatal: whether every further video would fail likewise.
    """

    number: int
    result: Outcome | PartDone
    fatal: bool = False


class Worker:
    """An actor. What goes wrong is a result; an actor that is lost is made anew by Ray, and its task given out again.

    Args:
        order: what to do.
        board: where to write how far it is.
    """

    def __init__(self, order: Order, board: Any) -> None:
        self._order, self._board = order, board
        self._held = ExitStack()
        self._ready: tuple[Asker, Machine] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do a task, given as its row; returns `Done` as bytes."""
        return {"done": packed(self._do(Task.from_row(row)))}

    def _do(self, task: Task) -> Done:
        try:
            asker, machine = self._prepared()
            report = Reporter(self._board, task.number)
            result = attempted(task.source, task.folder, lambda: self._work(task, asker, machine, report))
        except Exception as error:  # it would meet all videos
            known = error if isinstance(error, PoseglassError | OSError) else PoseglassError(f"{_host()}: {error!r}")
            return Done(task.number, Outcome(task.source, task.folder, error=known), fatal=True)
        return Done(task.number, result)

    def _work(self, task: Task, asker: Asker, machine: Machine, report: Reporter) -> Outcome | PartDone:
        if report.tries() > TRIES:
            raise PoseglassError(
                f"{task.source}: every process that worked on it ended before it was done, {TRIES} of them; its memory "
                "may not suffice, or the decoder does not bear this file: try it alone, without --ray"
            )
        if not task.source.exists():
            raise InvalidRequest("", f"{task.source}: is not there on {_host()}; share it with all machines")
        folder = HeldFolder(task.folder, task.source, self._order.run)
        if task.part == WHOLE:
            return run_video(folder, machine, asker, self._order.settings, report)
        return do_part(folder, task.part, machine, self._order.settings, report)

    def _prepared(self) -> tuple[Asker, Machine]:
        """What answers, and the machine around it; made when it is first asked for, so that errors are results."""
        if self._ready is None:
            self._check_place()
            asker = self._held.enter_context(self._order.ask())
            self._check_facts(asker.facts)
            looking = self._held.enter_context(ThreadPoolExecutor(LAG, "poseglass-look"))
            following = self._order.settings.following
            self._ready = asker, Machine(asker, asker.facts.skeleton, following, looking, threading.Event())
        return self._ready

    def _check_place(self) -> None:
        holder(self._order.out)
        if self._order.version != __version__:
            raise FailedPrecondition(
                f"{_host()} has poseglass {__version__}, and {self._order.version} is wanted; install the same one"
            )

    def _check_facts(self, facts: Facts) -> None:
        """That the same weights answer here as where the job was begun."""
        wanted = self._order.facts
        if (facts.to_json(), facts.skeleton, facts.keep) != (wanted.to_json(), wanted.skeleton, wanted.keep):
            raise FailedPrecondition(
                f"{_host()} has another {facts.model.name} or detector; give every machine the same files"
            )


def packed(done: Done) -> bytes:
    """As bytes, with its error."""
    content = io.BytesIO()
    _Pickler(content).dump(done)
    return content.getvalue()


def unpacked(content: bytes) -> Done:
    """What `packed` was given."""
    done: Done = pickle.loads(content)
    return done


class _Pickler(pickle.Pickler):
    """Keeps errors whose constructors take something else than they hand on."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, PoseglassError):
            return _remade, (type(value), value.args, vars(value))
        return NotImplemented


def _remade(kind: type[PoseglassError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> PoseglassError:
    error: PoseglassError = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


def _host() -> str:
    return socket.gethostname()
