"""Learning from another network's heatmaps beside the labels."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from poseglass.cli import app
from poseglass_core.skeleton import skeleton_from_names
from poseglass_training.checkpoint import Checkpoint, CheckpointError
from poseglass_training.crops import Augmentation
from poseglass_training.detection.checkpoint import DetectorCheckpoint
from poseglass_training.detection.network import Detector, DetectorConfig
from poseglass_training.loop import train
from poseglass_training.networks import HourglassConfig, build
from poseglass_training.presets import Phase, Preset
from poseglass_training.synthetic import SyntheticCrops
from poseglass_training.targets import activate, gaussian_targets
from poseglass_training.teacher import Teacher, blend

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
MICRO = HourglassConfig(joints=14, stacks=1, features=8, depth=2, input_size=(64, 64))


@pytest.fixture(scope="module")
def figures():
    return SyntheticCrops(16, 1.25, 1, Augmentation())


@pytest.fixture(scope="module")
def checkpoint(figures):
    """An opinion that has nothing to do with the pictures' labels, and is a strong one."""
    torch.manual_seed(5)
    network = build(MICRO)
    torch.nn.init.normal_(network.heads[0].weight, std=3)
    return Checkpoint(MICRO, figures.skeleton, network.state_dict(), "softmax", 1.25, 1)


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_an_opinion_is_a_distribution_and_the_mirror_agrees(checkpoint, figures, images):
    teacher = Teacher(checkpoint, figures.skeleton, CPU)
    opinion = teacher.heatmaps(images)
    assert opinion.shape == (2, 14, 16, 16)
    assert torch.allclose(opinion.sum(dim=(2, 3)), torch.ones(2, 14), atol=1e-4)
    mirrored = teacher.heatmaps(images.flip(3))
    assert torch.allclose(mirrored.flip(3)[:, figures.skeleton.flip_index], opinion, atol=1e-5)
    assert not torch.allclose(mirrored.flip(3), opinion, atol=1e-2)


def test_labels_and_opinion_are_mixed_by_the_share():
    targets = gaussian_targets(torch.tensor([[[20.0, 30.0]]]), (16, 16), 1.5)
    opinion = torch.zeros(1, 1, 16, 16)
    opinion[0, 0, 2, 3] = 1
    assert torch.allclose(blend(targets, opinion, 0.0), targets / targets.sum())
    assert torch.equal(blend(targets, opinion, 1.0), opinion)
    mixed = blend(targets, opinion, 0.25)
    assert mixed.sum() == pytest.approx(1)
    assert mixed[0, 0, 2, 3] == pytest.approx(0.25, abs=0.01)


def recipe(**settings):
    return Preset(MICRO, phases=(Phase(64, 6),), batch_size=4, learning_rate=1e-2, ema=0.5, **settings)


def run(preset, figures, out, teacher, origin=None, resume=False):
    return train(preset, figures, figures, out, origin or {"data": []}, workers=0, teacher=teacher, resume=resume)


def test_the_pupil_comes_to_agree(checkpoint, figures, images, tmp_path):
    teacher = Teacher(checkpoint, figures.skeleton, CPU)
    samples = torch.stack([torch.from_numpy(figures.sample(None, i, (64, 64)).image) for i in range(8)])
    crops = samples.permute(0, 3, 1, 2).float() / 127.5 - 1
    opinion = teacher.heatmaps(crops)

    @torch.no_grad()
    def disagreement(pupil):
        said = activate(pupil.network()(crops)[-1], "softmax")
        return float((said - opinion).abs().sum(dim=(2, 3)).mean())

    alone = run(recipe(), figures, tmp_path / "alone", None)
    taught = run(recipe(taught=1.0), figures, tmp_path / "taught", checkpoint)
    assert disagreement(taught) < 0.8 * disagreement(alone)


@pytest.mark.parametrize(
    ("share", "taught", "message"),
    [(0.5, False, "name one with --teacher"), (0.0, True, "leave --teacher out")],
)
def test_a_share_and_a_teacher_belong_together(checkpoint, figures, tmp_path, share, taught, message):
    with pytest.raises(CheckpointError, match=message):
        run(recipe(taught=share), figures, tmp_path, checkpoint if taught else None)
    assert not list(tmp_path.iterdir())


def test_teachers_that_do_not_fit_are_refused(checkpoint, figures):
    others = skeleton_from_names([f"joint {i}" for i in range(14)])
    with pytest.raises(CheckpointError, match="joint 1 of the data is 'joint 0', of the teacher"):
        Teacher(checkpoint, others, CPU)
    with pytest.raises(CheckpointError, match="'mse'"):
        Teacher(replace(checkpoint, loss="mse"), figures.skeleton, CPU)


def test_the_command_says_which_option_is_wrong(tiny_checkpoint_path, figures_file, tmp_path):
    config = DetectorConfig(features=8, depth=2, input_size=(64, 64), candidates=8)
    DetectorCheckpoint(config, Detector(config).state_dict()).save(tmp_path / "detector.pt")

    def refused(*options):
        command = ["train", "--data", str(figures_file), "--out", str(tmp_path / "run"), *map(str, options)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        assert not (tmp_path / "run").exists()
        return " ".join(result.stderr.split())

    taught = ("--preset", "hourglass-s-taught")
    assert "leave --teacher out" in refused("--preset", "tiny", "--teacher", tiny_checkpoint_path)
    assert "name one with --teacher" in refused(*taught)
    assert "--teacher: gone.pt: no such file" in refused(*taught, "--teacher", "gone.pt")
    assert "--init: gone.pt: no such file" in refused("--preset", "tiny", "--init", "gone.pt")
    assert "is a detector's checkpoint" in refused(*taught, "--teacher", tmp_path / "detector.pt")


def test_a_run_goes_on_with_the_teacher_it_began_with(checkpoint, figures, tmp_path):
    run(recipe(taught=0.5), figures, tmp_path, checkpoint, {"data": [], "teacher": "a"})
    with pytest.raises(CheckpointError, match="another teacher"):
        run(recipe(taught=0.5), figures, tmp_path, checkpoint, {"data": [], "teacher": "b"}, resume=True)


@pytest.mark.parametrize("settings", [{"taught": 1.5}, {"taught": 0.5, "loss": "mse"}])
def test_shares_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="taught"):
        recipe(**settings)
