"""The report of an evaluation: its figures, its page, and the command that writes it."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from poseglass_core.drawing import LEFT, RIGHT
from poseglass_core.metrics import Comparison
from poseglass_core.poses import ModelRef, Pose, Prediction
from poseglass_core.skeleton import LSP, Skeleton
from poseglass_training.annotations import AnnotationError, KeypointData, load_coco
from poseglass_training.evaluation import evaluate
from poseglass_training.pasting import Pasting, backgrounds_of
from poseglass_training.report import write_report
from poseglass_training.report.analysis import CURVE, analyse, trunk_angles
from poseglass_training.report.tiles import LABEL, MISS, SIDE, draw_row

REF = ModelRef("fake", 1, "0" * 64)

FIGURES = ("thresholds", "curve", "joint_curves", "mirrored", "pckh", "oks", "joints", "sizes", "rotations", "worst")


@pytest.fixture(scope="module")
def data(figures_file):
    return load_coco(figures_file)


def measured(data, off=lambda i: 0.0, names=None, pasting=None):
    """An evaluation in which person i's joints are that many torsos off to the right; None: not found."""
    order = iter(range(len(data.people)))
    skeleton = data.skeleton

    def predict(content, request):
        i = next(order)
        if off(i) is None:
            return Prediction([], content.shape[:2], REF, "fake")
        joints = data.people[i].joints
        torso = np.linalg.norm(joints[skeleton.index("left_shoulder")] - joints[skeleton.index("right_hip")])
        points = (joints + np.array([off(i) * torso, 0])).astype(np.float32)
        kept = names or skeleton.joints
        points = points[[skeleton.index(name) for name in kept]]
        scores = np.full(len(kept), 0.5 + i / 20, np.float32)
        pose = Pose(Skeleton(tuple(kept)), tuple(kept), points, scores, data.people[i].box, 1.0)
        return Prediction([pose], content.shape[:2], REF, "fake")

    return evaluate(predict, data, pasting=pasting)


def test_curves_are_right_from_the_threshold_on(data):
    analysis = analyse(measured(data, lambda i: 0.26))
    assert (CURVE[0], CURVE[6], CURVE[-1]) == (0.05, 0.2, 0.5)
    assert [point.pck for point in analysis.curve] == [100.0 if t > 0.26 else 0.0 for t in CURVE]
    assert analysis.mirrored[0] == ("right_shoulder", "left_hip")
    perfect = analyse(measured(data))
    assert {point.pck for point in (*perfect.curve, *perfect.mirrored[1])} == {100.0}
    assert (perfect.head.pck, perfect.oks.ap) == (100, pytest.approx(100))
    assert perfect.worst == ()


def test_the_other_diagonal_and_the_head_have_their_own_lengths(data):
    evaluation = measured(data, lambda i: 0.2)
    kept = evaluation.comparison
    for pair, limit in ((("right_shoulder", "left_hip"), 0.2), (("neck", "head_top"), 0.5)):
        a, b = (kept.truth[:, LSP.index(name)] for name in pair)
        lengths = np.linalg.norm(a - b, axis=1)
        counted = np.isfinite(kept.lengths) & (lengths >= 8)
        right = 0.2 * kept.lengths[counted] <= limit * lengths[counted]
        analysis = analyse(evaluation)
        result = analysis.mirrored[1][CURVE.index(0.2)] if limit == 0.2 else analysis.head
        assert result.people == counted.sum()
        assert result.pck == pytest.approx(100 * right.mean())


def test_joints_by_name(data):
    rows = {row.joint: row for row in analyse(measured(data, lambda i: 0.15)).joints}
    assert list(rows) == list(LSP.joints)
    neck = rows["neck"]
    assert (neck.pck, neck.pck_half) == (100, 0)
    assert neck.median_error == pytest.approx(0.15, abs=1e-3)
    assert neck.labelled == measured(data).result.people


