"""A disk that fills up while something is written: said clearly, nothing half-written, and gone on with."""

from __future__ import annotations

import errno
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")
pytest.importorskip("h5py")

from poseglass.video import folder as folder_module
from poseglass.video import formats
from poseglass.video import segments as segments_module
from poseglass.video.finish import Finishing, result_files, write_results
from poseglass.video.folder import DiskFull, room
from poseglass.video.following import FollowSettings
from poseglass.video.job import JobSettings, run_job
from poseglass.video.reading import Selection
from poseglass.video.segments import SegmentClock
from poseglass_core.skeleton import LSP

EVERYTHING = Finishing(tuple(formats.FORMATS), "one-euro", overlay=True, report=True, heatmaps=True)

KINDS = {
    **{name: Finishing((name,)) for name in formats.FORMATS},
    "overlay": Finishing((), overlay=True),
    "report": Finishing((), report=True),
}


def do(blobs, out: Path, video: Path) -> None:
    """A whole job with every kind of result."""
    out.mkdir(exist_ok=True)
    wanted = JobSettings(Selection(), SegmentClock(0.5), FollowSettings(detect_every=4), EVERYTHING)
    (outcome,) = run_job({video: "walk"}, out, blobs.BlobAsk(), wanted, blobs.Silent())
    if outcome.error is not None:
        raise outcome.error


def contents(folder: Path) -> dict[str, bytes]:
    """File -> what is in it, of all files in a folder and below."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def walk(blobs, tmp_path_factory):
    """A video of 3 segments, and what an unbroken job makes of it."""
    folder = tmp_path_factory.mktemp("walk")
    path = blobs.write_video(folder / "walk.mkv", blobs.walk(14, people=2))
    do(blobs, folder / "whole", path)
    return path, folder / "whole" / "walk"


@pytest.fixture
def disk(tmp_path) -> Iterator[tuple[Path, object]]:
    """A folder with a disk of its own, and what sets the disk's size in KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def sized(kib: int, *options: str) -> None:
        about = ",".join((*options, f"size={kib}k"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", about, "tmpfs", folder], check=True, capture_output=True)

    try:
        sized(4)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can be mounted by root only")
    yield folder, lambda kib: sized(kib, "remount")
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_again_and_again(blobs, walk, disk):
    path, whole = walk
    folder, resize = disk
    failures = 0
    for kib in range(4, 2000, 20):
        resize(kib)
        try:
            do(blobs, folder, path)
            break
        except DiskFull as error:
            failures += 1
            assert str(error).startswith(f"{folder / 'walk'}: the disk is full; make room, and run")  # noqa: PT017
        assert not list(folder.rglob(".*.tmp*"))
        for form in formats.FORMATS.values():  # what is there is whole
            result = folder / "walk" / f"walk{form.suffix}"
            assert not result.exists() or len(formats.read(result, skeleton=LSP if "names" in form.drops else None))
    assert failures > 5
    assert contents(folder / "walk") == contents(whole)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, in whatever library it is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.95])
def test_a_result_that_does_not_fit_leaves_the_one_before(walk, tmp_path, kind, share):
    path, whole = walk
    table = formats.read(whole / "walk.parquet")
    write_results(table.select(table.frame < 4), result_files(tmp_path, "walk", KINDS[kind]), KINDS[kind], path)
    before = contents(tmp_path)
    write_results(table, result_files(whole.parent, "walk", KINDS[kind]), KINDS[kind], path)
    largest = max(len(contents(whole.parent)[name]) for name in before)
    with pytest.raises(DiskFull, match="may not grow"), files_of_at_most(int(share * largest)), room(tmp_path):
        write_results(table, result_files(tmp_path, "walk", KINDS[kind]), KINDS[kind], path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("what", "at", "number"),
    [
        ("segment", 1, errno.ENOSPC),
        ("segment", 3, errno.EDQUOT),
        ("manifest", 1, errno.ENOSPC),
        ("manifest", 2, errno.ENOSPC),
        ("manifest", 3, errno.ENOSPC),
    ],
)
def test_what_work_is_kept_in_does_not_fit(blobs, walk, tmp_path, monkeypatch, what, at, number):
    path, whole = walk
    module, written = {"segment": segments_module, "manifest": folder_module}[what], []
    real = module.write_whole

    def full(file, data):
        written.append(file)
        if len(written) >= at:
            file.with_name(f".{file.name}.tmp").write_bytes(data[:10])  # as it is when the disk fills up
            raise OSError(number, "No room", str(file))
        real(file, data)

    monkeypatch.setattr(module, "write_whole", full)
    with pytest.raises(DiskFull, match="make room, and run the same command again"):
        do(blobs, tmp_path / "out", path)
    monkeypatch.undo()
    do(blobs, tmp_path / "out", path)
    assert contents(tmp_path / "out" / "walk") == contents(whole)


def test_other_trouble_is_not_called_a_full_disk(tmp_path):
    with pytest.raises(OSError, match="denied"), room(tmp_path):
        raise OSError(errno.EACCES, "denied")
