"""Other annotation formats: what is read from them is what COCO JSON then says."""

import json

import cv2
import numpy as np
import pytest
import typer
from scipy.io import savemat
from typer.testing import CliRunner

from poseglass_core.skeleton import LSP
from poseglass_training import commands
from poseglass_training.annotations import load_coco


@pytest.fixture
def import_(tmp_path):
    """Runs `poseglass import` into a folder that holds a picture."""
    (tmp_path / "images").mkdir()
    for name in ("im0001.jpg", "im00001.jpg", "a.jpg"):
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((200, 300, 3), np.uint8))
    app = typer.Typer()
    app.command()(commands.import_annotations)
    out = tmp_path / "out.json"

    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments), "--out", str(out)]), out

    return run


def some_joints(flags):
    """[14, 3] of a person whose joint j is at (10 + j, 30 + 2 j), counted from 1."""
    index = np.arange(14)
    return np.column_stack([10 + index, 30 + 2 * index, flags]).astype(float)


def test_lsp_flags_what_is_covered(import_, tmp_path):
    flags = np.arange(14) % 2
    savemat(tmp_path / "joints.mat", {"joints": np.stack([some_joints(flags).T] * 3, axis=2)})
    result, out = import_("lsp", tmp_path / "joints.mat")
    assert result.exit_code == 0, result.output
    assert "3 people" in result.stdout
    data = load_coco(out)
    assert data.skeleton == LSP
    assert [person.image.name for person in data.people] == ["im0001.jpg", "im0002.jpg", "im0003.jpg"]
    person = data.people[0]
    assert person.visible.all()  # covered joints are labelled
    assert np.array_equal(person.joints, some_joints(flags)[:, :2] - 1)
    content = json.loads(out.read_text())
    assert content["annotations"][0]["keypoints"][2::3] == [2, 1] * 7
    assert content["images"][0] == {"id": 1, "file_name": "im0001.jpg", "width": 300, "height": 200}


def test_lspet_flags_what_is_labelled(import_, tmp_path):
    flags = np.arange(14) % 2
    savemat(tmp_path / "joints.mat", {"joints": np.stack([some_joints(flags)] * 2, axis=2)})
    _, out = import_("lsp", tmp_path / "joints.mat")
    person = load_coco(out).people[0]
    assert person.image.name == "im00001.jpg"
    assert person.visible.tolist() == [False, True] * 7
    low, high = person.joints[person.visible].min(axis=0), person.joints[person.visible].max(axis=0)
    assert person.box.x < low[0]
    assert person.box.x + person.box.width > high[0]


def struct(**fields):
    return np.array(tuple(fields.values()), dtype=[(name, object) for name in fields])


def structs(values):
    return np.array([value[()] for value in values], dtype=values[0].dtype)


def test_mpii(import_, tmp_path):
    points = [
        struct(x=100.0, y=50.0, id=9, is_visible=np.array([])),
        struct(x=90.0, y=80.0, id=12, is_visible=1),
        struct(x=111.0, y=81.0, id=13, is_visible=0),
    ]
    person = struct(annopoints=struct(point=structs(points)), scale=0.5, objpos=struct(x=100.0, y=70.0))
    nobody = struct(annopoints=np.array([]), scale=np.array([]), objpos=np.array([]))
    pictures = [
        struct(image=struct(name="a.jpg"), annorect=structs([person, nobody])),
        struct(image=struct(name="test.jpg"), annorect=structs([person])),
        struct(image=struct(name="b.jpg"), annorect=np.array([])),
    ]
    savemat(tmp_path / "mpii.mat", {"RELEASE": struct(annolist=structs(pictures), img_train=np.array([1, 0, 1]))})
    result, out = import_("mpii", tmp_path / "mpii.mat")
    assert result.exit_code == 0, result.output
    data = load_coco(out)
    (found,) = data.people
    assert found.image.name == "a.jpg"
    assert (found.box.x, found.box.y, found.box.width, found.box.height) == (50, 20, 100, 100)
    assert np.flatnonzero(found.visible).tolist() == [9, 12, 13]
    assert found.joints[9].tolist() == [99, 49]
    assert ("left_shoulder", "right_shoulder") in [tuple(sorted(pair)) for pair in data.skeleton.flip_pairs]
    assert json.loads(out.read_text())["annotations"][0]["keypoints"][3 * 13 + 2] == 1  # covered


