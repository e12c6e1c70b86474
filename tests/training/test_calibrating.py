"""What is fitted to a trained network: presence and calibrated scores."""

import json

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from poseglass_core.geometry import Box
from poseglass_training import commands
from poseglass_training.annotations import AnnotationError, load_coco
from poseglass_training.calibrating import PresenceSource, calibrate, fit_presence
from poseglass_training.checkpoint import load_checkpoint
from poseglass_training.networks.presence import Presence, pool
from poseglass_training.scenes import Scene, draw_crops, load_scenes
from poseglass_training.synthetic import SyntheticCrops, Variety

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def checkpoint(tiny_checkpoint_path):
    return load_checkpoint(tiny_checkpoint_path)


@pytest.fixture
def scenes_file(tmp_path):
    """Ten noisy pictures; the people of the even ones are bright rectangles, with a crowd beside them."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(1, 11):
        picture = np.random.default_rng(i).integers(0, 90, (200, 240, 3), dtype=np.uint8)
        if i % 2 == 0:
            picture[40:140, 20:80] = (60, 200, 250)
            annotations.append({"id": i, "image_id": i, "bbox": [20, 40, 60, 100], "iscrowd": 0})
            annotations.append({"id": 100 + i, "image_id": i, "bbox": [200, 0, 40, 40], "iscrowd": 1})
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), picture)
        images.append({"id": i, "file_name": f"{i}.png"})
    (tmp_path / "scenes.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path / "scenes.json"


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


def test_presence_is_learnt_and_the_pose_network_left_alone(checkpoint, scenes_file):
    scenes = load_scenes(scenes_file)
    before = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
    fitted, report = fit_presence(checkpoint, [PresenceSource("boxes", scenes, scenes, each=6)])
    assert all(torch.equal(tensor, fitted.weights[name]) for name, tensor in before.items())
    assert report["boxes"]["person"] >= 80
    assert report["boxes"]["nobody"] >= 80
    assert report["boxes"]["crops"] > 30
    again, _ = fit_presence(checkpoint, [PresenceSource("boxes", scenes, scenes, each=6)])
    assert all(torch.equal(tensor, again.presence[name]) for name, tensor in fitted.presence.items())


def test_presence_without_pictures_without_people_is_refused(checkpoint, scenes_file):
    tight = [Scene(2, scenes_file.parent / "images" / "2.png", (Box(0, 0, 240, 200),))]
    with pytest.raises(ValueError, match="without people"):
        fit_presence(checkpoint, [PresenceSource("tight", tight, tight)])


def test_presence_reads_mean_and_maximum():
    features = torch.zeros(1, 2, 4, 4)
    features[0, 1, 2, 3] = 16
    assert pool(features).tolist() == [[0, 1, 0, 16]]
    assert 0 < Presence(2)(features).item() < 1


def test_calibrated_scores_are_probabilities(checkpoint):
    people = SyntheticCrops(24, 1.25, 5, variety=Variety(facing=20, turn=5, turned=0))
    fitted, judged = calibrate(checkpoint, people, "figures")
    assert fitted.calibration is not None
    assert fitted.calibration.fitted_on == "figures, 24 people"
    assert len(fitted.calibration.bias) == 14
    assert judged.brier <= judged.brier_of_rates + 0.05
    assert all(torch.equal(tensor, fitted.weights[name]) for name, tensor in checkpoint.weights.items())


def test_the_command_line(checkpoint, figures_file, scenes_file, tmp_path):
    app = typer.Typer()
    app.command()(commands.calibrate)
    checkpoint.save(tmp_path / "m.pt")
    arguments = [tmp_path / "m.pt", "--data", figures_file, "--scenes", scenes_file, "--out", tmp_path / "out.pt"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "calibration error" in result.output
    assert "presence on figures" in result.output
    written = load_checkpoint(tmp_path / "out.pt")
    assert written.presence
    assert written.calibration is not None
    assert written.training["calibration"]["presence"].keys() == {"figures", scenes_file.parent.name}
    assert load_checkpoint(tmp_path / "m.pt").calibration is None


def test_a_missing_checkpoint_is_named(figures_file, tmp_path):
    app = typer.Typer()
    app.command()(commands.calibrate)
    result = CliRunner().invoke(app, [str(tmp_path / "gone.pt"), "--data", str(figures_file)])
    assert result.exit_code == 2
    assert "gone.pt" in result.output
    assert load_coco(figures_file).people
