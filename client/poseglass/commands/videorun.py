"""The work of `poseglass video`, for each kind of source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from poseglass.commands.connection import Connection
from poseglass.commands.documents import JsonList
from poseglass.commands.live import record_live
from poseglass.commands.onray import DEVICES, everywhere
from poseglass.commands.videooutcomes import conclude, tell, tell_all
from poseglass.commands.videoprogress import VideoProgress
from poseglass.commands.videos import folder_names
from poseglass.errors import InvalidRequest
from poseglass.video.asking import Asker, Facts, LocalAsk, Question, RemoteAsk
from poseglass.video.folder import locked
from poseglass.video.following import LAG, FollowSettings
from poseglass.video.job import JobSettings, run_job
from poseglass.video.live import LiveSettings, finish_recording
from poseglass.video.livesource import LiveSource
from poseglass.video.rayjob import run_ray_job

NEVER = 1 << 30
"""Frames; a look anew that finds one person costs tens of crops, and says nothing new while that one is followed."""


@dataclass(frozen=True)
class VideoRun:
    """What was asked for, of any kind of source. Each method does it, says what became of it, and raises typer.Exit
    where something failed.

    Attributes:
        out: the folder around the results; it exists.
        question: what is asked about a frame.
        settings: what is done.
        detect_every: frames, as given; None: as suits those who answer.
        connection: to a server, where one is named.
        device: to compute on where none is.
        threads: of a look in this process.
        strict: counts that disagree are failures.
        as_json: print a JSON list.
    """

    out: Path
    question: Question
    settings: JobSettings
    detect_every: int | None
    connection: Connection
    device: str
    threads: int
    strict: bool
    as_json: bool

    def finish(self, recordings: Sequence[Path]) -> None:
        """Finish recordings that were cut off, or once more."""
        done = [finish_recording(folder, self.settings.finishing) for folder in recordings]
        tell_all(done, self.strict, self.as_json)

    def record(self, source: LiveSource, live: LiveSettings, show: bool) -> None:
        """Record a live source."""
        with asking(self.question, self.connection, self.device, self.threads) as asker:
            outcome = record_live(source, self.out, asker, self._fitted(asker.facts), live, show)
        tell_all([outcome], self.strict, self.as_json)

    def work_through(self, files: Sequence[Path], at_once: int, cluster: str | None, workers: int | None) -> None:
        """Do videos.

        Args:
            files: the videos.
            at_once: how many, in this process.
            cluster: Ray's address; None: without it.
            workers: actors on it; None: as many as there is room for.
        """
        # With Ray, actors do the work, and what is loaded here only says with what.
        device = self.device if cluster is None else "cpu"
        outcomes = []
        with locked(self.out), asking(self.question, self.connection, device, self.threads) as asker:
            names, settings = folder_names(files, self.out), self._fitted(asker.facts)
            with VideoProgress(len(files)) as progress, JsonList(self.as_json) as document:
                if cluster is None:
                    job = run_job(names, self.out, asker, settings, progress, at_once)
                else:
                    device = DEVICES[self.device]
                    ask = partial(asking, everywhere(self.question), self.connection, device, 1)
                    job = run_ray_job(names, self.out, ask, asker.facts, settings, progress, cluster, workers, device)
                for outcome in job:
                    outcomes.append(outcome)
                    with progress.aside():
                        tell(outcome, document, self.strict, self.as_json)
        order = [str(file) for file in files]
        outcomes.sort(key=lambda outcome: order.index(str(outcome.source)))
        conclude(outcomes, self.strict, self.as_json)

    def _fitted(self, facts: Facts) -> JobSettings:
        return replace(self.settings, following=fitted(self.settings.following, facts, self.detect_every))


def shares(workers: int | None, videos: int) -> tuple[int, int]:
    """Videos at once, and threads of a look: together they fill the processors.

    Raises:
        InvalidRequest: `workers` is none.
    """
    from poseglass_runtime.threads import available_threads

    if workers is not None and workers < 1:
        raise InvalidRequest("--workers", f"must be a whole number of at least 1, not {workers}")
    cores = available_threads()[0]
    at_once = min(workers or max(1, cores // LAG), max(videos, 1))
    return at_once, max(1, cores // (LAG * at_once))


@contextmanager
def asking(question: Question, connection: Connection, device: str, threads: int) -> Iterator[Asker]:
    """What answers: a server where one is named, else this process."""
    if not connection.wanted:
        local = LocalAsk(question, device, threads)
        try:
            yield local
        finally:
            local.close()
        return
    with connection.client() as client:
        remote = RemoteAsk(client, question)
        try:
            yield remote
        finally:
            remote.close()


def fitted(settings: FollowSettings, facts: Facts, detect_every: int | None) -> FollowSettings:
    """The settings that suit those who answer, where nothing else was said."""
    settings = replace(settings, keep=facts.keep)
    if facts.everybody:
        return settings
    return replace(settings, detect_every=detect_every or NEVER)