def test_angles_of_the_trunk():
    hips, neck, shoulders = [[-10.0, 0.0], [10.0, 0.0]], [0.0, -50.0], [[-20.0, -40.0], [20.0, -40.0]]
    upright = np.zeros((14, 2))
    for names, points in (
        (("left_hip", "right_hip"), hips),
        (("neck",), [neck]),
        (("left_shoulder", "right_shoulder"), shoulders),
    ):
        upright[[LSP.index(name) for name in names]] = points
    turns = np.radians([0, 30, -30, 90, 180])
    truth = np.stack([upright @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) for t in turns])
    seen = np.ones((5, 14), bool)
    seen[1, LSP.index("neck")] = False  # the middle of the shoulders instead
    seen[3, LSP.index("left_hip")] = False
    seen_boxes = np.ones((5, 4))
    compared = Comparison(LSP, LSP.joints, truth, seen * 1.0, truth, seen, seen_boxes, np.ones(5))
    angles = trunk_angles(compared)
    assert angles[[0, 1, 2, 4]] == pytest.approx([0, 30, 30, 180])
    assert np.isnan(angles[3])


def test_groups_share_out_everybody_counted(data):
    evaluation = measured(data, lambda i: 0.1 * i)
    analysis = analyse(evaluation)
    people = evaluation.result.people
    sizes = [group.result.people for group in analysis.sizes]
    assert sum(sizes) == people
    assert max(sizes) - min(sizes) <= 1
    assert sum(group.result.people for group in analysis.rotations) + analysis.trunkless == people
    rate = sum(group.result.pck * group.result.people for group in analysis.sizes) / people
    assert rate == pytest.approx(evaluation.result.pck)


def test_the_worst_come_first_and_those_without_a_mistake_do_not(data):
    off = [0.0, 0.3, 5.0, 0.1, None, 0.9, 0.0, 0.25]
    evaluation = measured(data, lambda i: off[i])
    assert evaluation.result.left_out == 0
    worst = analyse(evaluation).worst
    assert [person.row for person in worst] == [4, 2, 5, 1, 7]
    assert {(person.wrong, person.labelled) for person in worst} == {(14, 14)}
    assert worst[0].mean_error == float("inf")
    assert (worst[1].image, worst[1].id) == ("19.png", 19)


def test_tiles_show_the_joints_where_they_are(data):
    def drawn(off):
        """Which colours are in the tile, give or take what softens the edges of lines."""
        tile = draw_row(measured(data, lambda i: off), 2)
        assert tile.shape == (SIDE, SIDE, 3)
        close = {c: (np.abs(tile - np.array(c)).max(axis=2) < 40).sum() for c in (LABEL, MISS, LEFT, RIGHT)}
        return {colour for colour, pixels in close.items() if pixels > 50}

    assert drawn(0.3) == {LABEL, MISS, LEFT, RIGHT}
    assert drawn(0.1) == {LABEL, LEFT, RIGHT}
    assert drawn(None) == {LABEL}


def test_tiles_of_pasted_pictures_are_of_what_was_shown(data, tmp_path):
    plain = np.full((400, 500, 3), 77, np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), plain)
    pasting = Pasting(backgrounds_of(tmp_path), "grey")
    evaluation = measured(data, lambda i: None, pasting=pasting)
    row = 3
    tile = draw_row(evaluation, row, pasting)
    labels = evaluation.comparison.truth[row]
    assert np.ptp(labels[:, 1]) < 0.4 * np.ptp(data.people[row].joints[:, 1])  # a third of the size
    assert (tile != 77).any(axis=2).mean() > 0.9  # the pasted picture fills the tile, not its background
    assert (draw_row(evaluation, row) != tile).any()


