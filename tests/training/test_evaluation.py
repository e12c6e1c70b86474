"""Evaluation: the protocol, on predictors whose answers are known."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from poseglass_core.errors import InvalidInput
from poseglass_core.geometry import Box
from poseglass_core.poses import Locate, ModelRef, Pose, Prediction
from poseglass_core.skeleton import COCO, LSP, Skeleton
from poseglass_runtime.images import decode_image
from poseglass_training.annotations import AnnotationError, KeypointData, Person, load_coco
from poseglass_training.evaluation import answered_with_nobody, evaluate
from poseglass_training.pasting import Pasting, backgrounds_of, encode_png

REF = ModelRef("fake", 1, "0" * 64)


class Knowing:
    """Answers with what it was told: joints by box, or, without boxes, those of the people in order."""

    def __init__(self, people, skeleton=LSP, spoil=lambda joints: joints):
        self.people, self.skeleton, self.spoil = list(people), skeleton, spoil
        self.asked, self.seen = [], []

    def __call__(self, content, request):
        self.asked.append(request)
        self.seen.append(content)
        if request.boxes:
            chosen = [next(p for p in self.people if p.box == box) for box in request.boxes]
        else:
            chosen = [self.people[len(self.asked) - 1]]
        poses = []
        for person in chosen:
            joints = self.spoil(person.joints).astype(np.float32)
            scores = np.ones(len(joints), np.float32)
            poses.append(Pose(self.skeleton, self.skeleton.joints, joints, scores, person.box, 1.0))
        return Prediction(poses, (160, 120), REF, "fake")


def blind(content, request):
    return Prediction([], (160, 120), REF, "fake")


@pytest.fixture(scope="module")
def data(figures_file):
    return load_coco(figures_file)


@pytest.mark.parametrize("mode", ["box", "whole"])
def test_a_perfect_predictor_has_100(data, mode):
    predict = Knowing(data.people)
    result = evaluate(predict, data, mode=mode)
    assert result.result.pck == 100
    assert result.result.interval == (100, 100)
    assert set(result.result.per_joint) == set(LSP.joints)
    assert result.result.people + result.result.left_out == 8
    assert result.found == result.result.people == len(predict.asked)
    assert all(request.locate is Locate.WHOLE_IMAGE for request in predict.asked)
    assert all(bool(request.boxes) == (mode == "box") for request in predict.asked)
    assert all(content.shape == (160, 120, 3) for content in predict.seen)
    assert {"box": "box given", "whole": "whole image"}[mode] in result.protocol


class Crowd(Knowing):
    """Answers with everybody it knows of, wrong ones first, each in a box a little off theirs."""

    def __call__(self, content, request):
        self.asked.append(request)
        person = self.people[len(self.asked) - 1]
        far = Box(person.box.x + 1000, person.box.y, person.box.width, person.box.height)
        near = Box(person.box.x + 5, person.box.y, person.box.width, person.box.height)
        scores = np.ones(14, np.float32)
        joints = person.joints.astype(np.float32)
        poses = [
            Pose(LSP, LSP.joints, joints + 1000, scores, far, 1.0),
            Pose(LSP, LSP.joints, joints, scores, near, 0.5),
        ]
        return Prediction(poses[: 1 if self.spoil(0) else 2], (160, 120), REF, "fake")


def test_of_the_people_detected_the_one_whose_box_overlaps_most_counts(data):
    predict = Crowd(data.people, spoil=lambda _: False)
    result = evaluate(predict, data, mode="detect")
    assert result.result.pck == 100
    assert all(request.locate is Locate.DETECT and not request.boxes for request in predict.asked)
    assert "everybody detected" in result.protocol
    missed = evaluate(Crowd(data.people, spoil=lambda _: True), data, mode="detect")
    assert missed.result.pck == missed.found == 0


def test_pictures_without_people_are_counted_where_nobody_is_answered(data, tmp_path):
    paths = []
    for i in range(5):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].write_bytes(encode_png(np.full((20, 30, 3), 40 * i, np.uint8)))
    person = Pose(LSP, LSP.joints, np.zeros((14, 2), np.float32), np.ones(14, np.float32), Box(0, 0, 9, 9), 1.0)
    modes = []

    def bright(image, request):
        modes.append(request.locate)
        return Prediction([person] if image.mean() > 100 else [], image.shape[:2], REF, "fake")

    assert answered_with_nobody(bright, paths) == 3
    assert answered_with_nobody(bright, paths, "whole") == 3
    assert modes == [Locate.DETECT] * 5 + [Locate.WHOLE_IMAGE] * 5
    with pytest.raises(AnnotationError, match=r"gone\.png"):
        answered_with_nobody(bright, [tmp_path / "gone.png"])


def test_nobody_found_is_all_wrong(data):
    result = evaluate(blind, data, mode="whole")
    assert result.result.pck == 0
    assert result.found == 0
    assert set(result.result.per_joint.values()) == {0.0}


def test_the_threshold_is_a_fifth_of_the_torso(data):
    torso = {}
    for person in data.people:
        a, b = person.joints[LSP.index("left_shoulder")], person.joints[LSP.index("right_hip")]
        torso[person.joints.tobytes()] = np.linalg.norm(a - b)

    def off(share):
        return lambda joints: joints + np.array([share * torso[joints.tobytes()], 0])

    assert evaluate(Knowing(data.people, spoil=off(0.19)), data).result.pck == 100
    assert evaluate(Knowing(data.people, spoil=off(0.21)), data).result.pck == 0


def test_swapped_sides_are_wrong(data):
    result = evaluate(Knowing(data.people, spoil=lambda joints: joints[LSP.flip_index]), data).result
    assert result.per_joint["head_top"] == 100
    assert result.pck < 60


def test_people_without_a_torso_are_left_out_and_not_asked_for(data):
    hidden = data.people[0].visible.copy()
    hidden[LSP.index("right_hip")] = False
    people = [replace(data.people[0], visible=hidden), *data.people[1:3]]
    predict = Knowing(people)
    result = evaluate(predict, replace(data, people=people)).result
    assert (result.people, result.left_out) == (2, 1)
    assert len(predict.asked) == 2
    with pytest.raises(AnnotationError, match="no person has a reference length"):
        evaluate(predict, replace(data, people=people[:1]))
    with pytest.raises(AnnotationError, match="no people to evaluate on"):
        evaluate(predict, replace(data, people=[]))


def test_unlabelled_joints_do_not_count(data):
    visible = np.ones(14, bool)
    visible[LSP.index("left_ankle")] = False
    people = [replace(person, visible=visible) for person in data.people]

    def spoil(joints):
        joints = joints.copy()
        joints[LSP.index("left_ankle")] += 50
        return joints

    result = evaluate(Knowing(people, spoil=spoil), replace(data, people=people)).result
    assert result.pck == 100
    assert "left_ankle" not in result.per_joint


def test_people_of_one_picture_are_asked_for_together(data):
    first = data.people[0]
    second = replace(first, id=99, box=Box(1, 2, 30, 40), joints=first.joints + 3)
    predict = Knowing([first, second])
    result = evaluate(predict, replace(data, people=[first, second]))
    assert len(predict.asked) == 1
    assert result.result.pck == 100


def test_limbs_leave_neck_and_head_out(data):
    def spoil(joints):
        joints = joints.copy()
        joints[[LSP.index("neck"), LSP.index("head_top"), LSP.index("left_wrist")]] += 500
        return joints

    result = evaluate(Knowing(data.people, spoil=spoil), data)
    assert result.limbs.pck == pytest.approx(100 * 11 / 12)
    assert result.result.pck == pytest.approx(100 * 11 / 14)
    assert result.to_json()["limbs"] == {"pck": 91.67, "interval": [91.67, 91.67]}
    some = Skeleton(LSP.joints[:11], reference=LSP.reference)
    people = [replace(p, joints=p.joints[:11], visible=p.visible[:11]) for p in data.people]
    few = evaluate(Knowing(people, skeleton=some), KeypointData("few", some, people))
    assert few.limbs is None
    assert few.to_json()["limbs"] is None


def test_what_the_figures_were_computed_from_is_kept(data):
    def spoil(joints):
        return joints + np.array([3, 4])

    hidden = data.people[1].visible.copy()
    hidden[:2] = False
    people = [data.people[0], replace(data.people[1], visible=hidden)]
    result = evaluate(Knowing(people, spoil=spoil), replace(data, people=people))
    kept = result.comparison
    assert [person.id for person in result.people] == [17, 18]
    assert np.array_equal(kept.truth[1], people[1].joints)
    assert np.allclose(kept.predicted - kept.truth, [3, 4])
    assert np.allclose(kept.errors[0] * kept.lengths[0], 5)
    assert np.isnan(kept.errors[1]).tolist() == (~hidden).tolist()
    assert (kept.scores == 1).all()
    lost = evaluate(blind, data).comparison.errors
    assert np.isinf(lost[~np.isnan(lost)]).all()


def test_people_know_their_picture(figures_file, tmp_path):
    assert [person.image_id for person in load_coco(figures_file).people] == list(range(17, 25))
    content = json.loads(figures_file.read_text())
    for entry, key in [(a, "image_id") for a in content["annotations"]] + [(i, "id") for i in content["images"]]:
        entry[key] = f"picture {entry[key]}"
    path = tmp_path / "named.json"
    path.write_text(json.dumps(content))
    assert {person.image_id for person in load_coco(path).people} == {-1}


def test_the_flip_test_is_asked_for_and_named(data):
    predict = Knowing(data.people)
    assert "flip test" in evaluate(predict, data, flip=True).protocol
    assert all(request.flip_test for request in predict.asked)


def test_a_server_gets_the_files_as_they_are(data):
    predict = Knowing(data.people)
    assert evaluate(predict, data, encoded=True).result.pck == 100
    assert predict.seen[0] == data.people[0].image.read_bytes()


def test_other_skeletons_are_compared_on_the_joints_both_name(data):
    common = [name for name in COCO.joints if name in LSP.joints]
    columns = [LSP.index(name) for name in common]

    class Other(Knowing):
        def __call__(self, content, request):
            answer = super().__call__(content, request)
            pose = answer.poses[0]
            points = pose.points[columns]
            return replace(answer, poses=[replace(pose, skeleton=COCO, names=tuple(common), points=points)])

    result = evaluate(Other(data.people), data)
    assert result.result.pck == 100
    assert set(result.joints) == set(result.result.per_joint) == set(common)
    assert result.only_in_data == ("neck", "head_top")
    assert "left_eye" in result.only_in_model
    horse = Skeleton(("nostril",))
    with pytest.raises(AnnotationError, match=r"no joint in common: the data has right_ankle.*model has nostril"):
        evaluate(Knowing([replace(p, joints=p.joints[:1]) for p in data.people], skeleton=horse), data)


def test_the_result_is_plain_json(data):
    value = json.loads(json.dumps(evaluate(Knowing(data.people), data).to_json()))
    assert value["data"] == "figures"
    assert value["protocol"] == "PCK@0.2 of left_shoulder – right_hip, box given"
    assert value["pck"] == 100
    assert value["model"] == {"name": "fake", "version": 1, "sha256": "0" * 64}
    assert {"per_joint", "interval", "people", "left_out", "found", "seconds", "provider"} <= set(value)


def test_progress_counts_people(data):
    seen = []
    evaluate(Knowing(data.people), data, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8)
    assert len(seen) == 8


def test_pictures_that_cannot_be_used_are_named(data, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"text")
    for path, message in ((broken, "known format"), (tmp_path / "gone.png", "cannot be read")):
        with pytest.raises(AnnotationError, match=f"{path.name}.*{message}"):
            evaluate(blind, replace(data, people=[replace(data.people[0], image=path)]))

    def refusing(content, request):
        raise InvalidInput("boxes[0].width", "is too wide")

    with pytest.raises(AnnotationError, match=r"17\.png: boxes\[0\]\.width: is too wide"):
        evaluate(refusing, data)


@pytest.fixture
def marked(tmp_path):
    """A picture that is black but for a white square, with joint and box on the square; and grey backgrounds."""
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[30:60, 45:75] = 255  # centred on (59.5, 44.5)
    path = tmp_path / "marked.png"
    path.write_bytes(encode_png(picture))
    folder = tmp_path / "backgrounds"
    folder.mkdir()
    for i, size in enumerate([(20, 20), (200, 300), (150, 160)]):
        (folder / f"{i}.png").write_bytes(encode_png(np.full((*size, 3), 100 + i, np.uint8)))
    person = Person(3, path, Box(45, 30, 30, 30), np.array([[59.5, 44.5]], np.float32), np.ones(1, bool))
    return picture, person, folder


def test_labels_move_with_the_pasted_picture(marked):
    picture, person, folder = marked
    places = set()
    for seed in range(8):
        scene, (moved,) = Pasting(backgrounds_of(folder), "grey", seed=seed).paste(picture, [person])
        assert scene.shape[:2] in {(200, 300), (150, 160)}  # the smallest is too small
        rows, columns = np.nonzero(scene[..., 0] == 255)
        assert np.allclose(moved.joints[0], [columns.mean(), rows.mean()], atol=1e-3)
        assert (moved.box.x, moved.box.y) == (columns.min(), rows.min())
        assert (moved.box.width, moved.box.height) == pytest.approx((10, 10))
        assert (scene == 0).all(axis=2).sum() == 30 * 40 - 100
        places.add((moved.box.x, moved.box.y))
    assert len(places) == 8


def test_pasting_is_a_function_of_seed_and_person(marked):
    picture, person, folder = marked
    first, second = (Pasting(backgrounds_of(folder), "grey", seed=5).paste(picture, [person]) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    other = Pasting(backgrounds_of(folder), "grey", seed=5).paste(picture, [replace(person, id=4)])
    assert first[1][0].box != other[1][0].box


@pytest.mark.parametrize("encoded", [False, True])
def test_pasted_pictures_are_evaluated_as_they_are_now(marked, encoded):
    _, person, folder = marked
    skeleton = Skeleton(("thing",))
    data = KeypointData("marked", skeleton, [person])

    def find_white(content, request):
        image = decode_image(content) if encoded else content
        rows, columns = np.nonzero(image[..., 0] == 255)
        point = np.array([[columns.mean(), rows.mean()]], np.float32)
        box = Box(0, 0, image.shape[1], image.shape[0])
        pose = Pose(skeleton, skeleton.joints, point, np.ones(1, np.float32), box, 1.0)
        return Prediction([pose], image.shape[:2], REF, "fake")

    pasting = Pasting(backgrounds_of(folder), "grey")
    result = evaluate(find_white, data, mode="whole", encoded=encoded, pasting=pasting)
    assert result.result.pck == 100
    assert "whole image, each picture pasted at 0.333 of its size" in result.protocol


def test_backgrounds_of_an_annotation_file_are_its_empty_pictures(figures_file, tmp_path):
    content = json.loads(figures_file.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] not in {18, 20}]
    path = figures_file.with_name("some-empty.json")
    path.write_text(json.dumps(content))
    assert [file.name for file in backgrounds_of(path)] == ["18.png", "20.png"]
    with pytest.raises(AnnotationError, match="no picture to paste onto"):
        backgrounds_of(figures_file)
    with pytest.raises(AnnotationError, match="no picture to paste onto"):
        backgrounds_of(tmp_path)
    with pytest.raises(AnnotationError, match="no such annotation file"):
        backgrounds_of(tmp_path / "gone.json")


def test_backgrounds_that_are_too_small_or_broken_are_named(marked, tmp_path):
    picture, person, folder = marked
    with pytest.raises(AnnotationError, match="no background is as large as 40 x 30"):
        Pasting([folder / "0.png"], "grey").paste(picture, [person])
    (folder / "0.png").write_bytes(b"text")
    with pytest.raises(AnnotationError, match=r"0\.png.*known format"):
        Pasting([folder / "0.png"], "grey").paste(picture, [person])


def test_png_keeps_every_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(decoded, picture)
