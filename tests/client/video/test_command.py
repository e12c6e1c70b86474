"""`poseglass video`: from the command line to result files."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("av")
pytest.importorskip("pyarrow")

from poseglass import cli
from poseglass.commands.videos import find_videos, folder_names
from poseglass.errors import InvalidRequest
from poseglass.video import formats
from poseglass.video.folder import FORMAT, fingerprint, locked
from poseglass.video.reading import VideoReader


def run(*arguments, expect=0):
    result = CliRunner().invoke(cli.app, ["video", *map(str, arguments)])
    assert result.exit_code == expect, (result.stdout, result.stderr, result.exception)
    return result


@pytest.fixture
def clips(blobs, tmp_path):
    """A folder with two videos, a file of zeros that claims to be one, and text."""
    folder = tmp_path / "clips"
    folder.mkdir()
    blobs.write_video(folder / "a.mkv", blobs.walk(6))
    blobs.write_video(folder / "b.avi", blobs.walk(4), "mjpeg", "yuvj420p")
    (folder / "notes.txt").write_text("none")
    return folder


def test_a_folder_of_videos(server, clips, tmp_path):
    out = tmp_path / "out"
    text = run(clips, "--out", out, "--server", server.address).stdout
    assert "a.mkv" in text
    assert "b.avi" in text
    table = formats.read(out / "a" / "a.parquet")
    assert table.frame_count == 6
    assert table.skeleton.joints[0] == "right_ankle"
    assert table.header["options"]["segment_seconds"] == 10
    asked = len(server.poses.requests)
    assert "was done" in run(clips, "--out", out, "--server", server.address).stdout
    assert len(server.poses.requests) == asked


def test_json_and_a_bad_file_among_good_ones(server, clips, tmp_path):
    (clips / "zeros.mp4").write_bytes(bytes(5000))
    out = tmp_path / "out"
    result = run(clips, "--out", out, "--server", server.address, "--json", expect=1)
    answers = {answer["file"].rsplit("/", 1)[1]: answer for answer in json.loads(result.stdout)}
    assert answers["a.mkv"]["result"] == "done"
    assert answers["a.mkv"]["counts"]["written"] == 6
    assert answers["a.mkv"]["files"]["parquet"].endswith("a/a.parquet")
    assert answers["zeros.mp4"]["result"] == "failed"
    assert "holds zeros" in answers["zeros.mp4"]["error"]["message"]
    assert "zeros.mp4" in result.stderr
    assert "1 of 3 videos failed" in result.stderr


def test_strict_makes_counts_that_disagree_a_failure(server, clips, tmp_path):
    path = clips / "b.avi"
    data = bytearray(path.read_bytes())
    at = data.find(b"strh") + 8 + 32
    data[at : at + 4] = (9).to_bytes(4, "little")
    path.write_bytes(data)
    arguments = (path, "--out", tmp_path / "out", "--server", server.address)
    assert "promises 9 frames, and 4 decode" in run(*arguments).stderr
    assert "promises 9 frames" in run(*arguments, "--strict", expect=1).stderr
    assert formats.read(tmp_path / "out" / "b" / "b.parquet").header["counts"]["promised"] == 9


def test_every_start_end_and_formats(server, clips, tmp_path):
    out = tmp_path / "out"
    wanted = (
        "--every",
        2,
        "--start",
        0.1,
        "--end",
        0.5,
        "--format",
        "csv",
        "--format",
        "parquet",
        "--smooth",
        "one-euro",
    )
    run(clips / "a.mkv", "--out", out, "--server", server.address, *wanted)
    table = formats.read(out / "a" / "a.parquet")
    assert sorted(set(table.frame.tolist())) == [2, 4]
    assert table.smoothed is not None
    assert formats.read(out / "a" / "a.csv").equals(table)


def test_in_process(tiny_model_path, tiny_detector_path, clips, tmp_path):
    out = tmp_path / "out"
    arguments = ("--model", tiny_model_path, "--detector", tiny_detector_path, "--detect-every", 3, "--device", "cpu")
    run(clips / "a.mkv", "--out", out, *arguments, "--workers", 2)
    table = formats.read(out / "a" / "a.parquet")
    assert table.frame_count == 6
    assert table.header["detector"]["name"] == "halves"
    assert np.isfinite(table.joints).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--every", 0), "--every"),
        (("--start", 2, "--end", 1), "--end"),
        (("--segment", 0), "--segment"),
        (("--format", "xml"), "--format"),
        (("--smooth", "much"), "--smooth"),
        (("--locate", "there"), "--locate"),
        (("--workers", 0), "--workers"),
        (("--detect-every", 0), "--detect-every"),
        (("--person-threshold", 2), "--person-threshold"),
        (("--jpeg", 90), "--jpeg"),
        (("--timeout", 3), "--timeout"),
    ],
)
def test_questions_that_are_wrong_are_answered_before_any_work(clips, tmp_path, arguments, message):
    result = run(clips / "a.mkv", "--out", tmp_path / "out", *arguments, expect=2)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_file_of_a_model_is_no_servers(server, clips, tmp_path):
    result = run(clips, "--out", tmp_path, "--server", server.address, "--model", "x.onnx", expect=2)
    assert "x.onnx is a file" in result.stderr


def test_a_folder_that_is_at_work_is_refused(server, clips, tmp_path):
    with locked(tmp_path):
        result = run(clips, "--out", tmp_path, "--server", server.address, expect=2)
    assert "another run is at work here" in result.stderr


def test_nobody_at_the_address(clips, tmp_path, nobody):
    assert "poseglass serve" in run(clips, "--out", tmp_path, "--server", nobody, expect=1).stderr


def test_which_videos_are_meant(clips, tmp_path):
    assert [path.name for path in find_videos([str(clips)])] == ["a.mkv", "b.avi"]
    assert [path.name for path in find_videos([f"{tmp_path}/**/*.mkv", str(clips / "a.mkv")])] == ["a.mkv"]
    listing = clips / "list.txt"
    listing.write_text("# these\n\nb.avi\na.mkv\nb.avi\n")
    assert [path.name for path in find_videos([f"@{listing}"])] == ["b.avi", "a.mkv"]
    listing.write_text("a.mkv\nabsent.mkv\n")
    with pytest.raises(InvalidRequest, match=r"list\.txt, line 2: .*absent\.mkv: no such file"):
        find_videos([f"@{listing}"])
    for wrong, message in (("@absent.txt", "cannot be read"), (f"{tmp_path}/*.mp4", "matches nothing")):
        with pytest.raises(InvalidRequest, match=message):
            find_videos([wrong])
    with pytest.raises(InvalidRequest, match="no video in this folder"):
        find_videos([str(tmp_path)])


def test_a_list_may_begin_with_a_byte_order_mark(clips):
    (clips / "list.txt").write_text("a.mkv\nb.avi\n", "utf-8-sig")
    assert [path.name for path in find_videos([f"@{clips / 'list.txt'}"])] == ["a.mkv", "b.avi"]


@pytest.mark.parametrize("target", ["absent.mkv", "lost.mkv"])  # the latter is the link itself
def test_a_link_to_nothing_fails_by_name(server, clips, tmp_path, target):
    (clips / "lost.mkv").symlink_to(target)
    result = run(clips, "--out", tmp_path / "out", "--server", server.address, expect=1)
    assert "lost.mkv: cannot be read" in result.stderr
    assert "1 of 3 videos failed" in result.stderr


def test_overlays_are_no_videos_unless_named(server, clips):
    run(clips / "a.mkv", "--out", clips / "poses", "--overlay", "--server", server.address)
    overlay = clips / "poses" / "a" / "a-overlay.mp4"
    assert overlay.is_file()
    assert [path.name for path in find_videos([f"{clips}/**/*"])] == ["a.mkv", "b.avi"]
    assert find_videos([str(overlay)]) == [overlay]
    with pytest.raises(InvalidRequest, match="nothing but overlays"):
        find_videos([str(overlay.parent)])


def test_videos_of_the_same_name_are_told_apart(server, blobs, tmp_path):
    paths = [tmp_path / name / "v.mkv" for name in ("x", "y")]
    for path in paths:
        path.parent.mkdir()
        blobs.write_video(path, blobs.walk(2))
    text = run(*paths, "--out", tmp_path / "out", "--server", server.address).stdout.replace("\n", "")
    assert all(str(path.parent.name) + "/v" in "".join(text.split()) for path in paths)


@pytest.mark.parametrize("options", [["--ray"], ["--ray", "--json"], ["--ray", "local"], ["--ray="]])
def test_ray_may_stand_without_an_address(tmp_path, options):
    for arguments in (["-", *options], [*options, "-"]):
        assert "--ray: is for files" in run("--out", tmp_path, *arguments, expect=2).stderr


def begun(folder, source, content):
    """A folder in which somebody has begun a video with that content."""
    folder.mkdir(parents=True)
    manifest = {"format": FORMAT, "source": str(source.resolve()), "of": {"input": content}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_video_keeps_its_folder_wherever_it_is_moved(tmp_path):
    out, old, new = tmp_path / "out", tmp_path / "x" / "v.mp4", tmp_path / "y" / "v.mp4"
    for path, content in ((old, b"the same"), (new, b"the same")):
        path.parent.mkdir()
        path.write_bytes(content)
    begun(out / "v", old, fingerprint(old))
    assert folder_names([new], out) == {new: "v-2"}  # a copy
    old.unlink()
    assert folder_names([new], out) == {new: "v"}
    new.write_bytes(b"another")
    assert folder_names([new], out) == {new: "v-2"}


@pytest.mark.parametrize("name", ["..mp4", "...mp4"])
def test_a_name_of_dots_does_not_lead_out_of_the_folder(tmp_path, name):
    assert folder_names([tmp_path / name], tmp_path / "out") == {tmp_path / name: name}


def test_a_video_keeps_its_folder_whoever_joins_it(tmp_path):
    out = tmp_path / "out"
    one, other = tmp_path / "x" / "v.mp4", tmp_path / "y" / "v.mp4"
    assert folder_names([one], out) == {one: "v"}
    one.parent.mkdir()
    one.touch()
    begun(out / "v", one, {})
    assert folder_names([other], out) == {other: "v-2"}
    assert folder_names([other, one], out) == {other: "v-2", one: "v"}
    assert folder_names([one, other], tmp_path / "new") == {one: "x-v", other: "y-v"}


def test_the_command_line_stays_light():
    code = "import sys, poseglass, poseglass.cli; print(*[m for m in ('av', 'pyarrow', 'pandas') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
    code = "import sys, poseglass.commands.video; print(*[m for m in ('av', 'pyarrow', 'torch') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_an_overlay_and_a_report(server, clips, tmp_path):
    out = tmp_path / "out"
    arguments = (clips / "a.mkv", "--out", out, "--server", server.address, "--overlay", "--report")
    assert "does not hold" not in run(*arguments).stderr
    with VideoReader(out / "a" / "a-overlay.mp4") as reader:
        assert len(list(reader)) == 6
    assert "<html" in (out / "a" / "a.html").read_text("utf-8")
    assert "was done" in run(*arguments).stdout


def test_heatmaps_make_an_overlay(server, clips, tmp_path):
    out = tmp_path / "out"
    run(clips / "a.mkv", "--out", out, "--server", server.address, "--overlay-heatmaps")
    assert sum(request.outputs.heatmaps for request in server.poses.requests) == 6
    with VideoReader(out / "a" / "a-overlay.mp4") as reader:
        assert len(list(reader)) == 6


def test_what_formats_drop_is_said_once_for_all_videos(server, clips, tmp_path):
    arguments = (clips, "--out", tmp_path / "out", "--server", server.address, "--format", "coco", "--format", "csv")
    for _ in range(2):  # also where everything was done before
        said = run(*arguments).stderr
        assert said.count("COCO results does not hold: ") == 1
        assert "angles" in said
        assert "CSV" not in said
    answers = json.loads(run(*arguments, "--json").stdout)
    assert all("angles" in " ".join(answer["losses"]["coco"]) for answer in answers)
