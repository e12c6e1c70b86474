"""Result files in the tools they are meant for, where these are installed: pycocotools, pose-format, sleap-io."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow")

from poseglass import cli
from poseglass.video import formats
from poseglass.video.table import PoseTable
from poseglass.video.tracking import track
from poseglass_core.geometry import Box, box_around
from poseglass_core.poses import Pose
from poseglass_core.skeleton import LSP

RATE, FRAMES, EMPTY, MISSING = 25, 12, 5, 3
"""Frames a second, how many; the frame without anybody; the joint that the first person lacks in every frame."""


def somebody(centre: tuple[float, float], seed: int, known: int = len(LSP.joints)) -> Pose:
    rng = np.random.default_rng(seed)
    points = (rng.uniform(-40, 40, (14, 2)) + centre).astype(np.float32)
    here = [i for i in range(14) if known == 14 or i != MISSING]
    scores = rng.uniform(0.3, 1, 14).astype(np.float32)[here]
    box = box_around(points[here])
    names = tuple(LSP.joints[i] for i in here)
    return Pose(LSP, names, points[here], scores, Box(box.x, box.y, box.width, box.height), float(scores.mean()), 0.9)


@pytest.fixture(scope="module")
def table() -> PoseTable:
    """Two people over some frames, one of which is empty."""
    rows = [
        (i, i / RATE, [] if i == EMPTY else [somebody((100 + i, 80), 1, known=13), somebody((300 - i, 90), 2)])
        for i in range(FRAMES)
    ]
    return track(PoseTable.from_frames(LSP, rows))


@pytest.fixture
def converted(table, tmp_path):
    """The table as `poseglass convert` writes it, by suffix."""
    formats.write(table, tmp_path / "walk.parquet")

    def convert(suffix: str) -> Path:
        target = tmp_path / f"walk{suffix}"
        done = CliRunner().invoke(cli.app, ["convert", str(tmp_path / "walk.parquet"), str(target)])
        assert done.exit_code == 0, done.stderr
        return target

    return convert


def known(table: PoseTable, row: int) -> np.ndarray:
    return np.isfinite(table.joints[row]).all(axis=1)


def test_coco_results_in_pycocotools(table, converted):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    people = np.flatnonzero(table.people).tolist()
    truth = coco.COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": int(i), "width": 400, "height": 200} for i in np.unique(table.frame)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(LSP.joints)}],
        "annotations": [
            {
                "id": number + 1,
                "image_id": int(table.frame[row]),
                "category_id": 1,
                "iscrowd": 0,
                "bbox": table.box[row].tolist(),
                "area": float(table.box[row, 2] * table.box[row, 3]),
                "num_keypoints": int(known(table, row).sum()),
                "keypoints": np.column_stack([np.nan_to_num(table.joints[row]), 2 * known(table, row)])
                .reshape(-1)
                .tolist(),
            }
            for number, row in enumerate(people)
        ],
    }
    truth.createIndex()
    results = truth.loadRes(str(converted(".coco.json")))
    assert len(results.anns) == len(people)
    for row in people:
        found = results.loadAnns(results.getAnnIds(imgIds=[int(table.frame[row])]))
        ours = next(one for one in found if one["track_id"] == table.track[row])
        values = np.array(ours["keypoints"], np.float32).reshape(-1, 3)
        assert (values[known(table, row), :2] == table.joints[row, known(table, row)]).all()
        assert values[known(table, row), 2] == pytest.approx(table.joint_scores[row, known(table, row)])
        assert not values[~known(table, row)].any()
    judged = evaluation.COCOeval(truth, results, "keypoints")
    judged.params.kpt_oks_sigmas = np.full(len(LSP.joints), 0.08)
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1.0)  # AP of what it is compared with itself


def test_openpose_json_in_pose_format(table, converted):
    reader = pytest.importorskip("pose_format.utils.openpose")
    body = reader.load_openpose_directory(str(converted(".openpose")), fps=RATE, width=400, height=200).body
    assert body.data.shape[:2] == (FRAMES, 2)
    assert body.data.mask[EMPTY].all()
    for row in np.flatnonzero(table.people).tolist():
        frame, person = int(table.frame[row]), int(table.person[row])
        here = known(table, row)
        points = body.data[frame, person, : len(LSP.joints)]
        assert (points.data[here] == table.joints[row, here]).all()
        assert points.mask.all(axis=1).tolist() == (~here).tolist()
        assert body.confidence[frame, person, : len(LSP.joints)][here] == pytest.approx(table.joint_scores[row, here])


def test_sleap_analysis_in_sleap_io(table, converted):
    sleap = pytest.importorskip("sleap_io")
    labels = sleap.load_file(str(converted(".analysis.h5")))
    (skeleton,) = labels.skeletons
    assert tuple(skeleton.node_names) == LSP.joints
    assert [tuple(edge) for edge in skeleton.edge_inds] == [tuple(limb) for limb in LSP.limb_index]
    assert [one.name for one in labels.tracks] == ["track_0", "track_1"]
    frames = {one.frame_idx: one for one in labels}
    assert EMPTY not in frames or not len(frames[EMPTY].instances)
    for row in np.flatnonzero(table.people).tolist():
        name = f"track_{table.track[row]}"
        instance = next(one for one in frames[int(table.frame[row])].instances if one.track.name == name)
        assert np.array_equal(instance.numpy(), table.joints[row], equal_nan=True)
        assert instance.score == pytest.approx(table.score[row])
        scores = np.array([point["score"] for point in instance.points])
        here = known(table, row)
        assert scores[here] == pytest.approx(table.joint_scores[row, here])
