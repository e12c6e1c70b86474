"""The comparison with MediaPipe, with a mediapipe of the tests' own: it finds joints that are painted as dots."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mediapipe_peer
from poseglass_core.geometry import Box
from poseglass_core.metrics import LIMB_JOINTS
from poseglass_core.poses import Locate, ModelRef, Pose, PoseRequest, Prediction, Timings
from poseglass_core.skeleton import COCO, LSP, Skeleton
from poseglass_training.annotations import AnnotationError, KeypointData, load_coco
from poseglass_training.commands.evaluating import Mode
from poseglass_training.pasting import encode_png

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "mediapipe_pck.py"
spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
script = importlib.util.module_from_spec(spec)
sys.modules[SCRIPT.stem] = script
spec.loader.exec_module(script)

FAKE = '''
"""Joint i of PoseLandmark is a dot of red 7 * (i + 1) in full green; prints what no answer may be mixed with."""
from enum import IntEnum
from types import SimpleNamespace
import numpy as np

__version__ = "fake"
SIDED = [f"{side}_{joint}" for joint in ("SHOULDER", "ELBOW", "WRIST", "HIP", "KNEE", "ANKLE")
         for side in ("LEFT", "RIGHT")]
PoseLandmark = IntEnum("PoseLandmark", SIDED, start=0)

class Pose:
    def __init__(self, static_image_mode, model_complexity):
        assert (static_image_mode, model_complexity) == (True, 1)
        print("loading")
    def __enter__(self):
        return self
    def __exit__(self, *_):
        print("bye")
    def process(self, picture):
        print("looking at", picture.shape)
        if not picture.any():
            return SimpleNamespace(pose_landmarks=None)
        height, width, _ = picture.shape
        marks = []
        for i in range(12):
            rows, columns = np.nonzero((picture[:, :, :2] == (7 * (i + 1), 255)).all(axis=2))
            x, y = (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height
            marks.append(SimpleNamespace(x=x, y=y, visibility=0.5 + i / 100))
        return SimpleNamespace(pose_landmarks=SimpleNamespace(landmark=marks))

solutions = SimpleNamespace(pose=SimpleNamespace(Pose=Pose, PoseLandmark=PoseLandmark))
'''

ORDER = [f"{s}_{j}" for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right")]


@pytest.fixture
def fake_mediapipe(tmp_path, monkeypatch):
    """Lets this Python's child processes import it."""
    package = tmp_path / "site" / "mediapipe"
    (package / "modules" / "pose_landmark").mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE)
    (package / "modules" / "pose_landmark" / "pose_landmark_full.tflite").write_bytes(b"weights")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.fixture
def dots_file(tmp_path):
    """Three people, each in a black picture of 300 x 260, with their limb joints as dots of 7 x 7."""
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for i in (1, 2, 3):
        picture = np.zeros((260, 300, 3), np.uint8)
        cells = rng.permutation([(x, y) for x in range(110, 200, 15) for y in range(80, 170, 15)])[:14]
        for name, (x, y) in zip(LSP.joints, cells, strict=True):
            if name in ORDER:
                picture[y - 3 : y + 4, x - 3 : x + 4] = 7 * (ORDER.index(name) + 1), 255, 0
        (tmp_path / f"{i}.png").write_bytes(encode_png(picture))
        images.append({"id": i, "file_name": f"{i}.png", "width": 300, "height": 260})
        flat = np.column_stack([cells, np.full(14, 2)]).ravel().tolist()
        box = [100, 70, 100.5, 103]
        annotations.append({"id": i, "image_id": i, "category_id": 1, "bbox": box, "keypoints": flat, "iscrowd": 0})
    categories = [{"id": 1, "name": "person", "keypoints": list(LSP.joints)}]
    info = {"description": "dots"}
    content = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "dots.json").write_text(json.dumps(content))
    return tmp_path / "dots.json"


@pytest.fixture
def data(dots_file):
    return load_coco(dots_file)


def picture_of(person):
    import cv2

    return cv2.imread(str(person.image), cv2.IMREAD_COLOR_RGB)


