"""`poseglass video`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from poseglass.cli import FAILED, complain, explain
from poseglass.commands.console import print_table, stdout
from poseglass.commands.files import output_folder
from poseglass.commands.predict import JsonList
from poseglass.commands.service import only_with_server
from poseglass.commands.videoprogress import VideoProgress
from poseglass.commands.videos import find_videos, folder_names
from poseglass.errors import InvalidRequest, PoseglassError
from poseglass.video.asking import Asker, Facts, LocalAsk, Question, RemoteAsk
from poseglass.video.finish import DEFAULT_FORMAT, Finishing
from poseglass.video.folder import locked
from poseglass.video.following import LAG, FollowSettings
from poseglass.video.job import JobSettings, Outcome, run_job
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
        list[str], typer.Argument(metavar="SOURCE...", help="Videos, folders, quoted globs, @LIST (one a line).")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Results: a folder a video. Run again to go on.")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Ask a server; else work in-process.")] = "",
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
    end: Annotated[float | None, typer.Option(metavar="SECONDS", help="Leave out frames from here on.")] = None,
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
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long a frame may take with --server; default 30.")
    ] = None,
    max_message_mb: Annotated[
        int | None,
        typer.Option(metavar="MIB", help="Message limit with --server; default 32; `serve` has the same option."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object a video.")] = False,
) -> None:
    """Find the poses in videos: a row a frame and person, with ids, times and scores.

    Interrupted, it goes on where it stopped when it is run again, and ends with the same rows. Exit code 1 where a
    video failed (the others are done), 2 where the question was wrong.
    """
    only_with_server(server, {"--jpeg": jpeg, "--timeout": timeout, "--max-message-mb": max_message_mb})
    if server and device != "auto":
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
            tuple(dict.fromkeys(formats or [DEFAULT_FORMAT])), "" if smooth == "none" else smooth, overlay, report
        ),
        options={"locate": locate, "person_threshold": person_threshold, "flip_test": flip, "jpeg": jpeg or 0},
    )
    files = find_videos(sources)
    output_folder(out)
    at_once, threads = shares(workers, len(files))
    client = {"timeout": timeout, "max_message_mb": max_message_mb}
    known = {name: value for name, value in client.items() if value is not None}
    with locked(out), asking(question, server, known, device, threads) as asker:
        settings = replace(settings, following=fitted(settings.following, asker.facts, detect_every))
        names = folder_names(files, out)
        with VideoProgress(len(files)) as progress, JsonList(as_json) as document:
            outcomes = []
            for outcome in run_job(names, out, asker, settings, progress, at_once):
                outcomes.append(outcome)
                with progress.aside():
                    for line in _complaints(outcome):
                        complain(line)
                    if as_json:
                        document.add(_as_json(outcome, strict))
    outcomes.sort(key=lambda outcome: files.index(outcome.source))
    if not as_json:
        rows = [_row(outcome, strict) for outcome in outcomes]
        print_table(stdout(), ("video", "frames", "with people", "people", "time", "result"), rows)
    if bad := sum(failed(outcome, strict) for outcome in outcomes):
        if len(files) > 1:
            complain(f"{bad} of {len(files)} videos failed")
        raise typer.Exit(FAILED)


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
def asking(question: Question, server: str, settings: dict[str, Any], device: str, threads: int) -> Iterator[Asker]:
    """What answers: a server where one is named, else this process."""
    if not server:
        local = LocalAsk(question, device, threads)
        try:
            yield local
        finally:
            local.close()
        return
    from poseglass.client import PoseClient

    for option, name, what in (("--model", question.model, "model"), ("--detector", question.detector, "detector")):
        if Path(name).suffix == ".onnx":
            raise InvalidRequest(option, f"{name} is a file; with --server give the name of a {what} that it serves")
    with PoseClient(server, **settings) as client:
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


def failed(outcome: Outcome, strict: bool) -> bool:
    """Whether a video counts as failed."""
    return outcome.error is not None or (strict and bool(_disagreements(outcome)))


def _disagreements(outcome: Outcome) -> Sequence[str]:
    return [] if outcome.counts is None else outcome.counts.disagreements()


def _complaints(outcome: Outcome) -> list[str]:
    """What to say of a video on stderr."""
    lines = [] if outcome.error is None else [explain(outcome.error)]
    lines += _disagreements(outcome)
    return [line if str(outcome.source) in line else f"{outcome.source}: {line}" for line in lines]


def _as_json(outcome: Outcome, strict: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "file": str(outcome.source),
        "folder": str(outcome.folder),
        "result": _result(outcome, strict),
        "seconds": round(outcome.seconds, 2),
    }
    if outcome.counts is not None:
        value |= {
            "counts": outcome.counts.to_json(),
            "people": outcome.people,
            "files": {kind: str(path) for kind, path in outcome.files.items()},
        }
    if isinstance(outcome.error, PoseglassError):
        value["error"] = outcome.error.to_json()
    elif outcome.error is not None:
        value["error"] = {"code": "UNKNOWN", "message": explain(outcome.error)}
    return value


def _result(outcome: Outcome, strict: bool) -> str:
    if outcome.error is not None:
        return "failed"
    if _disagreements(outcome):
        return "counts disagree" if strict else "done, counts disagree"
    return "was done" if outcome.skipped else "done"


def _row(outcome: Outcome, strict: bool) -> tuple[str, ...]:
    counts = outcome.counts
    numbers = ("", "", "") if counts is None else (counts.written, counts.with_people, outcome.people)
    return outcome.source.name, *map(str, numbers), f"{outcome.seconds:.1f} s", _result(outcome, strict)
