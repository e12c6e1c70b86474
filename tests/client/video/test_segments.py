"""Segments: cut by time, independent of each other, kept whole or not at all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest

pytest.importorskip("av")

from poseglass.errors import Cancelled, InvalidRequest
from poseglass.video.following import LAG, FollowSettings
from poseglass.video.pipeline import Machine, ahead, run_segments
from poseglass.video.reading import Selection, VideoReader
from poseglass.video.segments import Passed, SegmentClock, SegmentFolder, read_segments
from poseglass.video.table import PoseTable


def run(blobs, path, folder, selection=None, seconds=1.0, stop=None):
    """Do a video's missing segments; returns what was asked, and the counts."""
    ask, segments = blobs.BlobAsk(), SegmentFolder(folder)
    with ThreadPoolExecutor(LAG) as looking, VideoReader(path) as reader:
        machine = Machine(ask, ask.facts.skeleton, FollowSettings(detect_every=7), looking, stop or threading.Event())
        done = segments.finished(ask.facts.skeleton)
        frames = read_segments(reader, selection or Selection(), SegmentClock(seconds), done)
        run_segments(frames, machine, segments.save)
        return ask.asked, reader.counts


def joined(folder):
    segments = SegmentFolder(folder)
    return PoseTable.concat(table for number in segments.numbers() if (table := segments.load(number)) is not None)


def test_boundaries_are_of_time_alone():
    clock = SegmentClock(10)
    assert [clock.number(t) for t in (-3.0, 0.0, 9.999, 10.0, 125.0)] == [0, 0, 0, 1, 12]
    with pytest.raises(InvalidRequest, match="--segment"):
        SegmentClock(0)


def test_segments_are_done_in_any_order_and_give_the_same_rows(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "v.mkv", blobs.walk(45, people=2))
    run(blobs, path, tmp_path / "whole")
    assert SegmentFolder(tmp_path / "whole").numbers() == [0, 1, 2, 3, 4]
    whole = joined(tmp_path / "whole")
    assert whole.frame_count == 45
    run(blobs, path, tmp_path / "part")
    for gone in (1, 3):
        SegmentFolder(tmp_path / "part").file(gone).unlink()
    SegmentFolder(tmp_path / "part").file(4).write_bytes(b"half a file")  # as a broken disk leaves it
    asked, counts = run(blobs, path, tmp_path / "part")
    assert len(asked) < 2 * 25  # only what was missing was looked at
    assert joined(tmp_path / "part").equals(whole)
    assert counts.selected == counts.decoded == 45


def test_a_segment_begins_with_a_fresh_look(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "v.mkv", blobs.walk(40))
    asked, _ = run(blobs, path, tmp_path / "s")
    assert asked.count(0) >= 4
    run(blobs, path, tmp_path / "late", Selection(start=2.0))
    late = joined(tmp_path / "late")
    whole = joined(tmp_path / "s")
    assert late.equals(whole.select(whole.time >= 2.0))


def test_variable_times_fall_into_their_segments(blobs, tmp_path):
    times = [0, 100, 990, 1000, 5400, 5500, 9000]
    path = blobs.write_video(tmp_path / "v.mkv", blobs.walk(7), times=times, unit=Fraction(1, 1000))
    run(blobs, path, tmp_path / "s")
    assert SegmentFolder(tmp_path / "s").numbers() == [0, 1, 5, 9]
    assert joined(tmp_path / "s").time.tolist() == [time / 1000 for time in times]


def test_frames_that_are_not_wanted_are_decoded_and_passed(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "v.mkv", blobs.walk(30))
    with VideoReader(path) as reader:
        items = list(read_segments(reader, Selection(every=4, start=0.5, end=2.0), SegmentClock(1.0)))
        assert [item.index for item in items if not isinstance(item, Passed)] == [8, 12, 16]
        assert reader.counts.selected == 3
        assert not reader.counts.ended
        assert reader.counts.disagreements() == ["3 frames were to be written, and 0 are in the result"]


def test_stopping_leaves_whole_segments_only(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "v.mkv", blobs.walk(30))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled, match="run the same command again"):
        run(blobs, path, tmp_path / "s", stop=stop)
    assert SegmentFolder(tmp_path / "s").numbers() == []


def test_reading_ahead_is_bounded_and_passes_errors_on():
    read = []

    def items():
        for i in range(100):
            read.append(i)
            yield i
        raise OSError("the end")

    frames = ahead(items(), 3)
    assert [next(frames) for _ in range(5)] == [0, 1, 2, 3, 4]
    frames.close()
    assert len(read) <= 5 + 3 + 2
    with pytest.raises(OSError, match="the end"):
        list(ahead(items(), 3))


def test_an_error_of_writing_comes_out(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "v.mkv", blobs.walk(30))
    (tmp_path / "s").write_text("no folder")
    with pytest.raises(OSError, match="s"):
        run(blobs, path, tmp_path / "s")
