"""The command line of training and evaluation, as a user meets it."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from poseglass.commands.connection import with_connection
from poseglass_training import commands
from poseglass_training.checkpoint import load_checkpoint
from poseglass_training.locking import only_run_in
from poseglass_training.presets import PRESETS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def poseglass(micro_preset, monkeypatch):
    """Runs a command line; `micro` is a preset that takes seconds, and few figures are rendered."""
    monkeypatch.setitem(PRESETS, "micro", micro_preset)
    monkeypatch.setattr(commands.training, "FIGURES", 16)
    monkeypatch.setattr(commands.training, "DEV_FIGURES", 4)
    app = typer.Typer()
    app.command()(commands.train)
    app.command()(with_connection(commands.evaluate))
    app.command()(commands.check)
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


def test_training_with_pictures_without_people(poseglass, scenes_file, tmp_path):
    result = train(poseglass, "synthetic", tmp_path / "run", "--scenes", scenes_file)
    assert result.exit_code == 0, result.output
    training = load_checkpoint(tmp_path / "run" / "best.pt").training
    assert training["samples"] == 18  # 16 figures, and 12 % of all without anybody
    assert "nobody" in training["data"][1]["name"]
    assert "--scenes" in training["command"]
    without = train(poseglass, "synthetic", tmp_path / "run", "--resume")
    assert without.exit_code == 2
    assert "was trained on other data" in without.stderr
    missing = train(poseglass, "synthetic", tmp_path / "other", "--scenes", tmp_path / "none.json")
    assert missing.exit_code == 2
    assert "none.json" in missing.stderr
    assert not (tmp_path / "other").exists()


def test_training_on_annotations_and_evaluating_the_checkpoint(poseglass, figures_file, tmp_path):
    out = tmp_path / "run"
    result = train(poseglass, figures_file, out)
    assert result.exit_code == 0, result.output
    training = load_checkpoint(out / "best.pt").training
    sha256 = hashlib.sha256(figures_file.read_bytes()).hexdigest()
    assert training["data"] == [{"name": "figures", "licence": "Apache-2.0", "people": 7, "sha256": sha256}]
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


def test_tensorboard_gets_the_figures_of_every_epoch(poseglass, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train(poseglass, "synthetic", tmp_path, "--tensorboard").exit_code == 0
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [round(event.value, 3) for event in events.Scalars("dev PCK@0.2")] == [round(r["dev_pck"], 3) for r in rows]
    assert [event.step for event in events.Scalars("dev PCK@0.2")] == [1000, 2000, 3000]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([row["loss"] for row in rows], rel=1e-5)
    assert [picture.step for picture in events.Images("batch")] == [0]


def test_a_missing_tensorboard_is_answered_with_the_line_that_installs_it(poseglass, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = train(poseglass, "synthetic", tmp_path, "--tensorboard")
    assert result.exit_code == 2
    assert 'pip install "poseglass[tensorboard]"' in result.stderr
    assert not (tmp_path / "last.pt").exists()


def test_a_run_is_not_resumed_on_other_labels(poseglass, figures_file, tmp_path):
    content = json.loads(figures_file.read_text())
    (tmp_path / "images").symlink_to(figures_file.parent / "images")
    data = tmp_path / "a.json"
    data.write_text(json.dumps(content))
    assert train(poseglass, data, tmp_path / "run").exit_code == 0
    assert train(poseglass, data, tmp_path / "run", "--resume").exit_code == 0
    content["annotations"][3]["keypoints"][0] += 5
    data.write_text(json.dumps(content))
    result = train(poseglass, data, tmp_path / "run", "--resume")
    assert result.exit_code == 2
    assert "was trained on other data: choose another folder" in result.stderr


def test_two_runs_do_not_share_a_folder(poseglass, tmp_path):
    with only_run_in(tmp_path):
        result = train(poseglass, "synthetic", tmp_path)
    assert result.exit_code == 2
    assert "another training runs in this folder" in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert train(poseglass, "synthetic", tmp_path).exit_code == 0


def test_places_that_cannot_be_written_to_are_named_with_their_option(poseglass, figures_file, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        result = train(poseglass, "synthetic", out)
        assert result.exit_code == 2
        assert f"--out {out}: cannot be written to" in result.stderr
    result = poseglass("evaluate", "cnn", "--data", figures_file, "--report", tmp_path / "file" / "report")
    assert result.exit_code == 2
    assert "--report" in result.stderr


def test_ctrl_c_says_how_to_go_on(poseglass, tmp_path, monkeypatch):
    from poseglass_training import loop

    genuine = loop.train

    def interrupted(*arguments):
        *others, report, init, taken, teacher = arguments

        def stop(progress):
            report(progress)
            if progress.epoch > 1.2:
                raise KeyboardInterrupt

        return genuine(*others, stop, init, taken, teacher)

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
    assert training["command"].endswith("--init first/best.pt")
    assert re.match(r"(\d+) of \1 tensors taken$", again.stderr.splitlines()[0])


def test_what_given_weights_have_nothing_for_is_said(poseglass, figures_file, tmp_path):
    assert train(poseglass, "synthetic", tmp_path / "first").exit_code == 0
    content = json.loads(figures_file.read_text())
    names = content["categories"][0]["keypoints"]
    names[names.index("neck")] = "withers"
    other = figures_file.parent / "other.json"
    other.write_text(json.dumps(content))
    result = train(poseglass, other, tmp_path / "second", "--init", tmp_path / "first" / "best.pt")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0].endswith("tensors taken; fresh: heads.0")


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
        (
            ["--preset", "cnn", "--data", "synthetic", "--init", "hourglass-m"],
            "are of a hourglass, but the preset is a cnn",
        ),
        (["--preset", "micro", "--data", "gone.json"], "gone.json: no such annotation file"),
        (["--preset", "micro", "--data", "synthetic", "--images", "."], "leave out --images, --dev and --fix"),
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
    code = "import sys; sys.modules['torch'] = None\nfrom poseglass.cli import load; load('evaluate')()"
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


@pytest.fixture
def flawed(figures_file):
    """The figures with one annotation of each kind of problem: no size, outside, a missing and a truncated picture."""
    content = json.loads(figures_file.read_text())
    first, second, third, fourth = content["annotations"][1:5]
    first["bbox"] = [10, 10, 0, 50]
    second["keypoints"][:2] = [500, 10]
    images = {image["id"]: image for image in content["images"]}
    images[third["image_id"]]["file_name"] = "gone.png"
    images[fourth["image_id"]]["file_name"] = "half.png"
    whole = (figures_file.parent / "images" / "21.png").read_bytes()
    (figures_file.parent / "images" / "half.png").write_bytes(whole[: len(whole) // 2])
    path = figures_file.parent / "flawed.json"
    path.write_text(json.dumps(content))
    return path


def test_check_lists_what_is_wrong_by_id(poseglass, flawed, figures_file):
    result = poseglass("check", flawed)
    assert result.exit_code == 1
    assert "4 annotations cannot be used as they are" in result.stdout
    assert "picture: 2 (20, 21)" in result.stdout
    assert "gone.png cannot be read" in result.stdout
    assert "box: 1 (18)" in result.stdout
    assert "outside: 1 (19)" in result.stdout
    assert "right_ankle outside the picture of 120 x 160 pixels" in result.stdout
    fine = poseglass("check", figures_file)
    assert fine.exit_code == 0
    assert "8 people with 14 joints can be used" in fine.stdout


def test_flawed_annotations_are_refused_before_the_first_step(poseglass, flawed, tmp_path):
    result = train(poseglass, flawed, tmp_path / "run", "--fix", "box")
    assert result.exit_code == 2
    assert "outside: 1 (19)" in result.stderr
    assert "box:" not in result.stderr
    assert not (tmp_path / "run").exists()
    unknown = train(poseglass, flawed, tmp_path / "run", "--fix", "everything")
    assert unknown.exit_code == 2
    assert "there are: keypoints, picture, box, outside" in unknown.stderr


def test_flawed_annotations_are_mended_on_request_and_remembered(poseglass, flawed, tmp_path):
    fixes = [part for kind in ("box", "outside", "picture") for part in ("--fix", kind)]
    result = train(poseglass, flawed, tmp_path / "run", *fixes)
    assert result.exit_code == 0, result.stderr
    (data,) = load_checkpoint(tmp_path / "run" / "best.pt").training["data"]
    assert data["fixed"] == {"box": 1, "picture": 2, "outside": 1}
    assert data["people"] == 5  # eight, less one held out and two whose pictures cannot be used
