"""From detections to people: everybody posed, nobody twice, nobody who is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.errors import NotSupported
from poseglass_core.geometry import Box, box_iou
from poseglass_core.manifest import Manifest
from poseglass_core.poses import PERSON, Locate, ModelRef, PoseRequest
from poseglass_core.skeleton import LSP
from poseglass_runtime.outputs import Detections, RawOutputs
from poseglass_runtime.people import CANDIDATE, CLOSER, FEW, default_person_threshold
from poseglass_runtime.predictor import Predictor

LAYOUT = np.stack([5 + 13 * (np.arange(15) % 5), 5 + 26 * (np.arange(15) // 5)], axis=1)[1:].astype(np.float32)
"""Where every pose's joints are in its crop of 64 pixels: the box around them is about the crop."""


class LightNetwork:
    """Everybody has the same pose in their crop; joints score as the crop's middle is bright, and so does presence.

    Args:
        presence: whether it says it.
        layout: [14, 2] of the pose.

    Attributes:
        batches: how many crops each run had.
    """

    provider = "FakeProvider"
    ref = ModelRef("light", 1, "00")

    def __init__(self, presence: bool = True, layout: np.ndarray = LAYOUT) -> None:
        self.batches: list[int] = []
        self.layout = layout
        self.manifest = Manifest(
            name="light",
            version=1,
            architecture="none",
            skeleton=LSP,
            input_size=(64, 64),
            box_padding=1.0,
            stride=4,
            outputs=("heatmaps", "joints", "scores", *(("presence",) if presence else ())),
            heatmap_activation="clip",
            decoder={"name": "log_parabola", "epsilon": 1e-3},
            score={"meaning": "peak"},
        )

    def run(self, crops: np.ndarray) -> RawOutputs:
        count = len(crops)
        self.batches.append(count)
        light = (crops[:, 24:40, 24:40].mean(axis=(1, 2, 3)) / 255).astype(np.float32)
        scores = np.repeat(light[:, None], 14, axis=1)
        maps = np.broadcast_to(scores[..., None, None], (count, 14, 16, 16)).copy()
        joints = np.broadcast_to(self.layout, (count, 14, 2)).copy()
        return RawOutputs(maps, joints, scores, light if "presence" in self.manifest.outputs else None)


class ListDetector:
    """Finds the same boxes in every picture.

    Attributes:
        thresholds: those it was asked with.
    """

    provider = "FakeProvider"
    ref = ModelRef("list", 3, "01")
    manifest = DetectorManifest("list", 3, "none", (64, 64), 0.5)

    def __init__(
        self,
        boxes: list[Box],
        scores: list[float] | None = None,
        small: list[Box] | None = None,
        small_score: float = 1,
    ) -> None:
        self.boxes, self.scores = boxes, scores or [0.9] * len(boxes)
        self.thresholds: list[float | None] = []
        self.small, self.small_score, self.closer_looks = small, small_score, 0
        if small is not None:
            self.manifest = replace(self.manifest, step=16, closer=(96, 96))

    def detect(self, image: np.ndarray, threshold: float | None = None, closer: bool = False) -> Detections:
        if closer:
            assert self.small is not None
            self.closer_looks += 1
            return Detections(self.small, np.full(len(self.small), self.small_score, np.float32))
        self.thresholds.append(threshold)
        least = self.manifest.threshold if threshold is None else threshold
        kept = [i for i, score in enumerate(self.scores) if score >= least]
        return Detections([self.boxes[i] for i in kept], np.array(self.scores, np.float32)[kept])


def scene(boxes: list[Box], lights: list[int]) -> np.ndarray:
    """A dark picture with people of light."""
    picture = np.zeros((300, 400, 3), np.uint8)
    for box, light in zip(boxes, lights, strict=True):
        picture[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)] = light
    return picture


TWELVE = [Box(100 * column, 100 * row, 80, 80) for row in range(3) for column in range(4)]
LIGHTS = [255 - 10 * i for i in range(12)]
DETECT = PoseRequest(locate=Locate.DETECT)


def test_twelve_people_are_posed_in_one_batch_the_most_certain_first():
    network, detector = LightNetwork(), ListDetector(TWELVE[::-1])
    prediction = Predictor(network).predict(scene(TWELVE, LIGHTS), DETECT, detector)
    assert [pose.box for pose in prediction.poses] == TWELVE
    assert network.batches == [12]
    assert prediction.detector == detector.ref
    scores = [pose.score for pose in prediction.poses]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0)
    for pose in prediction.poses:  # back in the picture: all in their own box
        low, high = pose.points.min(axis=0), pose.points.max(axis=0)
        assert pose.box.x < low[0] < high[0] < pose.box.x + 80
        assert pose.box.y < low[1] < high[1] < pose.box.y + 80
    assert prediction.timings.total >= prediction.timings.inference > 0


