"""Recordings of live sources: pipes, streams and cameras, dropped frames, losses; the counts always add up."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")

from poseglass.errors import Cancelled, InvalidRequest, PoseglassError, Unavailable
from poseglass.video import formats
from poseglass.video import segments as segments_module
from poseglass.video.counts import Counts
from poseglass.video.finish import Finishing
from poseglass.video.folder import DiskFull, locked
from poseglass.video.following import FollowSettings
from poseglass.video.job import JobSettings, run_job
from poseglass.video.live import LiveSettings, finish_recording, is_recording, record
from poseglass.video.livecamera import CameraReader
from poseglass.video.livesource import Kind, LiveSource
from poseglass.video.reading import Selection
from poseglass.video.segments import SegmentClock

CAMERA = LiveSource(Kind.CAMERA, "0")


class Watching:
    """Keeps what it is told."""

    def __init__(self, enough=None, after=None):
        self.frames, self.poses, self.counts = [], [], Counts()
        self.enough, self.after = enough, after

    def begin(self, folder):
        self.folder = folder

    def seen(self, frame, poses):
        self.frames.append(frame)
        self.poses.append(poses)
        if self.after is not None and len(self.frames) >= self.after:
            self.enough.set()

    def tick(self, counts):
        self.counts = counts


def settings(finishing=None, **selection):
    return JobSettings(
        Selection(**selection), SegmentClock(1.0), FollowSettings(detect_every=4), finishing or Finishing()
    )


def recorded(blobs, out, source, wanted=None, live=None, ask=None, after=None, **opening):
    """Record it; gives the outcome, its rows, and what was watched."""
    out.mkdir(exist_ok=True)
    enough = threading.Event()
    watching = Watching(enough, after)
    outcome = record(
        source,
        out,
        ask or blobs.BlobAsk(),
        wanted or settings(),
        live or LiveSettings(),
        watching,
        enough,
        **opening,
    )
    return outcome, formats.read(outcome.files["parquet"]), watching


def adds_up(counts, frames):
    """Whether every captured frame is accounted for."""
    return (
        counts.decoded == counts.selected == counts.written + counts.dropped == frames and counts.disagreements() == []
    )


@contextmanager
def piped(data, stays_open=False):
    """A source that gives bytes; its writer is let go at the end."""
    reading, writing = os.pipe()
    done = threading.Event()

    def feed():
        with os.fdopen(writing, "wb", 0) as file:
            try:
                file.write(data)
            except OSError:  # nobody reads any more
                return
            if stays_open:
                done.wait(60)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield LiveSource(Kind.PIPE, str(reading))
    finally:
        done.set()
        os.close(reading)
        thread.join()


class Camera:
    """Gives pictures as OpenCV's cameras do: BGR, announced and then fetched."""

    def __init__(self, pictures, damaged=()):
        self.pictures, self.damaged = pictures, damaged
        self.number = -1
        self.dry = threading.Event()

    def __call__(self, number):
        self.opened = number
        return self

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return True

    def get(self, what):
        return 10.0

    def grab(self):
        self.number += 1
        if self.number < len(self.pictures):
            return True
        self.dry.set()
        return False

    def retrieve(self):
        if self.number in self.damaged:
            return False, None
        return True, np.ascontiguousarray(self.pictures[self.number][..., ::-1])

    def release(self):
        self.released = True


def opening(camera):
    return {"opened": lambda source, over: CameraReader(source, camera)}


@pytest.fixture(scope="module")
def walk(blobs, tmp_path_factory):
    """A video of 25 frames in 3 segments, and its rows as a file's."""
    folder = tmp_path_factory.mktemp("walk")
    path = blobs.write_video(folder / "walk.mkv", blobs.walk(25, people=2))
    (outcome,) = run_job({path: "walk"}, folder, blobs.BlobAsk(), settings(), blobs.Silent())
    return path.read_bytes(), formats.read(outcome.files["parquet"])


def test_a_pipe_gives_the_rows_of_the_file(blobs, walk, tmp_path):
    data, rows = walk
    with piped(data) as source:
        outcome, table, watching = recorded(blobs, tmp_path / "out", source)
    assert outcome.error is None
    assert table.equals(rows)
    assert adds_up(outcome.counts, 25)
    header = table.header
    assert header["source"]["live"] == "pipe"
    assert header["source"]["times"] == "presentation"
    assert header["source"]["started"].endswith("+00:00")
    assert header["options"]["drop"] == "never"
    assert (header["video"]["height"], header["video"]["width"]) == (48, 96)
    stamp = header["source"]["started"].split(".")[0].replace("-", "").replace(":", "")
    assert watching.folder.name == outcome.folder.name == f"stdin-{stamp}Z"
    assert [frame.index for frame in watching.frames] == list(range(25))
    assert [len(poses) for poses in watching.poses] == [2] * 25


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "times"),
    [
        ("a.ts", "mpeg2video", "yuv420p", "presentation"),
        ("a.nut", "mjpeg", "yuvj420p", "presentation"),
        ("a.mjpeg", "mjpeg", "yuvj420p", "arrival"),
    ],
)
def test_containers_that_can_be_piped(blobs, tmp_path, name, codec, pixels, times):
    path = blobs.write_video(tmp_path / name, blobs.walk(12), codec, pixels, rate=25)
    with piped(path.read_bytes()) as source:
        outcome, table, _ = recorded(blobs, tmp_path / "out", source)
    assert adds_up(outcome.counts, 12)
    assert table.header["source"]["times"] == times
    assert table.time[0] == 0
    if times == "presentation":
        np.testing.assert_allclose(np.diff(table.time), 0.04, atol=1e-6)
    assert np.isfinite(table.joints).all()


