"""The person detector: targets, training scenes, training, and how it is judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from poseglass.cli import app
from poseglass_core.geometry import Box
from poseglass_training.annotations import AnnotationError, load_coco
from poseglass_training.checkpoint import CheckpointError
from poseglass_training.commands.detecting import split_scenes
from poseglass_training.crops import Augmentation
from poseglass_training.detection.checkpoint import DetectorCheckpoint, is_detector, load_detector_checkpoint
from poseglass_training.detection.evaluation import Match, average_precision, false_alarms, match_picture
from poseglass_training.detection.inference import detector_of
from poseglass_training.detection.loop import collate, take_trunk, train_detector
from poseglass_training.detection.network import UNIT, Detector, DetectorConfig, ServedDetector
from poseglass_training.detection.presets import DETECTOR_PRESETS, DetectorPreset
from poseglass_training.detection.scenes import DetectionScenes
from poseglass_training.detection.selecting import choose_threshold
from poseglass_training.detection.targets import detection_loss, detection_targets, overlap_loss
from poseglass_training.networks import CnnConfig, build
from poseglass_training.scenes import Scene, load_scenes

pytestmark = pytest.mark.usefixtures("one_thread")

MICRO = DetectorConfig(features=16, depth=2, input_size=(64, 64), candidates=8)
PRESET = DetectorPreset(MICRO, epochs=2, pictures=8, batch_size=4, learning_rate=1e-3)

TWO = torch.tensor([[[4.0, 8.0, 20.0, 40.0], [30.0, 30.0, 62.0, 50.0], [0.0, 0.0, 0.0, 0.0]]])
VALID = torch.tensor([[True, True, False]])


def test_targets_give_back_the_boxes_they_were_made_of():
    centres, owned, weight = detection_targets(TWO, VALID, (16, 16))
    assert (centres == 1).sum() == 2
    assert weight.sum() == pytest.approx(2)
    boxes = owned[0].permute(1, 2, 0)  # [h, w, 4]
    for person in (0, 1):
        x, y = ((TWO[0, person, :2] + TWO[0, person, 2:]) / 2 // 4).int().tolist()
        assert torch.allclose(boxes[y, x], TWO[0, person], atol=1e-4)
        assert torch.allclose(boxes[y, x + 1], TWO[0, person], atol=1e-4)  # a neighbour answers with the same box


def test_a_picture_without_anybody_has_no_targets():
    centres, _, weight = detection_targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), (8, 8))
    assert centres.sum() == weight.sum() == 0


def test_what_is_not_known_costs_nothing():
    centres, geometry = torch.full((1, 16, 16), 3.0), torch.zeros(1, 4, 16, 16)
    nobody = torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.bool)
    known = torch.zeros(1, 16, 16, dtype=torch.bool)
    assert detection_loss(centres, geometry, *nobody, known)[0] == 0
    known[0, 3, 3] = True
    assert detection_loss(centres, geometry, *nobody, known)[0] > 1


def geometry_of(boxes: torch.Tensor) -> torch.Tensor:
    """What `boxes_of` turns into these boxes [N, 4, h, w]."""
    cells = torch.arange(16) * 4 + 2.0
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    x, y = (middle[:, 0] - cells) / UNIT, (middle[:, 1] - cells[:, None]) / UNIT
    return torch.stack([x, y, *(sides.clamp(min=1) / UNIT).log().unbind(1)], dim=1)


def test_the_right_answer_costs_least():
    centres, owned, _ = detection_targets(TWO, VALID, (16, 16))
    known = torch.ones(1, 16, 16, dtype=torch.bool)
    right, geometry = torch.where(centres == 1, 6.0, -8.0), geometry_of(owned)
    heat, apart = detection_loss(right, geometry, TWO, VALID, known)
    assert heat < 0.05
    assert apart == pytest.approx(0, abs=1e-5)
    moved = detection_loss(right.roll(3, dims=2), geometry + 0.2, TWO, VALID, known)
    assert moved[0] > 10 * heat
    assert moved[1] > 0.1


def test_an_error_costs_small_people_more():
    wanted = torch.tensor([[10.0, 10.0, 30.0, 30.0], [10.0, 10.0, 210.0, 210.0]]).view(2, 4, 1, 1)
    small, large = overlap_loss(wanted + 3, wanted).flatten().tolist()
    assert small > 5 * large > 0
    assert overlap_loss(wanted, wanted).abs().max() == 0


def test_boxes_beside_each_other_are_drawn_together():
    wanted = torch.tensor([10.0, 10.0, 30.0, 30.0]).view(1, 4, 1, 1)
    near = (wanted + 25).requires_grad_()
    assert overlap_loss(wanted + 60, wanted) > overlap_loss(near, wanted) > 1
    overlap_loss(near, wanted).sum().backward()
    assert (near.grad.sum(dim=1) > 0).all()  # it costs less further left and up


class Fixed(torch.nn.Module):
    """A network that sees two people, whatever it is shown."""

    config = MICRO

    def forward(self, images):
        centres, owned, _ = detection_targets(TWO, VALID, (16, 16))
        said = torch.logit(centres.clamp(0.01, 0.9))
        return said.expand(len(images), -1, -1), geometry_of(owned).expand(len(images), -1, -1, -1)


def test_the_graph_answers_with_peaks_alone():
    boxes, scores = ServedDetector(Fixed())(torch.zeros(3, 64, 64, 3, dtype=torch.uint8))
    assert boxes.shape == (3, 8, 4)
    assert (scores[:, :2] > 0.85).all()
    assert (scores[:, 2:] <= 0.02).all()  # their neighbours are no people
    found = sorted(boxes[0, :2].round().tolist())
    assert found == TWO[0, :2].tolist()


def test_a_checkpoint_finds_people_in_the_picture_once_and_inside_it():
    torch.manual_seed(0)
    network = Detector(MICRO)
    torch.nn.init.normal_(network.trunk.heads[0].weight, std=3.0)
    picture = np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)
    boxes, scores = detector_of(DetectorCheckpoint(MICRO, network.state_dict()))(picture)
    assert len(boxes) == len(scores) > 1
    assert (np.diff(scores) <= 0).all()
    assert (scores >= 0.02).all()
    assert all(0 <= b.x < b.x + b.width <= 80 and 0 <= b.y < b.y + b.height <= 50 for b in boxes)


@pytest.fixture
def source(scenes_file, figures_file):
    scenes = load_scenes(scenes_file, smallest=0)
    return DetectionScenes(scenes, load_coco(figures_file), 40, Augmentation(colour=0.1), seed=3)


def test_training_pictures_are_a_function_of_seed_epoch_and_index(source):
    first, again, other = source.sample(0, 5, 64), source.sample(0, 5, 64), source.sample(1, 5, 64)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.image, other.image)


def test_training_pictures_say_where_people_are_and_what_is_not_known(source):
    people = unknown = empty = 0
    for index in range(40):
        image, boxes, known = source.sample(0, index, 64)
        assert image.shape == (64, 64, 3)
        assert known.shape == (16, 16)
        assert ((boxes[:, :2] >= 0) & (boxes[:, 2:] <= 64)).all()
        assert ((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=99) >= 10).all()
        people, unknown, empty = people + len(boxes), unknown + (~known).any(), empty + (len(boxes) == 0)
        for x1, y1, x2, y2 in boxes:  # the middle of a person is always known
            assert known[int((y1 + y2) / 8), int((x1 + x2) / 8)] or len(boxes) > 1
    assert people > 30
    assert unknown > 5
    assert empty > 2


def test_scenes_without_an_empty_one_are_refused(scenes_file):
    crowded = [scene for scene in load_scenes(scenes_file) if scene.people]
    with pytest.raises(AnnotationError, match="pictures without people"):
        DetectionScenes(crowded, None, 10, Augmentation())
    with pytest.raises(AnnotationError, match="nobody is in the scenes"):
        DetectionScenes([scene for scene in load_scenes(scenes_file) if scene.empty], None, 10, Augmentation())


def test_a_batch_pads_its_boxes(source):
    batch = collate([source.sample(0, index, 64) for index in range(8)])
    assert batch.images.shape == (8, 64, 64, 3)
    assert batch.boxes.shape == (*batch.valid.shape, 4)
    assert [int(row.sum()) for row in batch.valid] == [len(source.sample(0, index, 64).boxes) for index in range(8)]


def test_a_stopped_run_goes_on_as_if_it_had_not(source, tmp_path):
    whole = train_detector(PRESET, source, tmp_path / "whole", {"data": []}, seed=1, workers=0)

    class Stop(Exception):
        pass

    def stop(done, _loss):
        if done > 1:
            raise Stop

    with pytest.raises(Stop):
        train_detector(PRESET, source, tmp_path / "cut", {"data": []}, seed=1, workers=0, on_progress=stop)
    resumed = train_detector(PRESET, source, tmp_path / "cut", {"data": []}, seed=1, resume=True, workers=0)
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
    rows = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    with pytest.raises(CheckpointError, match="another preset, seed or data"):
        train_detector(PRESET, source, tmp_path / "cut", {"data": []}, seed=2, resume=True, workers=0)
    other = {"data": [{"name": "other", "sha256": "0"}]}
    with pytest.raises(CheckpointError, match="another preset, seed or data"):
        train_detector(PRESET, source, tmp_path / "cut", other, seed=1, resume=True, workers=0)
    with pytest.raises(CheckpointError, match="there is no run to resume"):
        train_detector(PRESET, source, tmp_path / "none", {"data": []}, resume=True, workers=0)
    with pytest.raises(CheckpointError, match="holds a run already"):
        train_detector(PRESET, source, tmp_path / "cut", {"data": []}, seed=1, workers=0)


def test_a_detector_begins_from_a_pose_networks_trunk(tiny_checkpoint_path):
    from poseglass_training.checkpoint import load_checkpoint

    pose = load_checkpoint(tiny_checkpoint_path)
    detector = Detector(replace(MICRO, depth=3))
    take_trunk(detector, pose)
    assert torch.equal(detector.trunk.stem[0].weight, pose.weights["stem.0.weight"])
    assert detector.trunk.heads[0].bias.item() == pytest.approx(-4.6)  # its heatmap is of something else
    with pytest.raises(CheckpointError, match="tensors fit"):
        take_trunk(Detector(replace(MICRO, features=32, depth=3)), pose)
    config = CnnConfig(joints=14, input_size=(64, 64))
    with pytest.raises(CheckpointError, match="hourglass or of a detector"):
        take_trunk(detector, replace(pose, config=config, weights=build(config).state_dict()))


def test_checkpoints_tell_what_they_are(tmp_path, tiny_checkpoint_path):
    torch.manual_seed(0)
    checkpoint = DetectorCheckpoint(MICRO, Detector(MICRO).state_dict(), threshold=0.4).rounded()
    checkpoint.save(tmp_path / "d.pt")
    loaded = load_detector_checkpoint(tmp_path / "d.pt")
    assert loaded.config == MICRO
    assert loaded.threshold == 0.4
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in checkpoint.weights.items())
    assert is_detector(tmp_path / "d.pt")
    assert not is_detector(tiny_checkpoint_path)
    assert not is_detector(tmp_path / "nothing.pt")
    with pytest.raises(CheckpointError, match="where a detector has .*train-detector"):
        load_detector_checkpoint(tiny_checkpoint_path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_detector_checkpoint(tmp_path / "nothing.pt")


HERE, THERE, ELSEWHERE = Box(0, 0, 100, 200), Box(300, 0, 100, 200), Box(600, 0, 20, 20)


def test_boxes_are_matched_the_surest_first_and_once():
    twice = [Box(1, 0, 100, 200), HERE, Box(500, 500, 50, 50)]
    match = match_picture(twice, np.array([0.5, 0.9, 0.1]), [HERE, THERE], [])
    assert match.hit.tolist() == [0, -1, -1]
    assert match.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert match.people == 2
    assert not match.ignored.any()


def test_crowds_and_small_people_are_neither_right_nor_wrong():
    boxes, scores = [ELSEWHERE, Box(610, 2, 8, 8)], np.array([0.9, 0.8])
    crowd = match_picture(boxes, scores, [HERE], [ELSEWHERE])
    assert crowd.ignored.tolist() == [True, True]
    large = match_picture(boxes, scores, [HERE, ELSEWHERE], [], least=96.0**2)
    assert large.people == 1
    assert large.ignored.tolist() == [True, True]


def test_average_precision_of_known_cases():
    def match(hits, people=1):
        scores = np.linspace(0.9, 0.1, len(hits))
        return Match(scores, np.array(hits), np.zeros(len(hits), bool), people)

    assert average_precision([match([0]), match([0])]) == pytest.approx(100)
    assert average_precision([match([-1, 0])]) == pytest.approx(50)
    assert average_precision([match([0], people=2)]) == pytest.approx(100 * 51 / 101)
    assert average_precision([match([], people=1)]) == 0
    assert math.isnan(average_precision([match([-1], people=0)]))


def test_alarms_and_the_threshold_are_of_pictures_without_people(scenes_file):
    scenes = load_scenes(scenes_file)
    tops = iter(np.linspace(0.05, 0.45, 5).tolist() + np.linspace(0.05, 0.45, 10).tolist())

    def detect(_image):
        return [HERE], np.array([next(tops)], np.float32)

    assert false_alarms(detect, scenes, 0.3) == pytest.approx(40)
    assert choose_threshold(detect, scenes) == pytest.approx(0.49)  # above all of five
    many = [scenes[0]] * 50
    tops = iter(np.linspace(0, 0.5, 100))
    # Each with its mirror image; of a hundred scores, the 91st.
    assert choose_threshold(detect, many) == pytest.approx(0.04 + 90 / 99 * 0.5, abs=0.01)
    assert choose_threshold(detect, [scene for scene in scenes if scene.people]) == 0.3
    with pytest.raises(ValueError, match="no picture without people"):
        false_alarms(detect, [], 0.3)


def test_scenes_are_split_by_their_ids(tmp_path):
    scenes = [Scene(i, tmp_path, ()) for i in range(1, 21)]
    train, dev, held_out = ([scene.id for scene in part] for part in split_scenes(scenes))
    assert held_out == [5, 10, 15, 20]
    assert dev == [1, 11]
    assert sorted(train + dev + held_out) == list(range(1, 21))


def test_the_preset_has_the_trunk_of_the_small_pose_network():
    from poseglass_training.presets import PRESETS

    own, pose = DETECTOR_PRESETS["person"].network, PRESETS["hourglass-s"].network
    assert (own.features, own.depth, own.extra) == (pose.features, pose.depth, pose.extra)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be greater than 0"),
        ({"network": replace(MICRO, input_size=(64, 128))}, "must be square"),
    ],
)
def test_recipes_that_cannot_train_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(PRESET, **settings)
    with pytest.raises(ValueError, match="candidates must be from 1 to 256"):
        replace(MICRO, candidates=257)


@pytest.fixture
def micro_preset_named(monkeypatch):
    monkeypatch.setitem(DETECTOR_PRESETS, "micro", PRESET)


@pytest.mark.usefixtures("micro_preset_named")
def test_the_command_trains_and_selects(scenes_file, figures_file, tmp_path):
    out = tmp_path / "run"
    command = ["train-detector", "--preset", "micro", "--scenes", str(scenes_file), "--people", str(figures_file)]
    command += ["--out", str(out), "--workers", "0"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    checkpoint = load_detector_checkpoint(out / "best.pt")
    assert 0.1 <= checkpoint.threshold <= 0.7
    assert [part["name"].split(",")[0] for part in checkpoint.training["data"]][1] == "figures"
    assert str(tmp_path) not in json.dumps(checkpoint.training)
    assert (out / "batch.png").stat().st_size > 1000
    found, scores = detector_of(checkpoint)(np.zeros((50, 80, 3), np.uint8))
    assert len(found) == len(scores)
    other = tmp_path / "larger.pt"
    command_ = ["calibrate-detector", str(out / "best.pt"), "--scenes", str(scenes_file), "--side", "128"]
    result = CliRunner().invoke(app, [*command_, "--out", str(other)])
    assert result.exit_code == 0, result.output
    assert load_detector_checkpoint(other).config.input_size == (128, 128)
    assert CliRunner().invoke(app, [*command_[:-1], "100"]).exit_code == 2  # no multiple of 16
    nowhere = CliRunner().invoke(app, [*command_[:4], "--out", str(tmp_path / "none" / "d.pt")])
    assert nowhere.exit_code == 2
    assert "--out" in nowhere.output
    (out / "batch.png").write_bytes(b"of this run")
    again = CliRunner().invoke(app, [*command, "--seed", "3"])
    assert (out / "batch.png").read_bytes() == b"of this run"
    assert again.exit_code == 2
    assert "holds a run already" in again.output


@pytest.mark.usefixtures("micro_preset_named")
def test_pictures_are_looked_at_before_the_first_step(scenes_file, tmp_path):
    picture = next(scene.image for scene in load_scenes(scenes_file) if scene.id == 1)  # of dev, whose turn comes last
    picture.write_bytes(picture.read_bytes()[:50])
    command = ["train-detector", "--preset", "micro", "--scenes", str(scenes_file), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert f"1 of 8 pictures cannot be used, the first of them: {picture}" in result.output.replace("\n", "")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("micro_preset_named")
def test_a_threshold_that_nothing_chose_is_called_so(scenes_file, figures_file, tmp_path):
    content = json.loads(scenes_file.read_text())
    content["images"] = [image for image in content["images"] if image["id"] != 1]  # the only empty one of dev
    scenes_file.write_text(json.dumps(content))
    command = ["train-detector", "--preset", "micro", "--scenes", str(scenes_file), "--people", str(figures_file)]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run"), "--workers", "0"])
    assert result.exit_code == 0, result.output
    assert "0.30, not chosen: dev has no picture without people" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--preset": "huge"}, "no preset is called 'huge'; there are: person"),
        ({"--scenes": "missing.json"}, "missing.json"),
        ({"--init": "missing.pt"}, "missing.pt"),
    ],
)
@pytest.mark.usefixtures("micro_preset_named")
def test_the_command_says_what_it_cannot_use(scenes_file, tmp_path, change, message):
    options = {"--preset": "micro", "--scenes": str(scenes_file), "--out": str(tmp_path / "run"), **change}
    result = CliRunner().invoke(app, ["train-detector", *(part for pair in options.items() for part in pair)])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