def test_in_a_crowd_doubtful_boxes_cost_nothing():
    boxes, lights = TWELVE[:8], LIGHTS[:8]
    doubtful = [0.37, 0.34, 0.21]  # of a threshold of 0.5
    for certain, looked_at in ((FEW + 1, FEW + 2), (FEW, FEW + 3)):
        scores = [0.9] * certain + doubtful
        network, detector = LightNetwork(), ListDetector(boxes[: len(scores)], scores)
        Predictor(network).predict(scene(boxes, lights), DETECT, detector)
        assert network.batches[0] == looked_at


def test_where_nobody_is_certain_a_closer_look_finds_small_people():
    small, doubtful = Box(310, 20, 24, 24), TWELVE[0]
    picture = scene([small, doubtful], [255, 255])
    for score, looks, found in ((0.5, 0, [doubtful]), (0.45, 1, [small, doubtful]), (0.0, 1, [small])):
        detector = ListDetector([doubtful], [score], small=[small], small_score=0.9)
        answer = Predictor(LightNetwork()).predict(picture, DETECT, detector)
        assert detector.closer_looks == looks
        assert {pose.box for pose in answer.poses} == set(found)
    again = ListDetector([doubtful], [0.45], small=[Box(1, 1, 80, 80)], small_score=0.9)  # the same person
    assert len(Predictor(LightNetwork()).predict(picture, DETECT, again).poses) == 1


@pytest.mark.parametrize(("light", "people"), [(255, 1), (150, 0)])  # presence x joints: 1 and 0.35
def test_what_only_the_closer_look_shows_counts_less(light, people):
    small = Box(310, 20, 24, 24)
    score = 0.9 * 0.2 / 0.35 * 0.5 / CLOSER  # a little too little for that pose, of a threshold of 0.5
    detector = ListDetector([], small=[small], small_score=score)
    assert len(Predictor(LightNetwork()).predict(scene([small], [light]), DETECT, detector).poses) == people


def test_nobody_is_answered_twice():
    boxes = [TWELVE[0], Box(2, 1, 80, 80), TWELVE[5]]
    detector, picture = ListDetector(boxes), scene(TWELVE, LIGHTS)
    predictor = Predictor(LightNetwork())
    answer = predictor.predict(picture, DETECT, detector)
    assert [pose.box for pose in answer.poses] == [boxes[0], boxes[2]]
    everybody = replace(DETECT, overlap_threshold=1.0)
    assert len(predictor.predict(picture, everybody, detector).poses) == 3
    # Given boxes are answered one by one, whatever is in them.
    given = PoseRequest(boxes=boxes, overlap_threshold=0.0, person_threshold=1.0)
    answer = predictor.predict(picture, given, detector)
    assert [pose.box for pose in answer.poses] == boxes
    assert answer.detector is None
    assert detector.thresholds == [CANDIDATE * 0.5] * 2


def test_who_does_not_fill_the_box_is_looked_at_again_around_the_joints():
    box, wide = TWELVE[0], Box(0, 0, 160, 160)
    picture = scene([box], [255])
    left_top = (LAYOUT + 0.5) / 2 - 0.5  # the crop's left upper quarter, where the person is
    network = LightNetwork(layout=left_top)
    (pose,) = Predictor(network).predict(picture, DETECT, ListDetector([wide])).poses
    assert network.batches == [1, 1]
    assert box_iou(pose.box, box) > 0.8
    assert pose.score == pytest.approx(1.0)  # the wide crop's middle is only a quarter light
    assert (pose.points < 40).all()  # the same quarter, of the new crop


@pytest.mark.parametrize(("people", "batches"), [(FEW, [FEW, FEW]), (FEW + 1, [FEW + 1])])
def test_crowds_are_looked_at_once(people, batches):
    network = LightNetwork(layout=(LAYOUT + 0.5) / 2 - 0.5)  # nobody fills the box
    Predictor(network).predict(scene(TWELVE, LIGHTS), DETECT, ListDetector(TWELVE[:people]))
    assert network.batches == batches


def test_the_more_convincing_look_stays():
    picture = scene([TWELVE[0]], [255])
    network = LightNetwork(layout=LAYOUT / 8)  # around them it is dark: the crop's corner has no middle of light
    picture[:16, :16] = 0
    request = replace(DETECT, heatmaps=True)
    (pose,) = Predictor(network).predict(picture, request, ListDetector([TWELVE[0]])).poses
    assert network.batches == [1, 1]
    assert pose.box == TWELVE[0]
    assert pose.score == pytest.approx(1.0)


def test_doubtful_people_may_be_found_at_the_second_look():
    picture = scene([Box(0, 0, 80, 80)], [255])
    network = LightNetwork(layout=(LAYOUT + 0.5) / 2 - 0.5)
    predictor, wide = Predictor(network), Box(0, 0, 160, 160)
    first = predictor.predict(picture, PoseRequest(boxes=(wide,))).poses[0].score
    assert first == pytest.approx(1 / 16, abs=0.02)
    asked = replace(DETECT, person_threshold=1.9 * first)
    assert len(predictor.predict(picture, asked, ListDetector([wide])).poses) == 1
    assert predictor.predict(picture, replace(asked, person_threshold=2.1 * first), ListDetector([wide])).poses == []