def test_every_end_and_other_results(blobs, walk, tmp_path):
    wanted = settings(Finishing(("parquet", "csv"), "one-euro", report=True), every=2, end=1.5)
    with piped(walk[0]) as source:
        outcome, table, _ = recorded(blobs, tmp_path / "out", source, wanted)
    assert table.frame[table.frame_starts].tolist() == list(range(0, 15, 2))
    assert outcome.counts.decoded == 15
    assert outcome.counts.selected == outcome.counts.written == 8
    assert table.smoothed is not None
    assert set(outcome.files) >= {"parquet", "csv", "report"}


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "nothing came"), (b"hello\n" * 20, "no video that can be read as it comes"), (bytes(70_000), "no video")],
)
def test_a_pipe_of_something_else(blobs, tmp_path, data, message):
    with piped(data) as source, pytest.raises(InvalidRequest, match=message):
        recorded(blobs, tmp_path / "out", source)
    assert list((tmp_path / "out").iterdir()) == []


def test_enough_ends_a_pipe_that_says_nothing_any_more(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "a.mkv", blobs.walk(12))
    with piped(path.read_bytes(), stays_open=True) as source:
        outcome, table, _ = recorded(blobs, tmp_path / "out", source, after=3)
    assert outcome.error is None
    assert table.frame_count == outcome.counts.written >= 3
    assert adds_up(outcome.counts, outcome.counts.decoded)


def test_enough_before_the_first_picture(blobs, tmp_path):
    enough = threading.Event()
    enough.set()
    with piped(b"", stays_open=True) as source, pytest.raises(Cancelled, match="nothing was written"):
        record(source, tmp_path, blobs.BlobAsk(), settings(), LiveSettings(), Watching(), enough)


def test_a_camera(blobs, tmp_path):
    camera = Camera(blobs.walk(12), damaged=(4,))
    outcome, table, _ = recorded(blobs, tmp_path / "out", CAMERA, live=LiveSettings(drop="never"), **opening(camera))
    counts = outcome.counts
    assert (counts.decoded, counts.written, counts.dropped, counts.corrupt_packets) == (11, 11, 0, 1)
    assert table.header["source"]["name"] == "camera 0"
    assert table.header["source"]["times"] == "arrival"
    assert outcome.folder.name.startswith("camera-0-")
    assert np.isfinite(table.joints).all()
    assert (np.diff(table.time) > 0).all()
    assert camera.released
    # A camera has no end: if it gives no more, it was lost.
    assert isinstance(outcome.error, Unavailable)
    assert "gives no more pictures" in str(outcome.error)
    assert str(outcome.folder) in str(outcome.error)


def test_the_oldest_frames_are_dropped_and_counted(blobs, tmp_path):
    camera = Camera(blobs.walk(60))

    class Slow(blobs.BlobAsk):
        def __call__(self, image, boxes):
            camera.dry.wait(60)  # until all have been captured
            return super().__call__(image, boxes)

    outcome, table, watching = recorded(blobs, tmp_path / "out", CAMERA, ask=Slow(), **opening(camera))
    counts = outcome.counts
    assert (counts.decoded, counts.selected) == (60, 60)
    assert counts.dropped > 40
    assert counts.written == 60 - counts.dropped == table.frame_count
    assert table.frame[-1] == 59
    assert watching.counts.dropped == counts.dropped == table.header["counts"]["dropped"]
    assert table.header["options"]["drop"] == "oldest"


def test_what_never_drops_waits(blobs, tmp_path):
    ask, camera = blobs.BlobAsk(delay=0.005), Camera(blobs.walk(40))
    outcome, _, _ = recorded(
        blobs, tmp_path / "out", CAMERA, live=LiveSettings(drop="never"), ask=ask, **opening(camera)
    )
    assert (outcome.counts.written, outcome.counts.dropped) == (40, 0)


