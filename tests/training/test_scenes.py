"""Scenes: pictures with everybody's boxes, and what is cut out of them."""

import json

import cv2
import numpy as np
import pytest

from poseglass_core.geometry import Box
from poseglass_training.annotations import AnnotationError
from poseglass_training.crops import Augmentation
from poseglass_training.scenes import Scene, WithNobody, draw_crops, load_scenes, split
from poseglass_training.synthetic import SyntheticCrops


def test_scenes_tell_people_from_what_is_to_be_avoided(scenes_file):
    scenes = load_scenes(scenes_file)
    assert [len(scene.people) for scene in scenes] == [0, 1] * 5
    assert scenes[1].people == (Box(20, 40, 60, 100),)
    assert scenes[1].avoid == (Box(200, 0, 40, 40),)


def test_windows_without_people_are_without_people(scenes_file):
    crops, person = draw_crops(load_scenes(scenes_file), (32, 32), 1.25, each=4, seed=0)
    bright = (crops.max(axis=3) > 150).mean(axis=(1, 2))
    assert person.sum() == 5
    assert (~person).sum() >= 20
    assert (bright[person] > 0.15).all()
    assert (bright[~person] < 0.15).all()


def test_crops_are_a_function_of_the_seed(scenes_file):
    scenes = load_scenes(scenes_file)[:4]
    first, again, other = (draw_crops(scenes, (32, 32), 1.25, 1, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_of_several_categories_only_people_count(scenes_file):
    content = json.loads(scenes_file.read_text())
    for i, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = 2 if i else 1
    content["categories"] = [{"id": 1, "name": "person"}, {"id": 2, "name": "horse"}]
    scenes_file.write_text(json.dumps(content))
    assert [len(scene.people) + len(scene.avoid) for scene in load_scenes(scenes_file)] == [0, 1] + [0] * 8
    content["categories"][0]["name"] = "mule"
    scenes_file.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=r"\(mule, horse\) none is called 'person'"):
        load_scenes(scenes_file)


@pytest.mark.parametrize(
    ("what", "change", "says"),
    [
        ("images", {"id": "7"}, "the id of a picture must be a whole number, not '7'"),
        ("annotations", {"id": 5, "image_id": 77}, "annotation 5 is of image 77, which is not in `images`"),
        ("annotations", {"id": 5, "bbox": [1, 2, -30, 40]}, "annotation 5: bbox width must be greater than 0"),
        ("annotations", {"id": 5, "bbox": [float("nan"), 2, 3, 4]}, "annotation 5: bbox x must be a finite number"),
        ("annotations", {"id": 5, "bbox": [1, 2, 3]}, "annotation 5: bbox must be four numbers"),
    ],
)
def test_what_is_wrong_in_a_scenes_file_is_named(scenes_file, what, change, says):
    content = json.loads(scenes_file.read_text())
    content[what][0] |= change
    scenes_file.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=says):
        load_scenes(scenes_file)


def test_a_box_of_no_size_is_nobody(scenes_file):
    content = json.loads(scenes_file.read_text())
    content["annotations"] = [{"id": 1, "image_id": content["images"][0]["id"], "bbox": [5, 5, 0, 9]}]
    scenes_file.write_text(json.dumps(content))
    assert all(scene.empty for scene in load_scenes(scenes_file))


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 9, 9]}]}']
)
def test_a_broken_scenes_file_is_named(tmp_path, content):
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(AnnotationError, match=r"broken\.json"):
        load_scenes(tmp_path / "broken.json")


def test_a_missing_picture_of_a_scene_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"gone\.png"):
        draw_crops([Scene(1, tmp_path / "gone.png", ())], (32, 32), 1.25, 1, 0)
    with pytest.raises(AnnotationError, match=r"gone\.png"):
        WithNobody(SyntheticCrops(2, 1.25), [Scene(1, tmp_path / "gone.png", ())], 0.5, Augmentation())


def test_every_fifth_picture_is_never_learned_from(scenes_file):
    learn, judge = split(load_scenes(scenes_file))
    assert [scene.id for scene in judge] == [5, 10]
    assert [scene.id for scene in learn] == [1, 2, 3, 4, 6, 7, 8, 9]


def test_samples_of_nobody_are_mixed_in(scenes_file):
    people = SyntheticCrops(12, 1.25)
    mixed = WithNobody(people, load_scenes(scenes_file), 0.4, Augmentation(flip=0.5, rotation=20, rotated=1))
    assert len(mixed) == 20
    for index in range(12):
        ours, own = mixed.sample(0, index, (64, 64)), people.sample(0, index, (64, 64))
        assert not ours.nobody
        assert all(np.array_equal(a, b) for a, b in zip(ours, own, strict=True))
    for index in range(12, 20):
        sample = mixed.sample(0, index, (64, 64))
        assert sample.nobody
        assert sample.image.shape == (64, 64, 3)
        assert not sample.visible.any()
        assert (sample.image.max(axis=2) > 150).mean() < 0.2  # people are the bright rectangles
        assert np.array_equal(sample.image, mixed.sample(0, index, (64, 64)).image)
        assert not np.array_equal(sample.image, mixed.sample(1, index, (64, 64)).image)


def test_pictures_full_of_people_have_no_room_for_nobody(tmp_path):
    cv2.imwrite(str(tmp_path / "full.png"), np.zeros((100, 100, 3), np.uint8))
    full = Scene(1, tmp_path / "full.png", (Box(0, 0, 100, 100),))
    mixed = WithNobody(SyntheticCrops(2, 1.25), [full], 0.5, Augmentation())
    with pytest.raises(AnnotationError, match="room"):
        mixed.sample(0, 3, (64, 64))
    with pytest.raises(AnnotationError, match="no pictures"):
        WithNobody(SyntheticCrops(2, 1.25), [], 0.5, Augmentation())
