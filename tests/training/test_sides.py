"""Exchanged sides: who is suspected, by what group, and what the mended file says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from poseglass_core.geometry import crop_affine, heatmap_affine, invert, transform
from poseglass_core.manifest import Manifest
from poseglass_core.poses import ModelRef
from poseglass_core.skeleton import COCO, LSP, Skeleton, skeleton_from_names
from poseglass_runtime.outputs import RawOutputs
from poseglass_training import commands
from poseglass_training.annotations import AnnotationError, load_coco
from poseglass_training.sides import MARGIN, describe_swaps, find_swaps, flip_groups, write_mended

LEGS, ARMS, ALL = flip_groups(LSP)


class Truth:
    """A network that knows where everybody's joints are: narrow Gaussians there, in plain and in mirrored crops.

    It is asked about one person after another, for the crop and then for its mirror image.
    """

    ref, provider = ModelRef("truth", 1, "0" * 64), "none"

    def __init__(self, people, skeleton=LSP, sigma=1.0):
        self.manifest = Manifest(
            "truth",
            1,
            "fake",
            skeleton,
            (128, 128),
            1.25,
            4,
            ("heatmaps",),
            "softmax",
            {"epsilon": 1e-6},
            {"meaning": "peak"},
        )
        self.sigma, self.asked, self.people = sigma, 0, people

    def run(self, crops):
        person, mirrored = self.people[self.asked // 2], self.asked % 2 == 1
        self.asked += 1
        to_cells = invert(heatmap_affine(4))
        cells = transform(to_cells, transform(crop_affine(person.box, (128, 128), 1.25), person.joints))
        if mirrored:
            cells = np.column_stack([31 - cells[:, 0], cells[:, 1]])[LSP.flip_index]
        y, x = np.mgrid[:32, :32]
        square = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
        maps = np.exp(-square / (2 * self.sigma**2))
        maps = (maps / maps.sum(axis=(1, 2), keepdims=True)).astype(np.float32)[None]
        order = [LSP.index(name) for name in self.manifest.skeleton.joints]
        return RawOutputs(maps[:, order], np.zeros((1, len(order), 2), np.float32), maps[:, order].max(axis=(2, 3)))


@pytest.fixture
def spread(figures_file, tmp_path):
    """The figures' file with joints where nobody's left and right meet, and its path; the pictures matter to no one."""
    content = json.loads(figures_file.read_text())
    content["licenses"] = [{"id": 3, "name": "kept"}]
    for annotation in content["annotations"]:
        annotation["keypoints"] = _standing()
        annotation["bbox"] = [10, 10, 100, 140]
    (tmp_path / "images").symlink_to(figures_file.parent / "images")
    path = tmp_path / "spread.json"
    path.write_text(json.dumps(content))
    return path


def _standing():
    """Sixty pixels between left and right, all joints in view."""
    height = {
        "ankle": 140,
        "knee": 115,
        "hip": 90,
        "wrist": 85,
        "elbow": 65,
        "shoulder": 45,
        "neck": 35,
        "head_top": 15,
    }
    x = {"left": 90, "right": 30}
    return [
        number
        for name in LSP.joints
        for number in (x.get(name.split("_")[0], 60), height[name.split("_", 1)[-1] if name in SIDED else name], 2)
    ]


SIDED = {name for pair in LSP.flip_pairs for name in pair}


def exchanged(path, groups):
    """The file with the groups of some ids exchanged by hand, written beside it."""
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        triples = np.array(annotation["keypoints"]).reshape(-1, 3)
        for group in groups.get(annotation["id"], ()):
            for a, b in group.pairs:
                triples[[a, b]] = triples[[b, a]]
        annotation["keypoints"] = triples.ravel().tolist()
    out = path.with_name("exchanged.json")
    out.write_text(json.dumps(content))
    return out


def test_groups_are_limbs_between_joints_with_a_side():
    assert [group.name for group in flip_groups(LSP)] == ["ankle, knee, hip", "wrist, elbow, shoulder", "all"]
    names = [group.name for group in flip_groups(COCO)]
    assert names == ["eye, ear", "ankle, knee, hip", "wrist, elbow, shoulder", "all"]
    for group in flip_groups(COCO):
        assert all(COCO.joints[a].startswith("left") and COCO.flip_index[a] == b for a, b in group.pairs)
    assert sorted(ALL.pairs) == sorted(LEGS.pairs + ARMS.pairs)


def test_one_group_without_limbs_and_none_without_sides():
    without = replace(COCO, limbs=())
    assert [(group.name, len(group.pairs)) for group in flip_groups(without)] == [("all", 8)]
    tail = skeleton_from_names(["l_paw", "l_toe", "r_paw", "r_toe", "tail"], [("l_paw", "l_toe"), ("r_paw", "tail")])
    assert [group.name for group in flip_groups(tail)] == ["all"]  # everything with a side is one part
    assert flip_groups(Skeleton(("nose", "tail"), (("nose", "tail"),))) == []


def test_exactly_the_exchanged_are_found_by_group(spread):
    truth = load_coco(spread).people
    by_hand = {18: (LEGS,), 20: (ARMS,), 21: (ALL,), 24: (LEGS, ARMS)}
    labels = load_coco(exchanged(spread, by_hand))
    done = []
    swaps = find_swaps(Truth(truth), labels, on_progress=lambda *progress: done.append(progress))
    assert [(swap.id, swap.group) for swap in swaps] == [(18, LEGS), (20, ARMS), (21, ALL), (24, ALL)]
    assert min(swap.margin for swap in swaps) > MARGIN
    assert done == [(i, 8) for i in range(1, 9)]
    assert find_swaps(Truth(truth), load_coco(spread)) == []


def test_the_figures_themselves_are_found_exchanged(figures_file):
    """Rendered figures, in every pose: those exchanged as a whole whose sides lie apart."""
    data = load_coco(figures_file)
    mirrored = [replace(person, joints=person.joints[LSP.flip_index]) for person in data.people]
    swaps = find_swaps(Truth(data.people), replace(data, people=mirrored))
    assert len(swaps) >= 4
    assert {swap.group for swap in swaps} <= {ALL, ARMS, LEGS}
    assert find_swaps(Truth(data.people), data) == []


def test_joints_that_lie_close_together_say_nothing(spread):
    content = json.loads(spread.read_text())
    for annotation in content["annotations"]:
        triples = np.array(annotation["keypoints"]).reshape(-1, 3)
        for a, b in LEGS.pairs:
            triples[[a, b], 0] = 63, 57  # seen from the side: less than a fifteenth of 140 pixels apart
        annotation["keypoints"] = triples.ravel().tolist()
    spread.write_text(json.dumps(content))
    truth = load_coco(spread).people
    sharp = Truth(truth, sigma=0.3)  # its heatmaps could tell them apart
    labels = load_coco(exchanged(spread, {18: (LEGS,), 20: (ARMS,), 21: (ALL,)}))
    assert [(swap.id, swap.group) for swap in find_swaps(sharp, labels)] == [(20, ARMS), (21, ARMS)]


def test_pairs_with_a_side_that_is_not_labelled_say_nothing(spread):
    content = json.loads(spread.read_text())
    for annotation in content["annotations"]:
        for joint in (LSP.index("left_wrist"), LSP.index("right_elbow")):
            annotation["keypoints"][3 * joint + 2] = 0
    spread.write_text(json.dumps(content))
    truth = load_coco(spread).people
    labels = load_coco(exchanged(spread, {18: (ARMS,), 20: (LEGS,)}))
    assert [(swap.id, swap.group) for swap in find_swaps(Truth(truth), labels)] == [(20, LEGS)]


def test_a_network_that_is_not_sure_suspects_nobody(spread):
    truth = load_coco(spread).people
    labels = load_coco(exchanged(spread, {18: (LEGS,), 21: (ALL,)}))
    assert find_swaps(Truth(truth, sigma=12.0), labels) == []
    assert find_swaps(Truth(truth), labels, margin=10.0) == []


def test_a_model_with_fewer_joints_in_another_order_judges_those_it_has(spread):
    truth = load_coco(spread).people
    legs = [LSP.joints[joint] for joint in reversed(LEGS.joints)]
    network = Truth(truth, skeleton_from_names(["neck", *legs]))
    network_flip = network.manifest.skeleton.flip_index
    assert [network.manifest.skeleton.joints[i] for i in network_flip] != list(network.manifest.skeleton.joints)
    labels = load_coco(exchanged(spread, {18: (LEGS,), 20: (ARMS,)}))
    assert [(swap.id, swap.group) for swap in find_swaps(network, labels)] == [(18, LEGS)]


def test_what_cannot_be_compared_is_said(spread, figures_file, tmp_path):
    data = load_coco(spread)
    plain = replace(data, skeleton=replace(LSP, flip_pairs=(), angles={}))
    with pytest.raises(AnnotationError, match="figures: no joint changes places in a mirror.*`flip_pairs`"):
        find_swaps(Truth(data.people), plain)
    lonely = Truth(data.people, skeleton_from_names(["neck", "left_knee"]))
    with pytest.raises(
        AnnotationError, match="share no pair of left and right joints: .*the model has neck, left_knee"
    ):
        find_swaps(lonely, data)
    gone = replace(data, people=[replace(data.people[0], image=tmp_path / "gone.png")])
    with pytest.raises(AnnotationError, match=r"gone\.png: the picture cannot be read"):
        find_swaps(Truth(data.people), gone)
    broken = replace(data, people=[replace(data.people[0], image=spread)])
    with pytest.raises(AnnotationError, match=r"spread\.json: is not a picture"):
        find_swaps(Truth(data.people), broken)


def test_the_mended_file_has_them_exchanged_and_is_otherwise_the_same(spread, tmp_path):
    path = exchanged(spread, {18: (LEGS,), 21: (ALL,)})
    swaps = find_swaps(Truth(load_coco(spread).people), load_coco(path))
    out = tmp_path / "mended.json"
    write_mended(path, out, swaps)
    assert json.loads(path.read_text()) != json.loads(spread.read_text())
    assert json.loads(out.read_text()) == json.loads(spread.read_text())
    assert not list(tmp_path.glob(".*"))


def test_labels_are_exchanged_with_their_visibility(spread, tmp_path):
    content = json.loads(spread.read_text())
    knees = [LSP.index("left_knee"), LSP.index("right_knee")]
    content["annotations"][1]["keypoints"][3 * knees[0] + 2] = 1
    spread.write_text(json.dumps(content))
    path = exchanged(spread, {18: (LEGS,)})
    write_mended(path, tmp_path / "mended.json", find_swaps(Truth(load_coco(spread).people), load_coco(path)))
    assert json.loads((tmp_path / "mended.json").read_text()) == content


def test_files_that_cannot_be_mended_stay_as_they_are(spread, tmp_path):
    path = exchanged(spread, {18: (LEGS,)})
    swaps = find_swaps(Truth(load_coco(spread).people), load_coco(path))
    before = path.read_bytes()
    (tmp_path / "link.json").symlink_to(path)
    for same in (path, tmp_path / "link.json"):
        with pytest.raises(AnnotationError, match="is the input; name another file"):
            write_mended(path, same, swaps)
    with pytest.raises(AnnotationError, match="nowhere: no such folder to write into"):
        write_mended(path, tmp_path / "nowhere" / "out.json", swaps)
    assert path.read_bytes() == before
    content = json.loads(before)
    content["annotations"].append(content["annotations"][1])
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match="2 annotations have id 18; give each its own"):
        write_mended(path, tmp_path / "out.json", swaps)
    assert not (tmp_path / "out.json").exists()


@pytest.fixture
def check(spread, monkeypatch):
    """Runs `poseglass check` with a model that knows the truth."""
    from poseglass_runtime.predictor import Predictor

    truth = load_coco(spread).people
    monkeypatch.setattr(commands.annotations, "local_predictor", lambda _model, _device: Predictor(Truth(truth)))
    app = typer.Typer()
    app.command()(commands.check)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_check_lists_suspicions_and_still_passes(check, spread, tmp_path):
    path = exchanged(spread, {18: (LEGS,), 20: (LEGS,), 21: (ALL,)})
    out = tmp_path / "mended.json"
    result = check(path, "--model", "truth", "--mended", out)
    assert result.exit_code == 0, result.output
    assert "8 people with 14 joints can be used" in result.stdout
    assert "3 people seem to have left and right exchanged" in result.stdout
    lines = result.stdout.splitlines()
    assert any(line.startswith("  ankle, knee, hip: 2: 18 (") and " 20 (" in line for line in lines)
    assert any(line.startswith("  all: 1: 21 (") for line in lines)
    assert str(out) in lines[-1]
    assert json.loads(out.read_text()) == json.loads(spread.read_text())


def test_check_says_where_nobody_is_suspected_and_still_writes_the_copy(check, spread, tmp_path):
    result = check(spread, "--model", "truth", "--mended", tmp_path / "copy.json")
    assert result.exit_code == 0, result.output
    assert "nobody seems to have left and right exchanged" in result.stdout
    assert json.loads((tmp_path / "copy.json").read_text()) == json.loads(spread.read_text())
    assert "margin" not in describe_swaps([])


def test_the_margin_is_the_callers(check, spread):
    path = exchanged(spread, {18: (LEGS,)})
    result = check(path, "--model", "truth", "--margin", 10)
    assert result.exit_code == 0, result.output
    assert "nobody seems to" in result.stdout


def test_other_problems_still_fail_the_check(check, spread):
    path = exchanged(spread, {18: (LEGS,)})
    content = json.loads(path.read_text())
    content["annotations"][5]["bbox"] = [10, 10, 0, 140]
    path.write_text(json.dumps(content))
    result = check(path, "--model", "truth")
    assert result.exit_code == 1
    assert "box: 1 (22)" in result.stdout
    assert "ankle, knee, hip: 1: 18 (" in result.stdout


def test_wrong_requests_are_answered_in_one_line(check, spread, tmp_path):
    for arguments, message in (
        (("--mended", tmp_path / "out.json"), "--mended needs --model"),
        (("--model", "truth", "--mended", spread), "is the input; name another file"),
        (("--model", "truth", "--mended", tmp_path / "no" / "out.json"), "no such folder to write into"),
    ):
        result = check(spread, *arguments)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert message in result.stderr
    assert not (tmp_path / "out.json").exists()


def test_a_real_model_is_asked_and_an_unknown_one_refused(tiny_model_path, figures_file):
    app = typer.Typer()
    app.command()(commands.check)
    result = CliRunner().invoke(app, [str(figures_file), "--model", str(tiny_model_path), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "left and right exchanged" in result.stdout
    result = CliRunner().invoke(app, [str(figures_file), "--model", "no-such-model"])
    assert result.exit_code == 2
    assert "no shipped model is called 'no-such-model'" in result.stderr