@pytest.mark.parametrize("given", [True, False])
def test_joints_come_back_in_pixels_of_the_picture(fake_mediapipe, data, given):
    person = data.people[0]
    with script.MediaPipe(Path(sys.executable)) as mediapipe:
        answer = mediapipe.predict(picture_of(person), PoseRequest(boxes=[person.box] if given else []))
    (pose,) = answer.poses
    assert mediapipe.name == "MediaPipe Pose full fake"
    assert pose.names == LIMB_JOINTS
    for name in LIMB_JOINTS:
        found = pose[name]
        # Whole pictures are shown as they are; a crop moves dots by less than a pixel.
        assert (found.x, found.y) == pytest.approx(person.joints[LSP.index(name)], abs=0.5 if given else 1e-3)
        assert found.score == pytest.approx(0.5 + ORDER.index(name) / 100)
    assert answer.timings.total > 0


def test_where_it_finds_nobody_the_other_boxes_keep_their_poses(fake_mediapipe, data):
    person, nowhere = data.people[0], Box(0, 0, 20, 20)
    picture = picture_of(person)
    with script.MediaPipe(Path(sys.executable)) as mediapipe:
        nobody, pose = mediapipe.predict(picture, PoseRequest(boxes=[nowhere, person.box])).poses
        whole = mediapipe.predict(np.zeros_like(picture), PoseRequest(locate=Locate.WHOLE_IMAGE))
    assert nobody.names == ()
    assert pose.names == LIMB_JOINTS
    assert whole.poses == []


def test_padding_is_what_the_crop_has_around_the_box(data):
    person = data.people[0]
    for padding, side in ((1.25, 129), (2.0, 206)):
        crop, to_image = mediapipe_peer.cut(picture_of(person), person.box, padding)
        assert crop.shape == (side, side, 3)
        centre = to_image @ [(side - 1) / 2, (side - 1) / 2, 1]
        assert centre == pytest.approx(np.array(person.box.centre) - 0.5)


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        ("import mediapipe_is_not_here", "No module named 'mediapipe_is_not_here'"),
        ('import sys\nprint(\'{"mediapipe": "0", "sha256": ""}\', flush=True)\nsys.exit(\'too much\')', "too much"),
    ],
)
def test_a_worker_that_stops_is_an_error_with_its_last_words_and_the_remedy(tmp_path, worker, says):
    (tmp_path / "worker.py").write_text(worker)
    picture = np.zeros((2000, 2000, 3), np.uint8)  # more than a pipe holds

    def ask():
        with script.MediaPipe(Path(sys.executable), worker=tmp_path / "worker.py") as mediapipe:
            mediapipe.predict(picture, PoseRequest())

    with pytest.raises(script.WorkerError, match=says) as caught:
        ask()
    assert "pip install mediapipe==0.10.14" in str(caught.value)


def test_a_python_that_is_not_there_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(script.WorkerError, match="No such file.*pip install mediapipe"):
        script.MediaPipe(tmp_path / "python")


class Known:
    """Answers with the labels, but those of the people with the ids in `wrong` far away."""

    def __init__(self, people, calls, wrong=()):
        self.people, self.calls, self.wrong = people, calls, wrong

    def __call__(self, picture, request):
        person = self.people[max(self.calls.count(self) - 1, 0)]  # the first is asked about twice
        self.calls.append(self)
        joints = person.joints + (1000 if person.id in self.wrong else 0)
        pose = Pose(LSP, LSP.joints, joints.astype(np.float32), np.ones(14, np.float32), person.box, 1.0)
        return Prediction([pose], picture.shape[:2], ModelRef("known", 1, ""), "test", Timings(total=20.0))


