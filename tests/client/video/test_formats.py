"""Result files: what goes in comes out; what a format drops is said; half a file never shows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import poseglass
from poseglass import InvalidRequest, cli
from poseglass.video import formats, whole
from poseglass.video.euro import OneEuro
from poseglass.video.smoothing import smooth
from poseglass.video.table import PoseTable
from poseglass.video.tracking import track
from poseglass_core.geometry import box_around
from poseglass_core.poses import Pose
from poseglass_core.skeleton import LSP, Skeleton

HEADER = {"source": {"name": "walk.mp4"}, "counts": {"decoded": 12}, "model": {"name": "tiny", "version": 1}}


def make(frames: int = 12, presence: float | None = 0.7) -> PoseTable:
    """Two people, with a joint missing here and there; nobody in frame 5; every second frame was looked at."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(frames):
        poses = []
        for j in range(2):
            points = (rng.uniform(0, 100, (14, 2)) * 0.05 + [[30 * k % 80, 20 * k] for k in range(14)]).astype(
                np.float32
            )
            points += np.float32(200 * j)
            names = tuple(name for name in LSP.joints if (i, name) != (3, "neck"))
            keep = [LSP.index(name) for name in names]
            scores = rng.uniform(0.2, 1, 14).astype(np.float32)
            poses.append(Pose(LSP, names, points[keep], scores[keep], box_around(points), 0.9 - 0.3 * j, presence))
        rows.append((2 * i, i / 29.97, [] if i == 5 else poses))
    return PoseTable.from_frames(LSP, rows, HEADER)


RAW = make()
FULL = smooth(track(RAW), OneEuro())
TABLES = {
    "raw": RAW,
    "tracked": track(RAW),
    "full": FULL,
    "empty": PoseTable.empty(LSP, HEADER),
    "nobody": PoseTable.from_frames(LSP, [(0, 0.0, []), (1, 0.1, [])], HEADER),
    "no-presence": make(3, None),
    "other": PoseTable.from_frames(Skeleton(("nose", "tail, long")), [(0, 0.5, [])], {"a": [1, None, "ü"]}),
}


