"""`poseglass video` of live sources."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import pytest
from typer.testing import CliRunner

pytest.importorskip("av")
pytest.importorskip("pyarrow")

from poseglass import cli
from poseglass.commands import live as live_module
from poseglass.video import formats


def run(*arguments, expect=0):
    result = CliRunner().invoke(cli.app, ["video", *map(str, arguments)])
    assert result.exit_code == expect, (result.stdout, result.stderr, result.exception)
    return result


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def stream(blobs, tmp_path):
    """The address of a stream of 12 frames."""
    folder = tmp_path / "streams"
    folder.mkdir()
    blobs.write_video(folder / "a.ts", blobs.walk(12), "mpeg2video", "yuv420p", rate=25)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a.ts"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_stream_is_recorded_and_finished_again(server, stream, tmp_path):
    out = tmp_path / "out"
    result = run(stream, "--out", out, "--server", server.address, "--drop", "never", "--mirror", "--json")
    (answer,) = json.loads(result.stdout)
    assert answer["file"] == stream
    assert answer["result"] == "done"
    assert answer["counts"]["decoded"] == answer["counts"]["written"] == 12
    table = formats.read(answer["files"]["parquet"])
    assert table.header["options"]["mirror"] is True
    assert table.header["source"]["name"] == stream
    asked = len(server.poses.requests)
    assert "12" in run(answer["folder"], "--out", out, "--format", "csv").stdout
    assert len(server.poses.requests) == asked
    assert formats.read(next(out.glob("*/*.csv"))).equals(table)
    assert "--out: must be" in run(answer["folder"], "--out", tmp_path / "other", expect=2).stderr


def test_each_recording_has_a_folder_of_its_own(server, stream, tmp_path):
    for _ in range(2):
        run(stream, "--out", tmp_path / "out", "--server", server.address)
    assert len(list((tmp_path / "out").glob("*/*.parquet"))) == 2


@pytest.mark.parametrize("how", ["key", "signal"])
def test_a_key_or_ctrl_c_ends_it(server, stream, tmp_path, monkeypatch, how):
    shown, before = [], signal.getsignal(signal.SIGINT)

    class FakeWindow:
        def __init__(self, title, quit_):
            self.title, self.quit = title, quit_

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def show(self, picture):
            shown.append(picture)

        def attend(self):
            if len(shown) == 1:
                shown.append(shown[0])  # so that it happens once
                self.quit() if how == "key" else os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(live_module, "check_window", lambda: None)
    monkeypatch.setattr(live_module, "Window", FakeWindow)
    out = tmp_path / "out"
    run(stream, "--out", out, "--server", server.address, "--show")
    assert shown[0].shape == (48, 96, 3)
    assert (shown[0] != shown[0][0, 0]).any()
    assert formats.read(next(out.glob("*/*.parquet"))).frame_count >= 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_camera_that_is_not_there(server, tmp_path):
    result = run(99, "--out", tmp_path, "--server", server.address, "--json", expect=1)
    assert "camera 99: does not open" in result.stderr
    (answer,) = json.loads(result.stdout)
    assert (answer["file"], answer["result"]) == ("camera 99", "failed")
    assert answer["error"]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "stands alone"),
        ((0, "--start", 1), "--start: is for files"),
        ((0, "--end", 0), "--end: must be a positive number"),
        ((0, "--workers", 2), "--workers: is for several files"),
        ((0, "--overlay"), "--overlay: draws on pictures"),
        ((0, "--drop", "some"), "--drop: must be oldest or never"),
        (("walk.mp4", "--mirror"), "--mirror: is for live sources"),
        (("walk.mp4", "--show"), "--show: is for live sources"),
        (("walk.mp4", "--drop", "never"), "--drop: is for live sources"),
    ],
)
def test_questions_that_are_wrong(tmp_path, arguments, message):
    result = run(*arguments, "--out", tmp_path / "out", expect=2)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_show_without_a_window_is_refused_before_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    assert "pip install opencv-python" in run(0, "--out", tmp_path / "out", "--show", expect=2).stderr
    assert not (tmp_path / "out").exists()


def test_lists_and_pipes_by_name_are_no_live_sources(tmp_path):
    (tmp_path / "list.txt").write_text("rtsp://host/x\n")
    assert "line 1: a live source stands alone" in run(f"@{tmp_path}/list.txt", "--out", tmp_path, expect=2).stderr
    os.mkfifo(tmp_path / "pipe")
    assert f"poseglass video - ... < {tmp_path}/pipe" in run(tmp_path / "pipe", "--out", tmp_path, expect=2).stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_finishes_a_pipe_and_what_was_killed_can_be_finished(blobs, server, tmp_path, number):
    path = blobs.write_video(tmp_path / "a.ts", blobs.walk(60), "mpeg2video", "yuv420p", rate=25)
    out = tmp_path / "out"
    code = "from poseglass.cli import main; main()"
    command = [sys.executable, "-c", code, "video", "-", "--out", out, "--server", server.address, "--segment", "1"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    process.stdin.write(path.read_bytes())  # and stays open: the source goes on, and is silent
    while not list(out.glob("*/segments/000000.npz")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    code = process.wait(60)
    process.stdin.close()
    with process.stdout, process.stderr:
        said = process.stderr.read().decode()
    assert code == (-number if number == signal.SIGKILL else 0), said
    if number == signal.SIGKILL:
        run(*out.iterdir(), "--out", out)
    table = formats.read(next(out.glob("*/*.parquet")))
    assert table.frame_count >= 25
    assert table.frame_count == table.header["counts"]["written"]
    assert (table.header["counts"]["decoded"] == table.frame_count) == (number != signal.SIGKILL)
