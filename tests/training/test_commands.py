"""The command line of training and evaluation, as a user meets it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from poseglass_training import commands
from poseglass_training.checkpoint import load_checkpoint
from poseglass_training.presets import PRESETS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def poseglass(micro_preset, monkeypatch):
    """Runs a command line; `micro` is a preset that takes seconds, and few figures are rendered."""
    monkeypatch.setitem(PRESETS, "micro", micro_preset)
    monkeypatch.setattr(commands, "FIGURES", 16)
    monkeypatch.setattr(commands, "DEV_FIGURES", 4)
    app = typer.Typer()
    app.command()(commands.train)
    app.command()(commands.evaluate)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(poseglass, data, out, *more):
    return poseglass("train", "--preset", "micro", "--data", data, "--out", out, "--workers", 0, *more)


def test_training_on_rendered_figures(poseglass, tmp_path):
    out = tmp_path / "run"
    result = train(poseglass, "synthetic", out, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in out.iterdir()) == [
        "batch.png",
        "best.pt",
        "curve.png",
        "last.pt",
        "metrics.jsonl",
    ]
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("loss" in line and "dev PCK@0.2" in line and "left" in line for line in lines)
    assert str(out / "best.pt") in result.stdout
    training = load_checkpoint(out / "best.pt").training
    assert training["data"] == [{"name": "rendered figures", "licence": "Apache-2.0", "people": 16}]
    assert training["preset"] == "micro"
    assert training["command"] == "poseglass train --preset micro --data synthetic --out run --seed 3"
    assert training["commit"] is None or len(training["commit"]) == 40

    again = train(poseglass, "synthetic", out, "--seed", 3)
    assert again.exit_code == 2
    assert "holds a run already: add --resume" in again.stderr
    resumed = train(poseglass, "synthetic", out, "--seed", 3, "--resume")
    assert resumed.exit_code == 0
    other = train(poseglass, "synthetic", out, "--seed", 4, "--resume")
    assert other.exit_code == 2
    assert "another preset or seed" in other.stderr


def test_training_on_annotations_and_evaluating_the_checkpoint(poseglass, figures_file, tmp_path):
    out = tmp_path / "run"
    result = train(poseglass, figures_file, out)
    assert result.exit_code == 0, result.output
    training = load_checkpoint(out / "best.pt").training
    assert training["data"] == [{"name": "figures", "licence": "Apache-2.0", "people": 7}]
    assert str(tmp_path) not in json.dumps(training)

    result = poseglass("evaluate", out / "best.pt", "--data", figures_file, "--json", "--flip")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["provider"] == "PyTorch"
    assert value["people"] + value["left_out"] == 8
    assert value["subset"] == "all"
    assert "flip test" in value["protocol"]
    table = poseglass("evaluate", out / "best.pt", "--data", figures_file, "--subset", "train", "--mode", "whole")
    assert table.exit_code == 0, table.output
    assert "whole image" in table.stdout
    assert "left_wrist" in table.stdout
    assert "95 % interval" in table.stdout


def test_ctrl_c_says_how_to_go_on(poseglass, tmp_path, monkeypatch):
    from poseglass_training import loop

    genuine = loop.train

    def interrupted(*arguments):
        *others, report, init = arguments

        def stop(progress):
            report(progress)
            if progress.epoch > 1.2:
                raise KeyboardInterrupt

        return genuine(*others, stop, init)

    monkeypatch.setattr(loop, "train", interrupted)
    result = train(poseglass, "synthetic", tmp_path / "run")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "poseglass train: stopped; go on with --resume"
    monkeypatch.setattr(loop, "train", genuine)
    assert train(poseglass, "synthetic", tmp_path / "run", "--resume").exit_code == 0


def test_a_run_from_given_weights_remembers_them(poseglass, tmp_path):
    assert train(poseglass, "synthetic", tmp_path / "first").exit_code == 0
    again = train(poseglass, "synthetic", tmp_path / "second", "--init", tmp_path / "first" / "best.pt")
    assert again.exit_code == 0, again.output
    training = load_checkpoint(tmp_path / "second" / "best.pt").training
    assert training["init"]["command"] == load_checkpoint(tmp_path / "first" / "best.pt").training["command"]
    assert training["command"].endswith("--init best.pt")


def test_a_run_that_diverges_fails(poseglass, tmp_path, monkeypatch, micro_preset):
    monkeypatch.setitem(PRESETS, "micro", replace(micro_preset, learning_rate=1e30, loss="mse"))
    result = train(poseglass, "synthetic", tmp_path / "run")
    assert result.exit_code == 1
    assert "poseglass train: the loss became" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "nope", "--data", "synthetic"], "no preset is called 'nope'; there are: hourglass-s,"),
        (["--preset", "micro", "--data", "synthetic", "--init", "gone.pt"], "gone.pt: no such file"),
        (["--preset", "micro", "--data", "synthetic", "--init", "cnn"], "are of a cnn, but the preset is a hourglass"),
        (["--preset", "micro", "--data", "gone.json"], "gone.json: no such annotation file"),
        (["--preset", "micro", "--data", "synthetic", "--images", "."], "leave out --images and --dev"),
        (["--preset", "micro", "--data", "synthetic", "--resume"], "there is no run to resume"),
        (["--preset", "micro", "--data", "synthetic", "--device", "cuda:9"], "PyTorch finds"),
    ],
)
def test_wrong_requests_are_answered_in_one_line(poseglass, tmp_path, arguments, message):
    result = poseglass("train", *arguments, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_data_that_cannot_be_trained_on_is_refused_before_the_work(poseglass, figures_file, tmp_path):
    content = json.loads(figures_file.read_text())
    (tmp_path / "images").symlink_to(figures_file.parent / "images")

    def attempt(change, *more):
        changed = json.loads(json.dumps(content))
        change(changed)
        (tmp_path / "a.json").write_text(json.dumps(changed))
        result = train(poseglass, tmp_path / "a.json", tmp_path / "run", *more)
        assert result.exit_code == 2
        assert not (tmp_path / "run" / "last.pt").exists()
        return result.stderr

    assert "nobody to select on" in attempt(lambda c: c["annotations"].pop(0))
    assert "nobody to learn from" in attempt(lambda c: c["annotations"].__delitem__(slice(1, None)))
    other = attempt(lambda c: c["categories"][0]["keypoints"].reverse(), "--dev", figures_file)
    assert "has other joints" in other


def test_models_that_cannot_be_evaluated_are_refused(poseglass, figures_file, tmp_path):
    for model, message in (
        ("no-such-model", "no shipped model is called 'no-such-model'"),
        (tmp_path / "gone.onnx", "no such file"),
        (figures_file, "not a model that ONNX Runtime can load"),
    ):
        result = poseglass("evaluate", model, "--data", figures_file)
        assert result.exit_code == 2
        assert message in result.stderr
    text = tmp_path / "text.pt"
    text.write_text("text")
    result = poseglass("evaluate", text, "--data", figures_file)
    assert result.exit_code == 2
    assert "not a Poseglass checkpoint" in result.stderr


def test_an_onnx_model_is_evaluated_without_torch(tiny_model_path, figures_file):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import typer; from poseglass_training.commands import evaluate\n"
        "app = typer.Typer(); app.command()(evaluate); app()"
    )
    arguments = [str(tiny_model_path), "--data", str(figures_file), "--device", "cpu", "--json"]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    value = json.loads(run.stdout)
    assert value["provider"] == "CPUExecutionProvider"
    assert value["model"]["name"] == "tiny"


def test_pasting_onto_a_folder(poseglass, tiny_checkpoint_path, figures_file):
    folder = figures_file.parent / "images"
    result = poseglass(
        "evaluate", tiny_checkpoint_path, "--data", figures_file, "--mode", "whole", "--paste-onto", folder, "--json"
    )
    assert result.exit_code == 0, result.output
    assert "pasted at 0.333 of its size at a random place on one of 8 pictures" in json.loads(result.stdout)["protocol"]
