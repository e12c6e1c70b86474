"""Whole jobs: resumed, killed, refused; the rows are always those of an unbroken run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")

from poseglass.errors import FailedPrecondition, InvalidRequest, Unavailable
from poseglass.video import formats
from poseglass.video.finish import Finishing
from poseglass.video.folder import VideoFolder, fingerprint, locked
from poseglass.video.following import FollowSettings
from poseglass.video.job import JobSettings, run_job
from poseglass.video.reading import Selection
from poseglass.video.segments import SegmentClock


def settings(finishing=None, **selection):
    return JobSettings(
        Selection(**selection), SegmentClock(1.0), FollowSettings(detect_every=4), finishing or Finishing()
    )


def job(blobs, out, videos, wanted=None, ask=None, workers=1):
    """Do it; returns outcomes by name, and the ask."""
    ask = ask or blobs.BlobAsk()
    out.mkdir(exist_ok=True)
    outcomes = run_job(videos, out, ask, wanted or settings(), blobs.Silent(), workers)
    return {outcome.source.name: outcome for outcome in outcomes}, ask


def rows(out, name="walk"):
    """The final result."""
    return formats.read(out / name / f"{name}.parquet")


@pytest.fixture(scope="module")
def walk(blobs, tmp_path_factory):
    """A video of 6 segments, and the folder of an unbroken job over it."""
    folder = tmp_path_factory.mktemp("walk")
    path = blobs.write_video(folder / "walk.mkv", blobs.walk(55, people=2))
    outcomes, _ = job(blobs, folder / "whole", {path: "walk"})
    assert outcomes["walk.mkv"].error is None
    return path, folder / "whole"


def test_a_job_leaves_rows_ids_and_an_audit(walk):
    path, whole = walk
    table = rows(whole)
    assert table.frame_count == 55
    assert len(table) == 110
    assert sorted(set(table.track.tolist())) == [0, 1]  # across six segments
    counts = table.header["counts"]
    assert (counts["decoded"], counts["selected"], counts["written"], counts["with_people"]) == (55, 55, 55, 55)
    assert counts["disagreements"] == []
    assert table.header["source"]["bytes"] == path.stat().st_size
    assert table.header["model"]["name"] == "blobs"
    assert table.header["video"]["width"] == 96


def test_what_is_done_is_skipped(blobs, walk):
    path, whole = walk
    before = (whole / "walk" / "walk.parquet").stat().st_mtime_ns
    outcomes, ask = job(blobs, whole, {path: "walk"})
    assert outcomes["walk.mkv"].skipped
    assert outcomes["walk.mkv"].people == 2
    assert ask.asked == []
    assert (whole / "walk" / "walk.parquet").stat().st_mtime_ns == before


def test_another_finish_looks_at_no_frame_again(blobs, walk, tmp_path):
    path, _ = walk
    out = tmp_path / "out"
    job(blobs, out, {path: "walk"})
    outcomes, ask = job(blobs, out, {path: "walk"}, settings(Finishing(("parquet", "csv"), "one-euro")))
    assert ask.asked == []
    assert not outcomes["walk.mkv"].skipped
    assert rows(out).smoothed is not None
    assert set(outcomes["walk.mkv"].files) == {"parquet", "csv", "csv_header"}


def test_a_result_that_was_lost_is_made_again(blobs, walk, tmp_path):
    path, whole = walk
    job(blobs, tmp_path / "out", {path: "walk"})
    (tmp_path / "out" / "walk" / "walk.parquet").unlink()
    (tmp_path / "out" / "walk" / "segments" / "000002.npz").unlink()
    _, ask = job(blobs, tmp_path / "out", {path: "walk"})
    assert 0 < len(ask.asked) < 30
    assert rows(tmp_path / "out").equals(rows(whole))


@pytest.mark.parametrize("lost", ["walk.csv.header.json", "walk.openpose/walk_000000000003_keypoints.json"])
def test_a_lost_piece_of_a_result_is_noticed(blobs, walk, tmp_path, lost):
    wanted = settings(Finishing(("csv", "openpose")))
    outcomes, _ = job(blobs, tmp_path / "out", {walk[0]: "walk"}, wanted)
    assert not outcomes["walk.mkv"].skipped
    piece = tmp_path / "out" / "walk" / lost
    content = piece.read_bytes()
    piece.unlink()
    outcomes, ask = job(blobs, tmp_path / "out", {walk[0]: "walk"}, wanted)
    assert not outcomes["walk.mkv"].skipped
    assert ask.asked == []
    assert piece.read_bytes() == content
    outcomes, _ = job(blobs, tmp_path / "out", {walk[0]: "walk"}, wanted)
    assert outcomes["walk.mkv"].skipped


@pytest.mark.parametrize("change", ["input", "selection", "model"])
def test_what_has_changed_is_done_anew(blobs, tmp_path, change):
    path = blobs.write_video(tmp_path / "walk.mkv", blobs.walk(25))
    out, ask = tmp_path / "out", blobs.BlobAsk()
    job(blobs, out, {path: "walk"})
    wanted = settings()
    if change == "input":
        blobs.write_video(path, blobs.walk(12))
    elif change == "selection":
        wanted = settings(every=2)
    else:
        ask.facts = replace(ask.facts, model=replace(ask.facts.model, sha256="c" * 64))
    outcomes, ask = job(blobs, out, {path: "walk"}, wanted, ask)
    assert not outcomes["walk.mkv"].skipped
    assert ask.asked
    assert rows(out).frame_count == {"input": 12, "selection": 13, "model": 25}[change]


@pytest.mark.parametrize("killed", [False, True])
def test_no_result_of_what_has_changed_is_left(blobs, tmp_path, monkeypatch, killed):
    """Also of formats that were asked for in an earlier run, or are of a run that was cut off while it wrote them."""
    path = blobs.write_video(tmp_path / "walk.mkv", blobs.walk(25))
    out = tmp_path / "out"
    job(blobs, out, {path: "walk"}, settings(Finishing(("csv", "openpose"), report=True)))
    if killed:
        monkeypatch.setattr("poseglass.video.job.extent", lambda path: 1 / 0)  # before the last word about them
    outcomes, _ = job(blobs, out, {path: "walk"}, settings(Finishing(("jsonl",))))
    assert (outcomes["walk.mkv"].error is not None) == killed
    monkeypatch.undo()
    assert {file.name for file in (out / "walk").iterdir()} >= {"walk.csv", "walk.openpose", "walk.html", "walk.jsonl"}
    job(blobs, out, {path: "walk"}, settings(every=2))
    assert {file.name for file in (out / "walk").iterdir()} == {"manifest.json", "segments", "walk.parquet"}


def test_a_video_that_was_moved_is_not_done_again(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "walk.mkv", blobs.walk(12))
    job(blobs, tmp_path / "out", {path: "walk"})
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "walk.mkv")
    outcomes, ask = job(blobs, tmp_path / "out", {moved: "walk"})
    assert outcomes["walk.mkv"].skipped
    assert ask.asked == []
    assert VideoFolder(tmp_path / "out" / "walk", moved).manifest["source"] == str(moved)


def test_another_video_does_not_replace_what_is_there(blobs, walk, tmp_path):
    path, whole = walk
    other = blobs.write_video(tmp_path / "walk.mkv", blobs.walk(3))
    outcomes, _ = job(blobs, whole, {other: "walk"})
    assert isinstance(outcomes["walk.mkv"].error, FailedPrecondition)
    assert str(path) in str(outcomes["walk.mkv"].error)
    assert rows(whole).frame_count == 55


def test_workers_change_nothing(blobs, walk, tmp_path):
    path, whole = walk
    more = [blobs.write_video(tmp_path / f"v{i}.mkv", blobs.walk(12 + i, people=1 + i)) for i in range(3)]
    videos = {path: "walk", **{video: video.stem for video in more}}
    job(blobs, tmp_path / "one", videos)
    outcomes, _ = job(blobs, tmp_path / "three", videos, workers=3)
    assert {name: outcome.error for name, outcome in outcomes.items()} == dict.fromkeys(v.name for v in videos)
    assert rows(tmp_path / "three").equals(rows(whole))
    for video in more:
        assert rows(tmp_path / "one", video.stem).equals(rows(tmp_path / "three", video.stem), header=True)


def test_one_bad_video_does_not_keep_the_others(blobs, walk, tmp_path):
    path, _ = walk
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(bytes(1000))
    outcomes, _ = job(blobs, tmp_path / "out", {bad: "bad", path: "walk"})
    assert "holds zeros" in str(outcomes["bad.mkv"].error)
    assert outcomes["walk.mkv"].error is None


def test_a_surprise_is_reported_with_its_place(blobs, walk, tmp_path):
    class Surprising(blobs.BlobAsk):
        def __call__(self, image, boxes):
            raise ZeroDivisionError("surprise")

    outcomes, _ = job(blobs, tmp_path / "out", {walk[0]: "walk"}, ask=Surprising())
    assert "ZeroDivisionError: surprise; please report this" in str(outcomes["walk.mkv"].error)
    assert (
        "Surprising" in (tmp_path / "out" / "walk" / "error.txt").read_text()
        or "surprise" in (tmp_path / "out" / "walk" / "error.txt").read_text()
    )


def test_a_server_that_is_gone_ends_the_job_and_keeps_what_is_done(blobs, walk, tmp_path):
    class Gone(blobs.BlobAsk):
        def __call__(self, image, boxes):
            if len(self.asked) > 30:
                raise Unavailable("gone")
            return super().__call__(image, boxes)

    path, whole = walk
    with pytest.raises(Unavailable):
        job(blobs, tmp_path / "out", {path: "walk"}, ask=Gone())
    _, ask = job(blobs, tmp_path / "out", {path: "walk"})
    assert 0 < len(ask.asked) < 60
    assert rows(tmp_path / "out").equals(rows(whole), header=True)


def test_nothing_wanted_is_said(blobs, walk, tmp_path):
    outcomes, _ = job(blobs, tmp_path / "out", {walk[0]: "walk"}, settings(start=100.0))
    assert isinstance(outcomes["walk.mkv"].error, InvalidRequest)
    assert "none of its frames is wanted" in str(outcomes["walk.mkv"].error)


def test_two_runs_on_one_folder_refuse_each_other(tmp_path):
    with locked(tmp_path):
        code = "import sys, pathlib, poseglass.video.folder as f\nwith f.locked(pathlib.Path(sys.argv[1])): pass"
        other = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
        assert other.returncode
        assert f"another run is at work here (process {os.getpid()})" in other.stderr
    with locked(tmp_path):
        pass


def kill_after(command, seconds):
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    return process.returncode == 0


def test_killed_anywhere_it_goes_on_and_ends_with_the_same_rows(blobs, walk, tmp_path):
    path, whole = walk
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, blobs.__file__, str(path), str(out), "0.01"]
    began = time.monotonic()
    marker = out / "walk" / "segments" / "000001.npz"
    # The first kill comes when something is there to go on from, however slow the machine; the others at moments that
    # are spread over what starting and working take.
    process = subprocess.Popen(command)
    while not marker.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    took = time.monotonic() - began
    kept = marker.read_bytes()
    for share in (0.55, 0.8, 0.95):
        if kill_after(command, share * took):
            break
    while not kill_after(command, 120):
        pass
    assert marker.read_bytes() == kept
    assert rows(out).equals(rows(whole), header=True)
    assert not list(out.rglob("*.tmp*"))


def test_fingerprints_tell_files_apart(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(5_000_000))
    one = fingerprint(path)
    assert fingerprint(path) == one
    path.write_bytes(bytes(4_999_999) + b"x")
    assert fingerprint(path) != one
    path.write_bytes(bytes(4_999_999))
    assert fingerprint(path)["bytes"] == 4_999_999
    with pytest.raises(InvalidRequest, match="cannot be read"):
        fingerprint(tmp_path / "absent")


def test_a_manifest_that_is_broken_counts_as_none(tmp_path):
    folder = VideoFolder(tmp_path / "v", Path("v.mp4"))
    assert not folder.begin({"input": 1})
    assert VideoFolder(tmp_path / "v", Path("v.mp4")).begin({"input": 1})
    for broken in ("{", "[]", json.dumps({"format": "other"})):
        (tmp_path / "v" / "manifest.json").write_text(broken)
        assert not VideoFolder(tmp_path / "v", Path("v.mp4")).begin({"input": 1})
