"""COCO keypoint files: what is read, and what is said of those that cannot be."""

import copy
import json

import numpy as np
import pytest

from poseglass_core.skeleton import LSP
from poseglass_training.annotations import AnnotationError, load_coco


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
        (broken(lambda c: c["categories"][0].pop("keypoints")), "no category lists `keypoints`"),
        (broken(lambda c: c["categories"][0]["keypoints"].__setitem__(1, "right_ankle")), "holds a name twice"),
        (broken(lambda c: c["categories"][0].update(skeleton=[[0, 1]])), "count the keypoints from 1"),
        (broken(lambda c: c["annotations"][3]["keypoints"].pop()), "annotation 20 has 41 keypoint numbers, not 3 x 14"),
        (
            broken(lambda c: c["annotations"][3]["keypoints"].__setitem__(0, float("nan"))),
            "annotation 20 .*finite",
        ),
        (broken(lambda c: c["annotations"][3].update(image_id=99)), "annotation 20 is of image 99"),
        (broken(lambda c: c["annotations"][3].update(bbox=[0, 0, 0, 5])), "annotation 20: bbox width must be greater"),
    ],
)
def test_broken_files_are_refused_with_the_place(tmp_path, content, change, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, change(content))
    assert "annotations.json" in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path, figures_file):
    with pytest.raises(AnnotationError, match=r"gone\.json: no such annotation file"):
        load_coco(tmp_path / "gone.json")
    with pytest.raises(AnnotationError, match="nowhere: no such folder of images"):
        load_coco(figures_file, tmp_path / "nowhere")
