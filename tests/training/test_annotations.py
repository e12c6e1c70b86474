"""COCO keypoint files: what is read, and what is said of those that cannot be."""

import copy
import json

import numpy as np
import pytest

from poseglass_core.geometry import box_around
from poseglass_core.skeleton import LSP
from poseglass_training.annotations import FIXES, AnnotationError, audit, load_coco


@pytest.fixture
def content(figures_file):
    return json.loads(figures_file.read_text())


def read(tmp_path, content):
    path = tmp_path / "annotations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_coco(path)


def test_people_skeleton_and_pictures_are_read(figures_file, content):
    data = load_coco(figures_file)
    assert data.name == "figures"
    assert data.licence == "Apache-2.0"
    assert data.skeleton is LSP
    assert [person.id for person in data.people] == list(range(17, 25))
    first = data.people[0]
    assert first.image == figures_file.parent / "images" / "17.png"
    assert np.allclose(
        first.joints.ravel(), np.array(content["annotations"][0]["keypoints"]).reshape(-1, 3)[:, :2].ravel()
    )


def test_every_seventeenth_person_is_held_out(figures_file):
    train, dev = load_coco(figures_file).hold_out()
    assert [person.id for person in dev.people] == [17]
    assert [person.id for person in train.people] == list(range(18, 25))


def test_crowds_and_people_without_labels_are_passed_over(tmp_path, content):
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][1]["keypoints"] = [0] * 42
    del content["annotations"][2]["keypoints"]
    assert [person.id for person in read(tmp_path, content).people] == list(range(20, 25))


def test_labels_that_count_from_one_are_brought_to_pixel_centres(tmp_path, content):
    plain = read(tmp_path, content).people[0].joints
    content["info"]["keypoint_offset"] = [-1, -0.5]
    assert np.allclose(read(tmp_path, content).people[0].joints, plain + np.array([-1, -0.5]))


def test_unknown_joints_make_their_own_skeleton(tmp_path, content):
    content["categories"][0].update(keypoints=["left_ear", "right_ear", "tail"], skeleton=[[1, 3], [2, 3]])
    for annotation in content["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][:9]
    skeleton = read(tmp_path, content).skeleton
    assert skeleton.flip_pairs == (("left_ear", "right_ear"),)
    assert skeleton.reference == "box"
    assert skeleton.angles == {"tail": ("left_ear", "tail", "right_ear")}


def broken(change):
    def apply(content):
        content = copy.deepcopy(content)
        change(content)
        return content

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "{", "not a readable JSON file"),
        (lambda _: "[]", "not COCO keypoint JSON"),
        (broken(lambda c: c.pop("images")), "not COCO keypoint JSON .*images"),
        (broken(lambda c: c["images"][2].pop("file_name")), r"images\.2: 'file_name' is a required property"),
        (broken(lambda c: c["images"][2].update(id=17)), "images: id 17 is used more than once"),
        (broken(lambda c: c["annotations"][2].update(id="x")), r"annotations\.2\.id: 'x' is not of type 'integer'"),
        (broken(lambda c: c["annotations"][2].update(id=17)), "annotations: id 17 is used more than once"),
        (broken(lambda c: c["annotations"][2].update(category_id=9)), "annotation 19: category_id 9 is not in"),
        (broken(lambda c: c["info"].update(keypoint_offset=[float("nan"), 0])), "keypoint_offset: must be two finite"),
        (broken(lambda c: c["info"].update(keypoint_offset=[0, 0, 0])), r"keypoint_offset: \[0, 0, 0\] is too long"),
        (broken(lambda c: c["categories"][0].update(keypoints="abc")), "'abc' is not of type 'array'"),
        (
            broken(lambda c: c["categories"][0].update(flip_pairs=[["right_hip", "left_knee"]])),
            "flip_pairs: right_hip changes places with left_hip, not with left_knee",
        ),
        (lambda _: "[" * 100_000, "not a readable JSON file"),
        (broken(lambda c: c["categories"][0].pop("keypoints")), "no category lists `keypoints`"),
        (broken(lambda c: c["categories"][0]["keypoints"].__setitem__(1, "right_ankle")), "holds a name twice"),
        (broken(lambda c: c["categories"][0].update(skeleton=[[0, 1]])), "count the keypoints from 1"),
        (broken(lambda c: c["annotations"][3]["keypoints"].pop()), "annotation 20 has 41 keypoint numbers, not 3 x 14"),
        (
            broken(lambda c: c["annotations"][3]["keypoints"].__setitem__(0, float("nan"))),
            "annotation 20 .*finite",
        ),
        (broken(lambda c: c["annotations"][3]["keypoints"].__setitem__(0, 10**400)), "annotation 20 .*list of numbers"),
        (broken(lambda c: c["annotations"][3]["keypoints"].__setitem__(0, 1e300)), "annotation 20 .*finite"),
        (broken(lambda c: c["annotations"][3]["keypoints"].__setitem__(2, -1)), "annotation 20 has a keypoint whose v"),
        (broken(lambda c: c["annotations"][3].update(bbox=None)), "annotation 20: bbox must be four numbers"),
        (broken(lambda c: c["annotations"][3].update(image_id=99)), "annotation 20 is of image 99"),
        (broken(lambda c: c["annotations"][3].update(bbox=[0, 0, 0, 5])), "annotation 20: bbox width must be greater"),
    ],
)
def test_broken_files_are_refused_with_the_place(tmp_path, content, change, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, change(content))
    assert "annotations.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "kind", "people"),
    [
        (lambda c: c["annotations"][3]["keypoints"].pop(), "keypoints", 7),
        (lambda c: c["annotations"][3].update(image_id=99), "picture", 7),
        (lambda c: c["annotations"][3].update(bbox=[5, 5, -1, 5]), "box", 8),
    ],
)
def test_what_can_be_mended_is_mended_on_request(tmp_path, content, change, kind, people):
    change(content)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    data = load_coco(path, fix=[kind])
    assert len(data.people) == people
    if kind == "box":
        mended = next(person for person in data.people if person.id == 20)
        assert mended.box == box_around(mended.joints[mended.visible])
    with pytest.raises(AnnotationError, match=f"--fix {kind}"):
        load_coco(path, fix=[other for other in FIXES if other != kind])


