"""How videos are shared out among actors, and what travels between them; no Ray is needed."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("av")

from poseglass.errors import (
    Cancelled,
    FailedPrecondition,
    InvalidRequest,
    MissingExtra,
    ModelNotFound,
    Overloaded,
    PoseglassError,
    Unavailable,
)
from poseglass.video.finish import Finishing
from poseglass.video.folder import locked
from poseglass.video.following import FollowSettings
from poseglass.video.job import JobSettings, Outcome
from poseglass.video.parts import FEWEST_SEGMENTS, MOST_PARTS, WHOLE, Part, PartReader, segment_numbers, split
from poseglass.video.raycluster import Crew, check_address, crew, joined, ray_package
from poseglass.video.rayfolder import HeldFolder, holder
from poseglass.video.rayprogress import Board, Watch
from poseglass.video.rayworker import TRIES, Done, Order, Reporter, Task, Worker, packed, unpacked
from poseglass.video.reading import Selection, VideoReader
from poseglass.video.segments import SegmentClock, read_segments
from poseglass.video.table import PoseTable
from poseglass_core.skeleton import LSP


def settings(**selection):
    return JobSettings(Selection(**selection), SegmentClock(1.0), FollowSettings(), Finishing())


@pytest.mark.parametrize(("missing", "share"), [(range(60), 30), (range(7, 100), 4), ([3, 4, 8, 9, 20, 21, 22], 2.5)])
def test_parts_follow_one_another_and_hold_about_a_share_each(missing, share):
    parts = split(missing, share)
    assert 1 < len(parts) <= MOST_PARTS
    assert parts[0].first == 0
    assert parts[-1].last
    assert all(one.end == other.first for one, other in pairwise(parts))
    held = [sum(part.first <= n and (part.last or n < part.end) for n in missing) for part in parts]
    assert sum(held) == len(missing)
    assert min(held) >= FEWEST_SEGMENTS
    assert max(held) - min(held) <= 1


@pytest.mark.parametrize(("missing", "share"), [(range(60), 60), (range(5), 1), ([], 1)])
def test_a_video_that_is_no_more_than_a_share_is_not_cut(missing, share):
    assert split(missing, share) == [WHOLE]


def test_segments_are_foretold_by_the_header(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "v.mkv", blobs.walk(35))
    assert set(range(4)) <= set(segment_numbers(path, settings())) <= set(range(5))
    assert segment_numbers(path, settings(start=1.5, end=2.5)) == range(1, 3)
    assert segment_numbers(path, settings(start=100.0)) == range(0)
    late = blobs.write_video(tmp_path / "late.mkv", blobs.walk(15), times=[100 + i for i in range(15)])
    assert segment_numbers(late, settings())[0] == 10
    (tmp_path / "zeros.mkv").write_bytes(bytes(100))
    assert segment_numbers(tmp_path / "zeros.mkv", settings()) == range(0)


def test_parts_together_are_the_video_and_the_last_counts_it(blobs, tmp_path):
    path, wanted = blobs.write_video(tmp_path / "v.mkv", blobs.walk(55)), settings(every=2, start=0.5)

    def frames(reader):
        return [frame.index for frame in read_segments(reader, wanted.selection, wanted.clock)]

    with VideoReader(path) as whole:
        expected = frames(whole)
    found = []
    for part in (Part(0, 2), Part(2, 5), Part(5)):
        with PartReader(path, part, wanted) as reader:
            found += frames(reader)
    assert found == expected
    assert reader.counts == whole.counts


def test_tasks_are_rows(tmp_path):
    task = Task(3, Path("/videos/caf\udce9.mp4"), tmp_path / "café", Part(4, 8))
    assert Task.from_row(task.to_row()) == task
    assert Task.from_row(Task(0, task.source, task.folder).to_row()).part == WHOLE


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("--start", "none"),
        MissingExtra("reading videos", "video"),
        Overloaded("full", 3.0),
        ModelNotFound("no model"),
        OSError(28, "No space left on device", "/x"),
    ],
)
def test_errors_survive_the_way(error):
    back = unpacked(packed(Done(1, Outcome(Path("v"), Path("f"), error=error), fatal=True)))
    assert back.fatal
    assert type(back.result.error) is type(error)
    assert str(back.result.error) == str(error)
    if isinstance(error, PoseglassError):
        assert back.result.error.to_json() == error.to_json()


@pytest.mark.parametrize(
    ("nodes", "wanted", "device", "expected"),
    [
        ([{"CPU": 8.0}], None, "cpu", Crew(4, 2)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], None, "cpu", Crew(2, 2)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 3, "cpu", Crew(3, 1)),
        ([{"CPU": 1.0}, {"CPU": 1.0}], None, "cpu", Crew(2, 1)),
        ([{"CPU": 2.0}], 100, "cpu", Crew(100, 1)),
        ([{}, {"CPU": 4.0}], 1, "cpu", Crew(1, 2)),
        ([{"CPU": 16.0, "GPU": 2.0}], None, "cuda", Crew(2, 0, 1)),
    ],
)
def test_the_crew_fits_the_machines(nodes, wanted, device, expected):
    assert crew(nodes, wanted, device) == expected


def test_a_cluster_with_nothing_to_work_on_is_refused():
    for device, message in (("cpu", "processors"), ("cuda", "GPU")):
        with pytest.raises(FailedPrecondition, match=message):
            crew([{"memory": 1.0}], None, device)


def test_addresses(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert [check_address(address) for address in ("", "local", "auto")] == ["local", "local", "auto"]
    assert check_address("head.example:6379") == "head.example:6379"
    assert check_address("[::1]:6379") == "[::1]:6379"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert check_address("auto") == "10.0.0.1:6379"
    for wrong, message in (("clips/", "put sources before it"), ("head", "HOST:PORT"), ("ray://h:10001", "--ray auto")):
        with pytest.raises(InvalidRequest, match=message):
            check_address(wrong)


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'pip install "poseglass\[ray\]"'):
        ray_package()


def test_nobody_at_an_address_is_said_at_once(nobody):
    pytest.importorskip("ray")
    with pytest.raises(Unavailable, match="nobody answers there"), joined(nobody, None):
        pass


def test_what_actors_tell_becomes_progress():
    told = []

    class Progress:
        def begin(self, source, promised):
            told.append(("begin", source, promised))

        def advance(self, source):
            told.append(source)

        def end(self, source):
            told.append(("end", source))

    board, watch, walk = Board(), Watch(Progress()), Path("walk")
    videos = {0: walk, 1: walk}
    board.tell(0, 50, 2)
    watch.tell(board.news(), videos)
    board.tell(0, 50, 1)  # begun anew, after its actor was lost
    board.tell(1, 50, 1)
    watch.tell(board.news(), videos)
    board.tell(0, 50, 3)
    watch.tell(board.news(), videos)
    watch.end(walk)
    board.tell(0, 50, 9)
    watch.tell(board.news(), videos)
    assert told == [("begin", walk, 50), *[walk] * 4, ("end", walk)]
    assert [board.try_(0), board.try_(0), board.try_(1)] == [1, 2, 1]


def test_actors_of_a_run_that_is_gone_write_nothing_into_the_next_ones_folder(tmp_path):
    with pytest.raises(FailedPrecondition, match="every machine must see"):
        holder(tmp_path)
    with locked(tmp_path):
        folder = HeldFolder(tmp_path / "walk", Path("walk.mkv"), holder(tmp_path))
        folder.note(a=1)
        folder.segments.save(0, PoseTable.empty(LSP))
    time.sleep(0.02)  # more than the resolution of times of files
    with locked(tmp_path):
        for write in (lambda: folder.note(a=2), lambda: folder.segments.save(1, PoseTable.empty(LSP))):
            with pytest.raises(Cancelled, match="another run"):
                write()
    assert json.loads((tmp_path / "walk" / "manifest.json").read_text()) == {"a": 1}
    assert folder.segments.numbers() == [0]


@pytest.fixture
def actor(blobs, tmp_path, monkeypatch):
    """Makes a worker of an order with changes, as it is in an actor; and a task for it, of a video that is gone."""
    board = SimpleNamespace(tell=SimpleNamespace(remote=lambda *told: None))
    monkeypatch.setattr(Reporter, "tries", lambda self: 1)
    with locked(tmp_path):
        order = Order(
            tmp_path, holder(tmp_path), partial(nullcontext, blobs.BlobAsk()), blobs.BlobAsk().facts, settings()
        )

        def done(**changes):
            task = Task(7, tmp_path / "gone.mkv", tmp_path / "gone")
            return unpacked(Worker(replace(order, **changes), board)(task.to_row())["done"])

        yield done


def test_a_machine_that_cannot_take_part_ends_the_job(blobs, actor, tmp_path):
    other = replace(blobs.BlobAsk().facts, keep=0.3)
    for changes, message in (
        ({"facts": other}, "has another blobs"),
        ({"version": "0.0.1"}, r"0\.0\.1 is wanted"),
        ({"out": tmp_path / "elsewhere"}, "every machine must see"),
    ):
        done = actor(**changes)
        assert done.fatal
        with pytest.raises(FailedPrecondition, match=message):
            raise done.result.error


def test_what_is_wrong_with_one_video_does_not(actor, monkeypatch):
    done = actor()
    assert (done.number, done.fatal) == (7, False)
    with pytest.raises(InvalidRequest, match=r"gone\.mkv: is not there on"):
        raise done.result.error
    monkeypatch.setattr(Reporter, "tries", lambda self: TRIES + 1)
    done = actor()
    assert not done.fatal
    assert f"ended before it was done, {TRIES} of them" in str(done.result.error)
