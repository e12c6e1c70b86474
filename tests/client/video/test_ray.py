"""Jobs on a Ray of two actors on this machine: the rows are those of a run without it, whatever happens on the way."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

pytest.importorskip("ray", reason='needs Ray: pip install "poseglass[ray]"')
pytest.importorskip("av")

from ray import cloudpickle

from poseglass import cli
from poseglass.errors import InvalidRequest, Unavailable
from poseglass.video import formats
from poseglass.video.finish import Finishing
from poseglass.video.folder import locked
from poseglass.video.following import FollowSettings
from poseglass.video.job import JobSettings, run_job
from poseglass.video.raycluster import joined, ray_package
from poseglass.video.rayjob import run_ray_job
from poseglass.video.reading import Selection
from poseglass.video.segments import SegmentClock

pytestmark = pytest.mark.slow

SETTINGS = JobSettings(Selection(), SegmentClock(1.0), FollowSettings(detect_every=4), Finishing())

ACTORS = 2


@pytest.fixture(scope="module", autouse=True)
def cluster(blobs):
    """A Ray that all tests share."""
    cloudpickle.register_pickle_by_value(blobs)
    with joined("local", ACTORS):
        yield
    for handler in logging.getLogger().handlers:  # Ray has quietened pytest's, which other tests read
        handler.setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def videos(blobs, tmp_path_factory):
    """A video of six segments, which two actors share, one of two, and one of none."""
    folder = tmp_path_factory.mktemp("videos")
    blobs.write_video(folder / "walk.mkv", blobs.walk(55, people=2))
    blobs.write_video(folder / "short.mkv", blobs.walk(15))
    (folder / "bad.mkv").write_bytes(bytes(1000))
    return {folder / f"{name}.mkv": name for name in ("walk", "short", "bad")}


@pytest.fixture(scope="module")
def unbroken(blobs, videos, tmp_path_factory):
    """The results of a run without Ray: name -> table."""
    out = tmp_path_factory.mktemp("unbroken")
    alone(blobs, videos, out)
    return {name: rows(out, name) for name in ("walk", "short")}


def alone(blobs, videos, out, ask=None):
    """The same job without Ray; returns outcomes by name."""
    out.mkdir(exist_ok=True)
    outcomes = run_job(videos, out, ask or blobs.BlobAsk(), SETTINGS, blobs.Silent())
    return {outcome.source.stem: outcome for outcome in outcomes}


def spread(blobs, videos, out, ask=None):
    """Do it on two actors; returns outcomes by name."""
    blob_ask, out = blobs.BlobAsk, out.absolute()

    @contextmanager
    def asking():
        yield blob_ask() if ask is None else ask()

    out.mkdir(exist_ok=True)
    with locked(out):
        outcomes = run_ray_job(videos, out, asking, blob_ask().facts, SETTINGS, blobs.Silent(), "local", workers=ACTORS)
        return {outcome.source.stem: outcome for outcome in outcomes}


def rows(out, name):
    return formats.read(out / name / f"{name}.parquet")


def test_two_actors_give_the_rows_of_a_run_without_ray(blobs, videos, unbroken, tmp_path):
    here = tmp_path / "here"
    here.mkdir()

    class Together(blobs.BlobAsk):
        """Answers when both actors are at work."""

        def __init__(self):
            super().__init__()
            (here / str(os.getpid())).touch()
            while len(list(here.iterdir())) < ACTORS:
                time.sleep(0.01)

    outcomes = spread(blobs, videos, tmp_path / "out", Together)
    assert isinstance(outcomes["bad"].error, InvalidRequest)
    assert "holds zeros" in str(outcomes["bad"].error)
    for name, table in unbroken.items():
        assert outcomes[name].error is None
        assert outcomes[name].folder == tmp_path / "out" / name
        assert rows(tmp_path / "out", name).equals(table, header=True)
    assert outcomes["walk"].people == 2
    assert outcomes["walk"].counts.written == 55
    again = alone(blobs, videos, tmp_path / "out")
    assert all(again[name].skipped for name in unbroken)


def test_an_actor_that_is_killed_changes_nothing_and_what_was_done_is_kept(blobs, videos, unbroken, tmp_path):
    class Gone(blobs.BlobAsk):
        def __call__(self, image, boxes):
            if len(self.asked) > 20:
                raise Unavailable("gone")
            return super().__call__(image, boxes)

    out, killed = tmp_path / "out", tmp_path / "killed"
    with pytest.raises(Unavailable):
        alone(blobs, videos, out, Gone())
    kept = out / "walk" / "segments" / "000000.npz"
    before = kept.stat().st_mtime_ns

    class Mortal(blobs.BlobAsk):
        """Is killed with its process in its second segment, once."""

        def __call__(self, image, boxes):
            if len(self.asked) == 15 and not killed.exists():
                killed.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(image, boxes)

    outcomes = spread(blobs, videos, out, Mortal)
    assert killed.exists()
    assert [name for name, outcome in outcomes.items() if outcome.error is not None] == ["bad"]
    for name, table in unbroken.items():
        assert rows(out, name).equals(table, header=True)
    assert kept.stat().st_mtime_ns == before
    assert not list(out.rglob("*.tmp*"))


def test_a_server_that_is_gone_ends_the_job_which_goes_on_without_ray(blobs, videos, unbroken, tmp_path):
    class Gone(blobs.BlobAsk):
        def __call__(self, image, boxes):
            if len(self.asked) > 20:
                raise Unavailable("the server is gone")
            return super().__call__(image, boxes)

    with pytest.raises(Unavailable, match="the server is gone"):
        spread(blobs, videos, tmp_path / "out", Gone)
    assert list((tmp_path / "out").rglob("*.npz"))
    alone(blobs, videos, tmp_path / "out")
    for name, table in unbroken.items():
        assert rows(tmp_path / "out", name).equals(table, header=True)


def test_only_its_own_log_is_made_quiet():
    logger, own = logging.getLogger("ray.data"), logging.StreamHandler()
    logger.addHandler(own)
    try:
        ray_package()
        assert own.level == logging.NOTSET
        levels = [handler.level for handler in logger.handlers if type(handler).__name__ == "PlainRayHandler"]
        assert levels == [logging.CRITICAL]
    finally:
        logger.removeHandler(own)


def test_the_command(server, videos, tmp_path):
    files = [str(video) for video in videos if video.stem != "walk"]
    command = ["video", *files, "--server", server.address, "--json"]
    without = CliRunner().invoke(cli.app, [*command, "--out", str(tmp_path / "without")])
    result = CliRunner().invoke(cli.app, [*command, "--out", str(tmp_path / "out"), "--ray", "local", "--workers", "2"])
    assert (without.exit_code, result.exit_code) == (1, 1), (result.stderr, result.exception)
    assert result.stdout, result.stderr
    assert [answer["result"] for answer in json.loads(result.stdout)].count("failed") == 1
    assert rows(tmp_path / "out", "short").equals(rows(tmp_path / "without", "short"), header=True)