def test_a_mirror_exchanges_sides_and_not_names(blobs, tmp_path):
    pictures = blobs.walk(6)
    plain, mirror = (
        recorded(blobs, tmp_path / str(on), CAMERA, live=LiveSettings("never", mirror=on), **opening(Camera(pictures)))
        for on in (False, True)
    )
    assert mirror[1].header["options"]["mirror"] is True
    np.testing.assert_array_equal(mirror[2].frames[0].image, plain[2].frames[0].image[:, ::-1])
    width = pictures[0].shape[1]
    centres = [table.joints.astype(float).mean(axis=1) for table in (plain[1], mirror[1])]
    offset = blobs.SHAPE.mean(axis=0)
    np.testing.assert_allclose(centres[1] - offset, [width - 1, 0] - (centres[0] - offset) * [1, -1], atol=0.1)
    # `BlobAsk` names joints by where they are in a square, as a model does by where they are in a picture.
    left, right = (plain[1].skeleton.index(f"{side}_wrist") for side in ("left", "right"))
    at = mirror[1].joints[0].astype(float) - (centres[1] - offset)[0]
    np.testing.assert_allclose(at[left], blobs.SHAPE[right], atol=0.1)
    np.testing.assert_allclose(at[right], blobs.SHAPE[left], atol=0.1)


def test_an_asker_that_is_lost_leaves_what_was_finished(blobs, tmp_path):
    class Gone(blobs.BlobAsk):
        def __call__(self, image, boxes):
            if len(self.asked) > 30:
                raise Unavailable("the server is gone")
            return super().__call__(image, boxes)

    path = blobs.write_video(tmp_path / "a.mkv", blobs.walk(45))
    with piped(path.read_bytes(), stays_open=True) as source:
        outcome, table, _ = recorded(blobs, tmp_path / "out", source, ask=Gone())
    assert "the server is gone" in str(outcome.error)
    assert table.frame_count == outcome.counts.written
    assert table.frame_count % 10 == 0  # whole segments
    assert "were to be written" in outcome.counts.disagreements()[0]


def test_an_asker_that_never_answers_leaves_nothing(blobs, walk, tmp_path):
    class Surprising(blobs.BlobAsk):
        def __call__(self, image, boxes):
            raise ZeroDivisionError("surprise")

    with piped(walk[0]) as source, pytest.raises(PoseglassError, match="surprise; please report this, with"):
        recorded(blobs, tmp_path / "out", source, ask=Surprising())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["error.txt"]


def test_a_recording_that_was_cut_off_is_finished_later(blobs, walk, tmp_path, monkeypatch):
    real = segments_module.write_whole

    def full(file, data):
        if file.name == "000002.npz":
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        real(file, data)

    monkeypatch.setattr(segments_module, "write_whole", full)
    with piped(walk[0]) as source:
        outcome, table, _ = recorded(blobs, tmp_path / "out", source)
    assert outcome.error is not None
    assert table.frame_count == 20
    assert is_recording(outcome.folder)
    again = finish_recording(outcome.folder, Finishing(("csv",), "one-euro"))
    table = formats.read(again.files["csv"])
    assert table.frame_count == 20
    assert table.smoothed is not None
    assert table.header["source"]["live"] == "pipe"
    with locked(outcome.folder), pytest.raises(PoseglassError, match="another run is at work here"):
        finish_recording(outcome.folder, Finishing())
    with pytest.raises(InvalidRequest, match="no recording"):
        finish_recording(tmp_path, Finishing())


def test_a_disk_that_is_full_at_the_end_says_how_to_go_on(blobs, walk, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("poseglass.video.job.write_results", full)
    with piped(walk[0]) as source, pytest.raises(DiskFull, match=r"poseglass video .*stdin-.* --out .*out` makes"):
        recorded(blobs, tmp_path / "out", source)
    monkeypatch.undo()
    (folder,) = (tmp_path / "out").iterdir()
    assert formats.read(finish_recording(folder, Finishing()).files["parquet"]).equals(walk[1])


def test_an_overlay_needs_a_file(blobs, tmp_path):
    with pytest.raises(InvalidRequest, match="record it to a file"):
        recorded(blobs, tmp_path / "out", CAMERA, settings(Finishing(overlay=True)))


def test_a_stream_that_ends_before_its_time_is_said_to(blobs, tmp_path):
    class Ending(CameraReader):
        def __iter__(self):
            yield from super().__iter__()
            self.counts.broken_off, self.counts.ended = "", True

    stream, wanted = LiveSource(Kind.STREAM, "rtsp://host/1"), settings(end=3600)
    opened = {"opened": lambda _, __: Ending(CAMERA, Camera(blobs.walk(6)))}
    outcome, table, _ = recorded(blobs, tmp_path / "out", stream, wanted, **opened)
    assert "ended after" in str(outcome.error)
    assert "of the 3600 s" in str(outcome.error)
    assert table.frame_count == 6
    outcome, _, _ = recorded(blobs, tmp_path / "out", stream, **opened)
    assert outcome.error is None


def test_no_such_camera(blobs, tmp_path, capfd):
    with pytest.raises(Unavailable, match=r"camera 99: does not open; .* /dev/video99"):
        recorded(blobs, tmp_path / "out", LiveSource(Kind.CAMERA, "99"))
    assert "WARN" not in capfd.readouterr().err
