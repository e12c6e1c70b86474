"""`poseglass video`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from poseglass.commands.connection import Connection, only_with_server
from poseglass.commands.files import output_folder
from poseglass.commands.live import check_options, record_live, recordings
from poseglass.commands.onray import DEVICES, check_ray, everywhere
from poseglass.commands.predict import JsonList
from poseglass.commands.videooutcomes import conclude, tell, tell_all
from poseglass.commands.videoprogress import VideoProgress
from poseglass.commands.videos import find_videos, folder_names
from poseglass.errors import InvalidRequest
from poseglass.video.asking import Asker, Facts, LocalAsk, Question, RemoteAsk
from poseglass.video.finish import DEFAULT_FORMAT, Finishing
from poseglass.video.folder import locked
from poseglass.video.following import LAG, FollowSettings
from poseglass.video.job import JobSettings, run_job
from poseglass.video.live import LiveSettings, finish_recording
from poseglass.video.livesource import only_live_source
from poseglass.video.rayjob import run_ray_job
from poseglass.video.reading import Selection, pyav
from poseglass.video.segments import SECONDS, SegmentClock
from poseglass_core.poses import Locate

LOCATE = {"auto": Locate.AUTO, "whole": Locate.WHOLE_IMAGE, "detect": Locate.DETECT}

NEVER = 1 << 30
"""Frames; a look anew that finds one person costs tens of crops, and says nothing new while that one is followed."""

SEARCH_ONE = 5
"""Frames after which that look is repeated where nobody was found."""


def video(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, folders, quoted globs, @LIST (one a line). Or one live: a camera's number, a URL, -.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Results: a folder a video. Run again to go on.")],
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Shipped name, path, or the server's name.")] = "",
    detector: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="What finds people; named as --model. Default: the shipped one.")
    ] = "",
    locate: Annotated[
        str,
        typer.Option(
            metavar="auto|whole|detect",
            help="Everybody (detect), or one person. auto: detect where there is a detector.",
        ),
    ] = "auto",
    every: Annotated[int, typer.Option(metavar="N", help="Look at every Nth frame only.")] = 1,
    start: Annotated[float | None, typer.Option(metavar="SECONDS", help="Leave out frames before.")] = None,
    end: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Leave out frames from here on; live: record so long.")
    ] = None,
    segment: Annotated[
        float, typer.Option(metavar="SECONDS", help="Work that is kept at once; each starts with a fresh look.")
    ] = SECONDS,
    detect_every: Annotated[
        int | None, typer.Option(metavar="N", help="Frames after which new people are looked for.")
    ] = None,
    person_threshold: Annotated[
        float | None, typer.Option(metavar="0...1", help="Leave out people that score less; default the model's.")
    ] = None,
    joint_threshold: Annotated[float, typer.Option(metavar="0...1", help="Leave out joints that score less.")] = 0.0,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture.")] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="NAME", help=f"Of the result; repeatable. Default: {DEFAULT_FORMAT}."),
    ] = None,
    smooth: Annotated[
        str, typer.Option(metavar="one-euro|butterworth|none", help="Add smoothed joints beside the raw ones.")
    ] = "none",
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the video with poses drawn on it.")] = False,
    overlay_heatmaps: Annotated[
        bool, typer.Option("--overlay-heatmaps", help="Draw heatmaps on it too; the model runs once more for them.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Write a page about each video.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail where counts of frames disagree or packets are corrupt.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Videos at once; default by the processors. Rows do not change.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]", help="What to compute on in-process.")] = "auto",
    jpeg: Annotated[
        int | None, typer.Option(metavar="1...100", help="Send JPEG of this quality; default: pixels as they are.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Share the work out with Ray: on this machine (local), or a cluster (auto, HOST:PORT). "
            "--workers is then the number of actors.",
        ),
    ] = None,
    drop: Annotated[
        str | None,
        typer.Option(metavar="oldest|never", help="Live: what goes where looking is slower. Default: as suits it."),
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Live: mirror the picture, for a camera you face.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Live: show a window with the poses; q or Esc ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object a video.")] = False,
    *,
    connection: Connection,
) -> None:
    """Find the poses in videos: a row a frame and person, with ids, times and scores.

    Interrupted, it goes on where it stopped when it is run again, and ends with the same rows. Exit code 1 where a
    video failed (the others are done), 2 where the question was wrong. A live source is recorded until it ends, or you
    end it with Ctrl-C; what was recorded is then finished.
    """
    only_with_server(connection.server, {"--jpeg": jpeg})
    if connection.wanted and device != "auto":
        raise InvalidRequest("--device", "is for work in this process; the server chooses its own: leave it out")
    if locate not in LOCATE:
        raise InvalidRequest("--locate", f"must be auto, whole or detect, not {locate!r}")
    pyav()
    question = Question(model, detector, LOCATE[locate], person_threshold, flip, jpeg or 0)
    settings = JobSettings(
        selection=Selection(every, start, end),
        clock=SegmentClock(segment),
        following=_following(detect_every, joint_threshold, person_threshold),
        finishing=Finishing(
            formats=tuple(dict.fromkeys(formats or [DEFAULT_FORMAT])),
            smoothing="" if smooth == "none" else smooth,
            overlay=overlay or overlay_heatmaps,
            report=report,
            heatmaps=overlay_heatmaps,
        ),
        options={"locate": locate, "person_threshold": person_threshold, "flip_test": flip, "jpeg": jpeg or 0},
    )
    live = only_live_source(sources)
    check_options(live, settings, {"--drop": drop, "--mirror": mirror, "--show": show, "--workers": workers})
    before = [] if live is not None else recordings(sources, out)
    files = [] if live is not None or before else find_videos(sources)
    cluster = None if ray is None else check_ray(ray, device, files=bool(files))
    output_folder(out)
    at_once, threads = shares(workers, len(files))
    if before:
        tell_all([finish_recording(folder, settings.finishing) for folder in before], strict, as_json)
        return
    if live is not None:
        with asking(question, connection, device, threads) as asker:
            settings = replace(settings, following=fitted(settings.following, asker.facts, detect_every))
            recorded = record_live(live, out, asker, settings, LiveSettings(drop, mirror), show)
        tell_all([recorded], strict, as_json)
        return
    # With Ray, actors do the work, and what is loaded here only says with what.
    with locked(out), asking(question, connection, device if cluster is None else "cpu", threads) as asker:
        settings = replace(settings, following=fitted(settings.following, asker.facts, detect_every))
        names = folder_names(files, out)
        with VideoProgress(len(files)) as progress, JsonList(as_json) as document:
            outcomes = []
            if cluster is None:
                job = run_job(names, out, asker, settings, progress, at_once)
            else:
                ask = partial(asking, everywhere(question), connection, DEVICES[device], 1)
                job = run_ray_job(names, out, ask, asker.facts, settings, progress, cluster, workers, DEVICES[device])
            for outcome in job:
                outcomes.append(outcome)
                with progress.aside():
                    tell(outcome, document, strict, as_json)
    order = [str(file) for file in files]
    conclude(sorted(outcomes, key=lambda outcome: order.index(str(outcome.source))), strict, as_json)


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
    for option, name, what in (("--model", question.model, "model"), ("--detector", question.detector, "detector")):
        if Path(name).suffix == ".onnx":
            raise InvalidRequest(option, f"{name} is a file; with --server give the name of a {what} that it serves")
    with connection.client() as client:
        remote = RemoteAsk(client, question)
        try:
            yield remote
        finally:
            remote.close()


def _following(detect_every: int | None, joint_threshold: float, person_threshold: float | None) -> FollowSettings:
    """What was said about following, checked before any model is loaded."""
    settings = FollowSettings(joint_threshold=joint_threshold)
    if detect_every is not None:
        settings = replace(settings, detect_every=detect_every)
    return settings if person_threshold is None else replace(settings, keep=person_threshold)


def fitted(settings: FollowSettings, facts: Facts, detect_every: int | None) -> FollowSettings:
    """The settings that suit those who answer, where nothing else was said."""
    settings = replace(settings, keep=facts.keep)
    if facts.everybody:
        return settings
    return replace(settings, search_every=SEARCH_ONE, detect_every=detect_every or NEVER)
