"""`poseglass video`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from poseglass.commands.connection import Connection, Without, only_with_server
from poseglass.commands.files import folder, output_folder
from poseglass.commands.live import check_options, recordings
from poseglass.commands.onray import check_ray
from poseglass.commands.questions import check_remote, parse_locate
from poseglass.commands.videorun import VideoRun, shares
from poseglass.commands.videos import find_videos
from poseglass.video.asking import Question
from poseglass.video.finish import DEFAULT_FORMAT, Finishing
from poseglass.video.following import FollowSettings
from poseglass.video.job import JobSettings
from poseglass.video.live import LiveSettings
from poseglass.video.livesource import only_live_source
from poseglass.video.reading import Selection, pyav
from poseglass.video.segments import SECONDS, SegmentClock


def video(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, folders, quoted globs, @LIST (one a line). Or one live: a camera's number, a URL, -.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", parser=folder, help="Results: a folder a video. Run again to go on."),
    ],
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
        int | None,
        typer.Option(min=1, max=100, metavar="1...100", help="Send JPEG of this quality; default: pixels as they are."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Share the work out with Ray: on this machine (local, or no ADDRESS), or a cluster (auto, HOST:PORT). "
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
    connection: Annotated[Connection, Without("retries")],
) -> None:
    """Find the poses in videos: a row a frame and person, with ids, times and scores.

    Interrupted, it goes on where it stopped when it is run again, and ends with the same rows. Exit code 1 where a
    video failed (the others are done), 2 where the question was wrong. A live source is recorded until it ends, or you
    end it with Ctrl-C; what was recorded is then finished.
    """
    only_with_server(connection.server, {"--jpeg": jpeg})
    if connection.wanted:
        check_remote(device, model, detector)
    look = parse_locate(locate)
    pyav()
    question = Question(model, detector, look, person_threshold, flip, jpeg or 0)
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
        options={"locate": look.value, "person_threshold": person_threshold, "flip_test": flip, "jpeg": jpeg or 0},
    )
    live = only_live_source(sources)
    check_options(live, settings, {"--drop": drop, "--mirror": mirror, "--show": show, "--workers": workers})
    before = [] if live is not None else recordings(sources, out)
    files = [] if live is not None or before else find_videos(sources)
    cluster = None if ray is None else check_ray(ray, device, files=bool(files))
    output_folder(out)
    at_once, threads = shares(workers, len(files))
    run = VideoRun(out, question, settings, detect_every, connection, device, threads, strict, as_json)
    if before:
        run.finish(before)
    elif live is not None:
        run.record(live, LiveSettings(drop, mirror), show)
    else:
        run.work_through(files, at_once, cluster, workers)


def _following(detect_every: int | None, joint_threshold: float, person_threshold: float | None) -> FollowSettings:
    """What was said about following, checked before any model is loaded."""
    settings = FollowSettings(joint_threshold=joint_threshold)
    if detect_every is not None:
        settings = replace(settings, detect_every=detect_every)
    return settings if person_threshold is None else replace(settings, keep=person_threshold)
