"""What is a live source, what it is called, and what is shown of it."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from poseglass.errors import FailedPrecondition, InvalidRequest
from poseglass.video.livemirror import with_own_sides
from poseglass.video.livesource import Kind, LiveSource, live_source, only_live_source
from poseglass.video.show import Window, check_window


@pytest.mark.parametrize(
    ("text", "kind", "shown", "name"),
    [
        ("0", Kind.CAMERA, "camera 0", "camera-0"),
        ("/dev/video2", Kind.CAMERA, "camera 2", "camera-2"),
        ("-", Kind.PIPE, "standard input", "stdin"),
        ("udp://@239.0.0.1:5000", Kind.STREAM, "udp://239.0.0.1:5000", "239.0.0.1-5000"),
        (
            "rtsp://me:secret@10.0.0.7:554/cam/main?channel=1&token=secret",
            Kind.STREAM,
            "rtsp://10.0.0.7:554/cam/main?channel=1&token=…",
            "10.0.0.7-554-cam-main",
        ),
        ("http://host/x?secret", Kind.STREAM, "http://host/x?…", "host-x"),
    ],
)
def test_live_sources(text, kind, shown, name):
    source = live_source(text)
    assert source.kind is kind
    assert str(source) == shown
    assert source.name == name


@pytest.mark.parametrize("text", ["walk.mp4", "@list.txt", "clips/*.mkv", "1234", "-x"])
def test_files_are_none(text):
    assert live_source(text) is None


def test_a_folder_called_like_a_camera_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1").mkdir()
    assert live_source("1") is None
    assert live_source("2") == LiveSource(Kind.CAMERA, "2")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("0", "1"), "camera 0: a live source stands alone"),
        (("a.mp4", "rtsp://host/x"), "rtsp://host/x: a live source stands alone"),
        (("ftp://host/x",), "no such kind of stream; there are rtsp"),
        (("rtsp:///x",), "names no host"),
        (("http://[::1/x",), "cannot be read"),
    ],
)
def test_sources_that_cannot_be(texts, message):
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        only_live_source(texts)


def test_names_change_places_in_a_mirror(blobs):
    pose = blobs.posed((20, 20), 0.5)
    other = with_own_sides(pose)
    assert other.names == pose.names
    assert other["left_knee"][1:] == pose["right_knee"][1:]
    assert other["head_top"] == pose["head_top"]
    assert np.array_equal(with_own_sides(other).points, pose.points)


def test_no_window_where_opencv_has_none(monkeypatch):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    with pytest.raises(FailedPrecondition, match="pip uninstall opencv-python-headless; pip install opencv-python"):
        check_window()


@pytest.fixture
def screen(monkeypatch):
    """A display, and an OpenCV that has windows: what was shown, and the keys that are pressed."""

    class Screen:
        def __init__(self):
            self.shown, self.keys, self.visible = [], [], 1.0

        def key(self, _):
            return self.keys.pop(0) if self.keys else -1

    screen = Screen()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "destroyWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda _, picture: screen.shown.append(picture))
    monkeypatch.setattr(cv2, "waitKey", screen.key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: screen.visible)
    return screen


def test_no_window_without_a_display(screen, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(FailedPrecondition, match="there is no display"):
        check_window()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    check_window()


def test_a_window_that_does_not_open(screen, monkeypatch):
    def refuse(*_):
        raise cv2.error("no display")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(FailedPrecondition, match="no window opens"), Window("x", lambda: None):
        pass


@pytest.mark.parametrize("how", ["q", "escape", "closed"])
def test_a_window(screen, how):
    ended = []
    with Window("camera 0", lambda: ended.append(True)) as window:
        window.show(np.full((4, 6, 3), (1, 2, 3), np.uint8))
        window.attend()
        assert not ended
        if how == "closed":
            screen.visible = 0.0
        else:
            screen.keys.append({"q": ord("q"), "escape": 27}[how])
        window.attend()
    assert ended == [True]
    assert screen.shown[0][0, 0].tolist() == [3, 2, 1]  # as OpenCV wants colours