def test_many_problems_are_counted_and_some_named(tmp_path, content):
    content["annotations"] *= 3
    for i, annotation in enumerate(content["annotations"]):
        content["annotations"][i] = {**annotation, "id": 100 + i, "bbox": [0, 0, 0, 0]}
    with pytest.raises(AnnotationError, match=r"box: 24 \(100, 101, .*109 and 14 more\)"):
        read(tmp_path, content)


def test_flip_pairs_must_pair(tmp_path, content):
    names = content["categories"][0]["keypoints"]
    names[names.index("left_wrist")] = "left_hand"
    with pytest.raises(AnnotationError, match="right_wrist has no left_wrist, left_hand has no right_hand"):
        read(tmp_path, content)
    content["categories"][0]["flip_pairs"] = [["left_hand", "right_wrist"]]
    assert read(tmp_path, content).skeleton.flip_pairs == (("left_hand", "right_wrist"),)
    content["categories"][0]["flip_pairs"] = [["left_hand", "right_hand"]]
    with pytest.raises(AnnotationError, match="right_hand"):
        read(tmp_path, content)


def test_labels_on_the_edge_are_inside_and_beyond_it_are_not(tmp_path, content, figures_file):
    content["annotations"][0]["keypoints"][:6] = [120.4, 50, 2, 122, 50, 2]  # of pictures that are 120 pixels wide
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    data, problems = audit(path, figures_file.parent / "images")
    assert [(problem.kind, problem.id) for problem in problems] == [("outside", 17)]
    assert "right_knee outside" in problems[0].text
    assert data.people[0].visible[:2].tolist() == [True, False]


def test_a_box_away_from_its_picture_is_a_problem_and_can_be_drawn_anew(tmp_path, content, figures_file):
    content["annotations"][0]["bbox"] = [5000, 5000, 10, 10]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    data, problems = audit(path, figures_file.parent / "images")
    assert [(problem.kind, problem.id) for problem in problems] == [("box", 17)]
    assert data.people[0].box == box_around(data.people[0].joints[data.people[0].visible])


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg", "n" * 5000])
def test_names_that_no_file_can_have_are_pictures_that_cannot_be_read(tmp_path, content, figures_file, name):
    content["images"][0]["file_name"] = name
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    _, problems = audit(path, figures_file.parent / "images")
    assert [(problem.kind, problem.id) for problem in problems] == [("picture", 17)]


def test_annotations_of_another_category_are_passed_over(tmp_path, content):
    content["categories"].append({"id": 2, "name": "dog", "keypoints": ["nose"]})
    content["annotations"][0].update(category_id=2, keypoints=[1, 2, 2])
    assert [person.id for person in read(tmp_path, content).people] == list(range(18, 25))


def test_a_byte_order_mark_is_nothing(tmp_path, content, figures_file):
    (tmp_path / "bom.json").write_text(json.dumps(content), "utf-8-sig")
    assert len(load_coco(tmp_path / "bom.json").people) == 8


def test_missing_files_and_folders_are_named(tmp_path, figures_file):
    with pytest.raises(AnnotationError, match=r"gone\.json: no such annotation file"):
        load_coco(tmp_path / "gone.json")
    with pytest.raises(AnnotationError, match="nowhere: no such folder of images"):
        load_coco(figures_file, tmp_path / "nowhere")