@pytest.mark.parametrize(("count_from", "moved"), [(0, 0), (1, 1)])
def test_lines_of_text(import_, tmp_path, count_from, moved):
    (tmp_path / "dogs.txt").write_text("# nose, tail\na.jpg 10 20 110 80 15.5 30 -1 -1\n\na.jpg 0 0 50 50 1 2 3 4\n")
    result, out = import_("text", tmp_path / "dogs.txt", "--joints", "nose, tail", "--count-from", count_from)
    assert result.exit_code == 0, result.output
    data = load_coco(out)
    assert data.skeleton.joints == ("nose", "tail")
    first, second = data.people
    assert (first.box.x, first.box.y, first.box.width, first.box.height) == (10, 20, 100, 60)
    assert first.visible.tolist() == [True, False]
    assert first.joints[0].tolist() == [15.5 - moved, 30 - moved]
    assert second.image == first.image
    assert len(json.loads(out.read_text())["images"]) == 1


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("text", "a.jpg 1 2 3 4 5 6\n", "line 1 has 6 numbers, not a box's 4 and 2 for each of 16 joints"),
        ("text", "a.jpg 1 2 x\n", "line 1: could not convert"),
        ("text", "", "nobody is in it"),
        ("lsp", "no", "not a MATLAB file"),
        ("mpii", None, "no such file"),
    ],
)
def test_files_of_another_form_are_refused(import_, tmp_path, kind, content, message):
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    result, out = import_(kind, path)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "file" in result.stderr
    assert not out.exists()


def test_other_matlab_files_are_refused(import_, tmp_path):
    savemat(tmp_path / "other.mat", {"joints": np.zeros((2, 2))})
    for kind, message in (("lsp", "must be 3 x 14 x N"), ("mpii", "not MPII's annotations")):
        result, _ = import_(kind, tmp_path / "other.mat")
        assert result.exit_code == 2
        assert message in result.stderr
    named, _ = import_("lsp", tmp_path / "other.mat", "--joints", "a,b")
    assert "text files" in named.stderr


def test_the_input_is_not_overwritten(import_, tmp_path):
    (tmp_path / "out.json").write_text("a.jpg 10 10 80 140 30 40 50 60\n")
    result, out = import_("text", tmp_path / "out.json", "--joints", "a,b")
    assert result.exit_code == 2
    assert "is the input; name another file" in result.stderr
    assert out.read_text() == "a.jpg 10 10 80 140 30 40 50 60\n"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"people": np.zeros(3)}, "holds no variable `joints`"),
        ({"joints": "hello"}, "`joints` must be an array of numbers"),
        ({"joints": {"x": 1}}, "`joints` must be an array of numbers"),
        ({"joints": np.full((3, 14, 2), np.nan)}, "not at a finite number of pixels"),
    ],
)
def test_matlab_files_of_something_else_are_refused_in_one_line(import_, tmp_path, variables, message):
    savemat(tmp_path / "joints.mat", variables)
    result, out = import_("lsp", tmp_path / "joints.mat")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not out.exists()


def test_names_in_lines_of_text_may_have_spaces_in_quotes_and_a_byte_order_mark(import_, tmp_path):
    (tmp_path / "lines.txt").write_text('"my a.jpg" 10 10 80 140 30 40 50 60\n', "utf-8-sig")
    _, out = import_("text", tmp_path / "lines.txt", "--joints", "a,b")
    assert json.loads(out.read_text())["images"][0]["file_name"] == "my a.jpg"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg 80 10 10 140 30 40 50 60", "line 1: x_max and y_max of the box must be beyond"),
        ("a.jpg 10 10 80 140 inf 40 50 60", "line 1 has a number that is not a finite number"),
        ('"a.jpg 10 10 80 140 30 40 50 60', "line 1: No closing quotation"),
    ],
)
def test_lines_that_cannot_be_meant_are_refused(import_, tmp_path, line, message):
    (tmp_path / "lines.txt").write_text(line + "\n")
    result, out = import_("text", tmp_path / "lines.txt", "--joints", "a,b")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not out.exists()
