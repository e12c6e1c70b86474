"""What is fitted to a trained network: smoothing, calibrated scores and presence."""

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from poseglass_core.geometry import Box
from poseglass_training import commands, presence
from poseglass_training.annotations import load_coco
from poseglass_training.calibrating import SMOOTHINGS, calibrate, fit_smoothing
from poseglass_training.checkpoint import load_checkpoint
from poseglass_training.networks.presence import Presence, pool
from poseglass_training.presence import FOLDS, PresenceSource, fit_presence
from poseglass_training.scenes import Scene, load_scenes
from poseglass_training.synthetic import SyntheticCrops, Variety

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def checkpoint(tiny_checkpoint_path):
    return load_checkpoint(tiny_checkpoint_path)


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


def test_smoothing_is_what_is_best_on_dev(checkpoint):
    people = SyntheticCrops(24, 1.25, 5, variety=Variety(facing=20, turn=5, turned=0))
    fitted, rates = fit_smoothing(checkpoint, people)
    assert tuple(rates) == SMOOTHINGS
    assert rates[fitted.smoothing] == max(rates.values())
    assert len(set(rates.values())) > 1
    assert all(torch.equal(tensor, fitted.weights[name]) for name, tensor in checkpoint.weights.items())


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
    smoothing = written.training["calibration"]["smoothing"]
    assert smoothing[f"{written.smoothing:g}"] == max(smoothing.values())
    assert written.training["calibration"]["presence"].keys() == {"figures", scenes_file.parent.name}
    assert load_checkpoint(tmp_path / "m.pt").calibration is None


def test_data_with_nobody_held_out_is_refused(checkpoint, figures_file, tmp_path):
    content = json.loads(figures_file.read_text())
    content["annotations"] = content["annotations"][1:]  # id 17 is dev
    (tmp_path / "images").symlink_to(figures_file.parent / "images")
    (tmp_path / "a.json").write_text(json.dumps(content))
    checkpoint.save(tmp_path / "m.pt")
    app = typer.Typer()
    app.command()(commands.calibrate)
    result = CliRunner().invoke(app, [str(tmp_path / "m.pt"), "--data", str(tmp_path / "a.json")])
    assert result.exit_code == 2
    assert "nobody to select on" in result.stderr
    assert "--dev" in result.stderr


def test_a_missing_checkpoint_is_named(figures_file, tmp_path):
    app = typer.Typer()
    app.command()(commands.calibrate)
    result = CliRunner().invoke(app, [str(tmp_path / "gone.pt"), "--data", str(figures_file)])
    assert result.exit_code == 2
    assert "gone.pt" in result.output
    assert load_coco(figures_file).people


def test_groups_are_weighed_on_pictures_that_were_not_fitted_to(monkeypatch):
    picture = torch.arange(160) // 10  # ten crops of each are too alike to tell how hard others are
    person = torch.arange(160) % 2 == 0
    fitted = []

    def fit(pooled, *_):
        fitted.append({int(number) % FOLDS for number in pooled[:, 0]})
        return genuine(pooled, *_)

    genuine = presence._fit
    monkeypatch.setattr(presence, "_fit", fit)
    pooled = torch.cat([picture[:, None].float(), torch.randn(160, 7)], dim=1)
    weights = presence._group_weights(pooled, person, person.long(), picture % FOLDS)
    assert (weights > 0).all()
    assert fitted == [{0, 1, 2, 3} - {aside} for aside in range(FOLDS)] * presence.ROUNDS


def test_few_pictures_are_weighed_alike():
    pooled, person = torch.randn(6, 8), torch.arange(6) % 2 == 0
    assert presence._group_weights(pooled, person, person.long(), torch.zeros(6, dtype=torch.long)).tolist() == [1, 1]