def test_contestants_are_asked_in_turn_and_measured_over_the_same_people(data):
    calls = []
    good, bad = Known(data.people, calls), Known(data.people, calls, wrong=(2, 3))
    scores = script.compare({"good": good, "bad": bad}, data, Mode.box)
    # The first picture is shown twice: the first answer is not timed.
    assert calls == [good, good, bad, bad, good, bad, good, bad]
    assert [score.limbs.pck for score in scores] == pytest.approx([100, 100 / 3])
    assert [score.found for score in scores] == [3, 3]
    assert [score.per_second for score in scores] == pytest.approx([50, 50])
    assert set(scores[0].to_json()["per_joint"]) == set(LIMB_JOINTS)


def test_the_flip_test_is_asked_for(data):
    asked = []
    predict = script.with_flip_test(lambda picture, request: asked.append(request))
    predict(None, PoseRequest(boxes=(data.people[0].box,)))
    assert asked == [PoseRequest(boxes=(data.people[0].box,), flip_test=True)]


def test_the_difference_is_paired_by_person(data):
    people = [replace(data.people[i % 3], id=i) for i in range(60)]
    many = replace(data, people=people)
    calls = []
    third = {p.id for p in people if p.id % 3 == 0}
    contestants = {
        "most": Known(people, calls, wrong=third),
        "same": Known(people, calls, wrong=third),
        "half": Known(people, calls, wrong={p.id for p in people if p.id % 2 == 0} | third),
    }
    most, same, half = script.compare(contestants, many, Mode.box)
    equal = script.difference(most, same)
    assert (equal.pck, equal.interval) == (0, (0, 0))  # whoever is drawn: each single interval is not as narrow
    assert most.limbs.interval[1] - most.limbs.interval[0] > 15
    gain = script.difference(most, half)
    assert gain.pck == pytest.approx(most.limbs.pck - half.limbs.pck)
    assert gain.interval[0] < gain.pck < gain.interval[1]
    assert gain.interval[0] > 0  # never worse for anybody
    assert script.difference(half, most).pck == pytest.approx(-gain.pck)


def test_joint_names_of_coco_are_compared_on_the_limbs(data):
    order = [LSP.index(name) if name in LSP.joints else LSP.index("neck") for name in COCO.joints]
    people = [replace(p, joints=p.joints[order], visible=p.visible[order]) for p in data.people]
    (score,) = script.compare({"it": Known(data.people, [])}, KeypointData("coco", COCO, people), Mode.box)
    assert score.limbs.pck == 100
    assert set(score.limbs.per_joint) == set(LIMB_JOINTS)


def test_data_without_the_limb_joints_is_refused(data):
    names = tuple(name.replace("left_knee", "knee") for name in LSP.joints)
    skeleton = Skeleton(names, reference=LSP.reference)
    with pytest.raises(AnnotationError, match="must both name the limb joints"):
        script.compare({"it": Known(data.people, [])}, replace(data, skeleton=skeleton), Mode.box)


def test_the_script_writes_what_it_says(fake_mediapipe, dots_file, tmp_path):
    out = tmp_path / "out.json"
    command = [sys.executable, SCRIPT, "--mediapipe-python", sys.executable, "--data", dots_file, "--json", out]
    options = ["--model", "cnn", "--limit", "2", "--flip"]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    report = json.loads(out.read_text())
    ours, _, theirs = report["contestants"]
    assert [c["name"] for c in report["contestants"]] == ["cnn", "cnn, flip test", "MediaPipe Pose full fake"]
    assert theirs["pck"] == 100
    assert theirs["found"] == report["people"] == 2
    assert report["differences"][0]["pck"] == pytest.approx(ours["pck"] - 100, abs=0.01)
    assert report["threads"] == 1
    assert "box given, 12 limb joints; MediaPipe's crops 1.25 times the box" in run.stdout
    whole = subprocess.run([*command, "--alone", "--mode", "whole"], capture_output=True, text=True, check=True)
    assert "whole image, 12 limb joints\n" in whole.stdout
    assert [c["pck"] for c in json.loads(out.read_text())["contestants"]] == [100]


def test_the_script_refuses_in_one_line(tmp_path, dots_file):
    command = [sys.executable, SCRIPT, "--mediapipe-python", tmp_path / "no", "--data", dots_file, "--alone"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("mediapipe_pck: ")
    assert "Traceback" not in run.stderr