@pytest.mark.parametrize("name", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("which", TABLES)
def test_a_table_comes_back_to_the_last_bit(name, which, tmp_path):
    table, path = TABLES[which], tmp_path / f"walk{formats.FORMATS[name].suffix}"
    assert formats.write(table, path) == []
    assert formats.read(path).equals(table, header=True)
    assert {file.name for file in tmp_path.iterdir()} <= {path.name, f"{path.name}.header.json"}


@pytest.mark.parametrize("name", formats.FORMATS)
@pytest.mark.parametrize("which", TABLES)
def test_every_format_takes_every_table_and_gives_what_it_holds(name, which, tmp_path):
    table, form = TABLES[which], formats.FORMATS[name]
    if which == "empty" and form.folder:
        return  # a folder without files could be anything
    path = tmp_path / f"walk{form.suffix}"
    formats.write(table, path)
    found = formats.read(path, skeleton=table.skeleton if "names" in form.drops else None)
    expected = table.select(table.people) if "empty" in form.drops else table
    np.testing.assert_array_equal(found.frame, expected.frame)
    np.testing.assert_array_equal(found.person, expected.person)
    np.testing.assert_array_equal(found.joints, expected.joints)
    np.testing.assert_array_equal(found.joint_scores, expected.joint_scores)
    if "times" not in form.drops:
        np.testing.assert_array_equal(found.time, expected.time)
    if which == "full":
        np.testing.assert_array_equal(found.track, expected.track)


def test_the_parquet_file_documents_itself(tmp_path):
    import pandas as pd
    import pyarrow.parquet as pq

    path = tmp_path / "walk.parquet"
    formats.write(FULL, path)
    schema = pq.read_schema(path)
    assert schema.names[:10] == [
        *("frame", "time", "person", "track", "box_x", "box_y", "box_width", "box_height", "score", "presence")
    ]
    assert {"left_knee_x", "left_knee_y", "left_knee_score", "left_knee_x_smooth", "left_knee_angle"} <= set(
        schema.names
    )
    assert all(schema.field(name).metadata[b"description"] for name in schema.names)
    about = json.loads(schema.metadata[b"poseglass"])
    assert about["header"]["source"]["name"] == "walk.mp4"
    assert about["skeleton"]["joints"] == list(LSP.joints)
    frame = pd.read_parquet(path)
    assert len(frame) == len(FULL)
    assert frame["neck_x"].isna().sum() == 3  # nobody in one frame, and no neck of two people in another


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux tells them")
def test_reading_parquet_leaves_no_workers_that_could_outlive_the_interpreter(tmp_path):
    formats.write(FULL, tmp_path / "walk.parquet")
    code = (
        "import os, sys, poseglass, pyarrow.parquet\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        "before = threads(); poseglass.load(sys.argv[1]); print(threads() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "walk.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 1  # Arrow's allocator may have one


def test_csv_is_tidy_for_anybody(tmp_path):
    import pandas as pd

    path = tmp_path / "walk.csv"
    formats.write(FULL, path)
    frame = pd.read_csv(path)
    assert frame["frame"].tolist() == FULL.frame.tolist()
    np.testing.assert_array_equal(frame["time"], FULL.time)
    np.testing.assert_array_equal(frame["left_knee_x"].astype(np.float32), FULL.joints[:, LSP.index("left_knee"), 0])
    (tmp_path / "walk.csv.header.json").unlink()
    bare = formats.read(path)
    assert bare.skeleton.joints == LSP.joints
    np.testing.assert_array_equal(bare.smoothed, FULL.smoothed)


def test_a_line_of_json_is_a_row(tmp_path):
    path = tmp_path / "walk.jsonl"
    formats.write(FULL, path)
    about, *rows = (json.loads(line) for line in path.read_text().splitlines())
    assert about["format"] == "poseglass.video/1"
    assert len(rows) == len(FULL)
    assert rows[0]["joints"]["neck"]["x"] == float(FULL.joints[0, LSP.index("neck"), 0])
    nobody = rows[int(np.flatnonzero(~FULL.people)[0])]
    assert nobody["person"] == -1
    assert nobody["joints"]["neck"] == dict.fromkeys(("x", "y", "score", "x_smooth", "y_smooth"))


def test_coco_results_are_a_list_by_image(tmp_path):
    path = tmp_path / "walk.coco.json"
    formats.write(FULL, path)
    entries = json.loads(path.read_text())
    assert len(entries) == FULL.people.sum()
    first = entries[0]
    assert (first["image_id"], first["category_id"]) == (0, 1)
    assert len(first["keypoints"]) == 42
    assert first["keypoints"][:2] == FULL.joints[0, 0].tolist()
    missing = next(entry for entry in entries if entry["image_id"] == 6)
    assert missing["keypoints"][3 * LSP.index("neck") :][:3] == [0, 0, 0]


def test_openpose_has_a_file_a_frame(tmp_path):
    path = tmp_path / "walk.openpose"
    formats.write(FULL, path)
    files = sorted(file.name for file in path.iterdir())
    assert files[0] == "walk_000000000000_keypoints.json"
    assert len(files) == FULL.frame_count
    people = json.loads((path / files[0]).read_text())["people"]
    assert [person["person_id"] for person in people] == [[0], [1]]
    assert people[0]["pose_keypoints_2d"][:2] == FULL.joints[0, 0].tolist()
    assert json.loads((path / "walk_000000000010_keypoints.json").read_text())["people"] == []
    formats.write(FULL.select(FULL.frame < 4), path)  # replaced as a whole
    assert len(list(path.iterdir())) == 2


def test_sleap_files_are_laid_out_as_sleaps(tmp_path):
    import h5py

    path = tmp_path / "walk.analysis.h5"
    formats.write(FULL, path)
    with h5py.File(path) as file:
        assert file["tracks"].shape == (2, 2, 14, 23)  # tracks, xy, nodes, frames
        assert file["track_occupancy"].shape == (23, 2)
        assert file["point_scores"].shape == (2, 14, 23)
        assert file["instance_scores"].shape == (2, 23)
        assert [name.decode() for name in file["node_names"]] == list(LSP.joints)
        assert [name.decode() for name in file["track_names"]] == ["track_0", "track_1"]
        assert file["edge_inds"].shape == (len(LSP.limbs), 2)
        locations = file["tracks"][:].T  # [frames, nodes, 2, tracks]: how SLEAP's own documentation reads it
    row = int(np.flatnonzero((FULL.frame == 4) & (FULL.track == 1))[0])
    np.testing.assert_array_equal(locations[4, :, :, 1], FULL.joints[row])
    assert np.isnan(locations[1]).all()


def test_a_sleap_file_of_others_is_read_too(tmp_path):
    import h5py

    path = tmp_path / "fly.h5"
    with h5py.File(path, "w") as file:
        file["tracks"] = np.arange(12.0).reshape(1, 2, 2, 3)
        file["track_occupancy"] = np.array([[1], [0], [1]])
        file["track_names"] = [b"female"]
        file["node_names"] = [b"head", b"left_wing"]
    table = formats.read(path)
    assert table.skeleton.joints == ("head", "left_wing")
    assert table.frame.tolist() == [0, 1, 2]
    assert table.person.tolist() == [0, -1, 0]
    assert table.joints[0].tolist() == [[0, 6], [3, 9]]


def test_what_a_format_drops_is_said():
    assert formats.losses(FULL, formats.FORMATS["parquet"]) == []
    coco = formats.losses(FULL, formats.FORMATS["coco"])
    assert "frames without anybody" in coco
    assert "smoothed joints" in coco
    assert "smoothed joints" not in formats.losses(RAW, formats.FORMATS["coco"])
    assert "presence" not in formats.losses(TABLES["no-presence"], formats.FORMATS["sleap"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(("a.parquet", "parquet"), ("A.PQ", "parquet"), ("a.csv", "csv"), ("a.ndjson", "jsonl")),
        *(("a.coco.json", "coco"), ("a.h5", "sleap"), ("a.openpose", "openpose")),
    ],
)
def test_formats_are_known_by_suffix(path, name):
    assert formats.format_of(path).name == name


def test_unknown_formats_are_refused_with_those_there_are():
    with pytest.raises(InvalidRequest, match="--format: must be one of parquet, csv"):
        formats.format_of("a.csv", "xlsx")
    with pytest.raises(InvalidRequest, match="'a.xlsx'.*\\.parquet"):
        formats.format_of("a.xlsx")


@pytest.mark.parametrize("name", formats.FORMATS)
@pytest.mark.parametrize("content", [b"", b"garbage\n1", b'{"a": 1}', b"[1, 2]"])
def test_a_file_that_is_none_is_refused_by_name(name, content, tmp_path):
    form = formats.FORMATS[name]
    path = tmp_path / f"broken{form.suffix}"
    if form.folder:
        path.mkdir()
        (path / "x_1_keypoints.json").write_bytes(content)
    else:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=f"broken.*cannot be read as {form.title}"):
        formats.read(path)


def test_a_cut_parquet_file_is_refused(tmp_path):
    path = tmp_path / "walk.parquet"
    formats.write(FULL, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidRequest, match=r"walk\.parquet: cannot be read as Parquet"):
        formats.read(path)
    with pytest.raises(InvalidRequest, match="no such file"):
        formats.read(tmp_path / "absent.parquet")


@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_full_disk_leaves_what_was_there(name, tmp_path, monkeypatch):
    import errno
    from pathlib import Path

    path = tmp_path / f"walk{formats.FORMATS[name].suffix}"
    formats.write(RAW, path)

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left") as error:
            formats.write(FULL, path)
    assert error.value.filename == str(path)
    found = formats.read(path, skeleton=LSP if "names" in formats.FORMATS[name].drops else None)
    assert found.smoothed is None
    assert len(found) >= RAW.people.sum()
    assert [file for file in tmp_path.iterdir() if "tmp" in file.name] == []


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    with pytest.raises(poseglass.MissingExtra, match=r"poseglass\[video\]"):
        whole.package("absent_package", "reading nothing")


def test_loading_gives_arrays_and_a_data_frame(tmp_path):
    path = tmp_path / "walk.parquet"
    formats.write(FULL, path)
    found = poseglass.load(path)
    assert found.table.equals(FULL)
    assert found.joints.shape == (len(FULL), 14, 2)
    assert found.header["counts"]["decoded"] == 12
    frame = found.to_pandas()
    assert frame["left_knee_angle"].iloc[0] == pytest.approx(FULL.pose(0, smoothed=True).angle("left_knee"), abs=1e-3)
    one = found.of_track(1)
    assert set(one.track.tolist()) == {1}
    assert one.save(tmp_path / "one.csv") == []
    assert poseglass.load(tmp_path / "one.csv").table.equals(one.table)
    with pytest.raises(ValueError, match="no tracks"):
        replace(found, table=RAW).of_track(0)


def run(*arguments, expect=0):
    result = CliRunner().invoke(cli.app, ["convert", *map(str, arguments)])
    assert result.exit_code == expect, (result.stdout, result.stderr, result.exception)
    return result


def test_convert_says_what_is_dropped(tmp_path):
    source = tmp_path / "walk.parquet"
    formats.write(FULL, source)
    assert run(source, tmp_path / "walk.csv").stderr == ""
    assert "smoothed joints" in run(source, tmp_path / "walk.coco.json").stderr
    run(tmp_path / "walk.csv", tmp_path / "again.parquet")
    assert formats.read(tmp_path / "again.parquet").equals(FULL, header=True)
    run(source, tmp_path / "folder.openpose")
    back = run(tmp_path / "folder.openpose", tmp_path / "back.bin", "--format", "sleap", "--skeleton", "lsp")
    assert "frames" in back.stdout


def test_convert_refuses_what_it_cannot_do(tmp_path):
    source = tmp_path / "walk.parquet"
    formats.write(FULL, source)
    assert "IN itself" in run(source, source, "--overwrite", expect=2).stderr
    (tmp_path / "walk.csv").write_text("mine")
    assert "--overwrite" in run(source, tmp_path / "walk.csv", expect=2).stderr
    run(source, tmp_path / "walk.csv", "--overwrite")
    assert "no such folder" in run(source, tmp_path / "no" / "walk.csv", expect=2).stderr
    assert "--skeleton" in run(source, tmp_path / "x.csv", "--skeleton", "horse", expect=2).stderr
    assert "--from" in run(source, tmp_path / "x.csv", "--from", "horse", expect=2).stderr
    assert "no such file" in run(tmp_path / "absent.csv", tmp_path / "x.csv", expect=2).stderr


def test_writing_parquet_does_not_load_pandas(tmp_path):
    """It would take a second and 50 MB of every run."""
    code = (
        "import sys; from pathlib import Path; from poseglass.video import formats; "
        "from poseglass.video.table import TableBuilder; from poseglass_core.skeleton import LSP; "
        "builder = TableBuilder(LSP); builder.add(0, 0.0); "
        f"formats.write(builder.build(), Path({str(tmp_path / 'x.parquet')!r}), 'parquet'); "
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert len(poseglass.load(tmp_path / "x.parquet")) == 1