def test_joints_that_were_not_asked_for_count_too():
    request = PoseRequest(locate=Locate.DETECT, joints=("neck",), joint_threshold=1.0)
    answer = Predictor(LightNetwork()).predict(scene(TWELVE, LIGHTS), request, ListDetector(TWELVE))
    assert len(answer.poses) == 12


def test_the_presence_gate_leaves_out_who_is_not_there():
    lights = [255, 84, 0] + [0] * 9
    picture, detector = scene(TWELVE, lights), ListDetector(TWELVE[:3])
    predictor = Predictor(LightNetwork())
    # presence x joints: 1, 0.11 and 0; the boxes are 1.8 times as certain as they must be.
    assert len(predictor.predict(picture, DETECT, detector).poses) == 1
    assert len(predictor.predict(picture, replace(DETECT, person_threshold=0.1), detector).poses) == 2
    assert len(predictor.predict(picture, replace(DETECT, person_threshold=0.0), detector).poses) == 3
    # A model that cannot tell whether anybody is there leaves that to the detector.
    assert len(Predictor(LightNetwork(presence=False)).predict(picture, DETECT, detector).poses) == 3


def test_box_and_pose_make_up_for_each_other(monkeypatch):
    monkeypatch.setattr("poseglass_runtime.predictor.FEW", 12)  # nothing of this is about crowds
    picture = scene(TWELVE, [255] * 3 + [150] * 3 + [110] * 3 + [0] * 3)  # presence x joints: 1, 0.35, 0.19 and 0
    doubts = ListDetector(TWELVE, [0.9, 0.5, 0.26] * 4)  # of a threshold of 0.5: 1.8, 1 and 0.52
    answer = Predictor(LightNetwork()).predict(picture, DETECT, doubts)
    found = sorted(TWELVE.index(pose.box) for pose in answer.poses)
    assert found == [0, 1, 2, 3, 4, 6]
    # What a request says of people holds for what they score, whatever the boxes do.
    asked = Predictor(LightNetwork()).predict(picture, replace(DETECT, person_threshold=0.3), doubts)
    assert sorted(TWELVE.index(pose.box) for pose in asked.poses) == [0, 1, 2, 3, 4, 5]
    # A model without presence leaves doubtful boxes out.
    blind = Predictor(LightNetwork(presence=False)).predict(picture, DETECT, doubts)
    assert sorted(TWELVE.index(pose.box) for pose in blind.poses) == [0, 1, 3, 4, 6, 7, 9, 10]


def test_a_picture_without_people_is_answered_with_nobody():
    network, empty = LightNetwork(), np.zeros((300, 400, 3), np.uint8)
    answer = Predictor(network).predict(empty, DETECT, ListDetector([]))
    assert answer.poses == []
    assert answer.detector is not None
    assert network.batches == []
    for detector in (None, ListDetector([]), ListDetector(TWELVE)):
        answer = Predictor(network).predict(empty, PoseRequest(locate=Locate.WHOLE_IMAGE), detector)
        assert answer.poses == []
    assert default_person_threshold(network.manifest) == PERSON


def test_auto_detects_where_there_is_a_detector():
    picture = scene(TWELVE, LIGHTS)
    predictor = Predictor(LightNetwork())
    assert len(predictor.predict(picture, PoseRequest(), ListDetector(TWELVE)).poses) == 12
    alone = predictor.predict(picture, PoseRequest())
    assert len(alone.poses) == 1
    assert alone.detector is None
    with pytest.raises(NotSupported, match="no detector is loaded; give boxes"):
        predictor.predict(picture, DETECT)


def test_no_more_people_than_asked_for():
    detector, request = ListDetector(TWELVE[::-1]), replace(DETECT, max_people=5)
    network = LightNetwork()
    answer = Predictor(network).predict(scene(TWELVE, LIGHTS), request, detector)
    assert [pose.box for pose in answer.poses] == TWELVE[-5:]  # the detector's best, by their poses' scores
    assert network.batches == [5]


def test_the_whole_image_takes_the_detectors_best_box_where_it_is_more_certain():
    small = Box(310, 20, 24, 24)  # too small for the windows' coarse look
    picture, request = scene([small], [255]), PoseRequest(locate=Locate.WHOLE_IMAGE, person_threshold=0.0)
    predictor = Predictor(LightNetwork())
    detector = ListDetector([small, TWELVE[0]], [0.3, 0.1])
    answer = predictor.predict(picture, request, detector)
    assert len(answer.poses) == 1
    assert answer.detector == detector.ref
    assert detector.thresholds == [0.0]  # a doubtful box is good enough to be compared
    assert box_iou(answer.poses[0].box, small) > 0.4
    assert answer.poses[0].score == pytest.approx(1.0)
    # A box without anybody loses against what the search finds.
    person = Box(100, 50, 200, 200)
    lost = predictor.predict(scene([person], [255]), request, ListDetector([Box(0, 250, 40, 40)]))
    assert lost.poses[0].score > 0.9
    assert lost.poses[0].score == predictor.predict(scene([person], [255]), request).poses[0].score