class Page(HTMLParser):
    """Open elements, addresses and headings of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in {"meta", "img", "path", "use", "rect", "line", "br"}:
            self.open.append(tag)
        self.addresses += [value for name, value in attributes if name in {"src", "href", "xlink:href", "srcset"}]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_holds_everything_itself(data, tmp_path):
    off = [0.0, 0.3, 5.0, 0.1, None, 0.9, 0.0, 0.25]
    sly = replace(data, name="<b>sly</b>")
    page = write_report(measured(sly, lambda i: off[i]), tmp_path / "new" / "report", "dev")
    assert sorted(file.name for file in page.parent.iterdir()) == ["report.html", "report.json"]
    text = page.read_text("utf-8")
    parsed = Page(text)
    assert parsed.open == []
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in parsed.addresses)
    assert parsed.tags.count("img") == 5
    assert parsed.tags.count("svg") == 5
    assert "script" not in parsed.tags
    assert not re.search(r"url\((?!#)", text)
    assert "<b>sly" not in text
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    assert "#010203" not in text

    figures = json.loads((page.parent / "report.json").read_text())
    assert set(FIGURES) <= set(figures)
    assert figures["subset"] == "dev"
    assert figures["worst"][0]["mean_error"] is None
    assert figures["curve"][CURVE.index(0.2)] == {"pck": figures["pck"], "interval": figures["interval"]}
    assert {row["joint"]: row["pck"] for row in figures["joints"]} == pytest.approx(figures["per_joint"], abs=0.01)
    assert all(curve[CURVE.index(0.2)] == figures["per_joint"][name] for name, curve in figures["joint_curves"].items())


def test_the_same_evaluation_gives_the_same_page(data, tmp_path):
    evaluation = measured(data, lambda i: 0.1 * i)
    first, second = (write_report(evaluation, tmp_path / name, "all").read_bytes() for name in ("a", "b"))
    assert first == second


def test_skeletons_without_sigmas_head_or_torso_have_a_shorter_report(data, tmp_path):
    thing = Skeleton(("left_shoulder", "right_hip"))
    columns = [LSP.index(name) for name in thing.joints]
    people = [replace(p, joints=p.joints[columns], visible=p.visible[columns]) for p in data.people]
    page = write_report(measured(KeypointData("things", thing, people)), tmp_path, "all")
    figures = json.loads((tmp_path / "report.json").read_text())
    assert [figures[name] for name in ("mirrored", "pckh", "oks", "limbs")] == [None] * 4
    assert figures["rotations"] == []
    assert figures["rotation_unknown"] == figures["people"] == 8
    text = page.read_text()
    assert "OKS" not in text
    assert "PCKh" not in text


def test_only_joints_that_both_name_are_reported(data, tmp_path):
    names = tuple(name for name in LSP.joints if name not in ("neck", "head_top"))
    page = write_report(measured(data, names=names), tmp_path, "all")
    figures = json.loads((tmp_path / "report.json").read_text())
    assert [row["joint"] for row in figures["joints"]] == list(names)
    assert "only the data has them: neck, head_top" in page.read_text()


def test_nothing_to_report_is_refused(data, tmp_path):
    visible = np.isin(LSP.joints, LSP.reference)
    people = [replace(person, visible=visible) for person in data.people]
    evaluation = measured(replace(data, people=people), names=("neck",))
    with pytest.raises(AnnotationError, match="nothing to report"):
        write_report(evaluation, tmp_path / "report", "all")
    assert not (tmp_path / "report").exists()


def command(arguments, without):
    code = (
        f"import sys\nfor name in {without!r}: sys.modules[name] = None\n"
        "import typer; from poseglass.commands.connection import with_connection\n"
        "from poseglass_training.commands import evaluate\n"
        "app = typer.Typer(); app.command()(with_connection(evaluate)); app()"
    )
    arguments = [str(argument) for argument in arguments]
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_the_command_writes_a_report_without_torch(tiny_model_path, figures_file, tmp_path):
    out = tmp_path / "report"
    arguments = [tiny_model_path, "--data", figures_file, "--device", "cpu", "--report", out, "--json"]
    run = command([*arguments, "--subset", "held-out"], ["torch"])
    assert run.returncode == 0, run.stderr
    printed, written = json.loads(run.stdout), json.loads((out / "report.json").read_text())
    assert printed["people"] + printed["left_out"] == 1  # picture 20
    assert written["subset"] == printed["subset"] == "held-out"
    assert written["limbs"] == printed["limbs"]
    assert str(out / "report.html") in run.stderr
    assert "20.png" in (out / "report.html").read_text()


def test_without_matplotlib_only_the_report_is_refused(tiny_model_path, figures_file, tmp_path):
    arguments = [tiny_model_path, "--data", figures_file, "--device", "cpu", "--json"]
    run = command(arguments, ["torch", "matplotlib"])
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["limbs"]["pck"] >= 0
    run = command([*arguments, "--report", tmp_path / "report"], ["torch", "matplotlib"])
    assert run.returncode == 2
    assert 'needs matplotlib, which is not installed; install it with: pip install "poseglass[training]"' in run.stderr
    assert not (tmp_path / "report").exists()
