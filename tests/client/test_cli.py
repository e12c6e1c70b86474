"""The table of commands, the predict command, and the small ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from typer.testing import CliRunner

from poseglass import cli, read_picture
from poseglass_proto.v1 import pose_pb2 as pb


def run(*arguments, expect=0):
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exit_code == expect, (result.stdout, result.stderr, result.exception)
    return result


def real(*arguments, cwd=None):
    command = [sys.executable, "-m", "poseglass", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def one_line(result) -> str:
    """The complaint, which is one line and no traceback."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("poseglass: ")
    return lines[0]


def test_help_names_every_command():
    text = run("--help").stdout
    for name, row in cli.COMMANDS.items():
        assert name in text
        assert row.summary in text


@pytest.mark.parametrize("name", ["predict", "inspect", "models", "health", "doctor", "bench"])
def test_every_command_of_the_client_has_help(name):
    assert "Usage: " in run(name, "--help").stdout


def test_version():
    assert run("--version").stdout == f"poseglass {version('poseglass')}\n"


def test_an_unknown_command_is_a_usage_error():
    assert "predikt" in run("predikt", expect=2).stderr


def test_a_missing_extra_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "train", cli.Row("absent_package.commands", "train", "training", ""))
    line = one_line(run("train", "--epochs", "3", expect=2))
    assert 'pip install "poseglass[training]"' in line


def test_an_import_that_breaks_inside_a_command_is_explained_too(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "poseglass_runtime.engine", raising=False)
    assert 'pip install "poseglass[cpu]"' in one_line(run("predict", pictures, expect=2))


def test_our_own_missing_module_is_not_blamed_on_an_extra(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "train", cli.Row("poseglass_training.absent", "train", "training", ""))
    result = CliRunner().invoke(cli.app, ["train"])
    assert isinstance(result.exception, ModuleNotFoundError)


def test_predict_prints_named_joints(server, pictures):
    text = run("predict", pictures / "one.jpg", "--server", server.address).stdout
    assert "one.jpg" in text
    assert "40 x 48" in text
    assert "right_ankle" in text
    assert "head_top" in text
    assert "0.933" in text  # the last joint's score


def test_predict_as_json_is_one_document(server, pictures):
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    result = run("predict", pictures, "--server", server.address, "--json", "--box", "1,2,10,12,30", expect=1)
    broken, one, two = json.loads(result.stdout)
    assert broken["file"].endswith("broken.jpg")
    assert broken["error"]["code"] == "INVALID_ARGUMENT"
    assert broken["error"]["field"] == "image.encoded"
    assert one["persons"][0]["box"] == [1, 2, 10, 12, 30]
    assert list(two["persons"][0]["joints"])[-1] == "head_top"
    assert two["model"]["name"] == "fake"
    assert "broken.jpg" in result.stderr
    assert "1 of 3 pictures failed" in result.stderr


def test_the_good_ones_are_done_and_the_broken_one_is_named(server, pictures, tmp_path):
    (pictures / "broken.jpg").write_bytes(b"text")
    result = run("predict", pictures, "--server", server.address, "--overlay", tmp_path / "out", expect=1)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["one.jpg", "two.png"]
    assert "broken.jpg" in result.stderr
    assert "one.jpg" in result.stdout
    assert "two.png" in result.stdout


def test_overlays_of_the_same_name_are_kept_apart(server, pictures, tmp_path):
    run("predict", f"{pictures}/**/*.jpg", "--server", server.address, "--overlay", tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a-x.jpg", "b-x.jpg", "one.jpg"]


def test_an_overlay_differs_from_its_picture(server, pictures, tmp_path):
    run("predict", pictures / "two.png", "--server", server.address, "--overlay", tmp_path / "out")
    drawn, plain = read_picture(tmp_path / "out" / "two.png"), read_picture(pictures / "two.png")
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()


def test_an_overlay_never_overwrites_a_picture(server, pictures):
    before = (pictures / "one.jpg").read_bytes()
    line = one_line(run("predict", pictures, "--server", server.address, "--overlay", pictures, expect=2))
    assert "--overlay" in line
    assert "overwrite" in line
    assert (pictures / "one.jpg").read_bytes() == before


def test_heatmaps_are_a_sheet_and_arrays_a_person(server, pictures, tmp_path):
    boxes = ["--box", "0,0,20,24", "--box", "20,24,20,24"]
    out = tmp_path / "heat maps"
    result = run("predict", pictures / "one.jpg", "--server", server.address, "--heatmaps", out, "--json", *boxes)
    written = json.loads(result.stdout)[0]["heatmaps"]
    assert sorted(map(str, out.iterdir())) == sorted(written)
    assert len(written) == 4
    with np.load(out / "one-person2-heatmaps.npz") as arrays:
        assert arrays["values"].shape == (14, 6, 5)
        assert arrays["names"][13] == "head_top"
        # The fake's peak: column 3, row 2.
        assert (arrays["to_image"] @ [3, 2, 1]).tolist() == [20 + 3 * 20 / 5, 24 + 2 * 24 / 6]
    assert read_picture(out / "one-person1-heatmaps.png").shape[2] == 3


def test_options_reach_the_server(server, pictures):
    run(
        "predict",
        pictures / "one.jpg",
        "--server",
        server.address,
        "--flip",
        "--joint-threshold",
        "0.5",
        "--model",
        "fake",
    )
    (request,) = server.poses.requests
    assert request.flip_test
    assert request.thresholds.joint == 0.5
    assert request.model == "fake"
    assert request.locate == pb.AUTO
    assert not request.thresholds.HasField("person")
    thresholds = ["--person-threshold", "0.25", "--overlap-threshold", "0.75"]
    arguments = ["--locate", "detect", "--detector", "finder", *thresholds, "--json"]
    (answer,) = json.loads(run("predict", pictures / "one.jpg", "--server", server.address, *arguments).stdout)
    request = server.poses.requests[-1]
    assert (request.locate, request.detector) == (pb.DETECT, "finder")
    assert (request.thresholds.person, request.thresholds.overlap) == (0.25, 0.75)
    assert answer["detector"] == {"name": "finder", "version": 2, "sha256": ""}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.jpg"], "gone.jpg: no such file"),
        (["{folder}/empty"], "empty: no picture"),
        (["{folder}/*.webp"], "*.webp: matches nothing"),
        (["{folder}/one.jpg", "--box", "1,2,3"], "--box: '1,2,3' must be x,y,width,height"),
        (["{folder}/one.jpg", "--box", "1,2,0,4"], "--box: '1,2,0,4': width must be greater than 0"),
        (["{folder}/one.jpg", "--box", "1,2,nan,4"], "--box: '1,2,nan,4': width must be"),
        (["{folder}/one.jpg", "--box", "1,2,3e9,4"], "--box: '1,2,3e9,4': width must be"),
        (["{folder}/one.jpg", "--box", "a,b,c,d"], "--box"),
        (["{folder}/one.jpg", "--joint-threshold", "2"], "thresholds.joint"),
        (["{folder}/one.jpg", "--person-threshold", "nan"], "thresholds.person"),
        (["{folder}/one.jpg", "--overlap-threshold", "-1"], "thresholds.overlap"),
        (["{folder}/one.jpg", "--locate", "everywhere"], "locate"),
        (["{folder}/one.jpg", "--device", "cpu"], "--device"),
        (["{folder}/one.jpg", "--model", "x.onnx"], "--model"),
        (["{folder}/one.jpg", "--model", "horse"], "'horse'"),
        (["{folder}/one.jpg", "--overlay", "{folder}/notes.txt"], "notes.txt"),
    ],
)
def test_a_wrong_question_is_one_line_and_exit_code_2(server, pictures, arguments, said):
    (pictures / "empty").mkdir()
    arguments = [a.format(folder=pictures) for a in arguments]
    result = run("predict", *arguments, "--server", server.address, expect=2)
    assert said in one_line(result)
    assert result.stdout == ""


def test_nobody_at_the_address(nobody, pictures):
    result = run("predict", pictures / "one.jpg", "--server", nobody, expect=1)
    assert nobody in one_line(result)


def test_a_folder_that_cannot_be_written_into_costs_the_overlay_only(server, pictures, tmp_path, monkeypatch):
    def no_space(path, image):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("poseglass.commands.outputs.save_picture", no_space)
    arguments = ["predict", pictures / "one.jpg", "--server", server.address, "--overlay", tmp_path / "out", "--json"]
    result = run(*arguments, expect=1)
    (answer,) = json.loads(result.stdout)
    assert answer["persons"]
    assert "No space left" in answer["error"]["message"]


def test_an_answer_over_the_limit_costs_its_own_picture_only(server, pictures, monkeypatch):
    answer = server.poses.answer

    def big_for_the_second(request):
        response = answer(request)
        if request.image.encoded == (pictures / "two.png").read_bytes():
            response.provider = "x" * (2 << 20)
        return response

    monkeypatch.setattr(server.poses, "answer", big_for_the_second)
    for name in ("three.jpg", "zwei.jpg"):
        (pictures / name).write_bytes((pictures / "one.jpg").read_bytes())
    arguments = ["predict", pictures, "--server", server.address, "--max-message-mb", "1", "--json"]
    result = run(*arguments, expect=1)
    answers = json.loads(result.stdout)
    assert [answer["file"].rpartition("/")[2] for answer in answers] == ["one.jpg", "three.jpg", "two.png", "zwei.jpg"]
    assert ["error" in answer for answer in answers] == [False, False, True, False]
    assert "max_message_mb" in answers[2]["error"]["message"]
    assert "two.png" in result.stderr


@pytest.mark.parametrize("option", ["--max-message-mb", "--timeout"])
def test_options_for_a_server_need_one(pictures, option):
    assert option in one_line(run("predict", pictures / "one.jpg", option, "5", expect=2))
    if option == "--timeout":
        assert option in one_line(run("models", option, "5", expect=2))


def test_a_timeout_is_kept(server, pictures):
    server.poses.silent.set()
    run("predict", pictures / "one.jpg", "--server", server.address, "--timeout", "0.2", expect=1)
    assert "timeout" in one_line(run("predict", pictures, "--server", server.address, "--timeout", "-1", expect=2))
    assert "timeout" in one_line(run("models", "--server", server.address, "--timeout", "nan", expect=2))


def test_a_device_or_model_that_will_not_do_is_asked_wrongly(pictures, tmp_path):
    (tmp_path / "not.onnx").write_bytes(b"text")
    for wrong in (["--model", tmp_path / "not.onnx"], ["--device", "gpu"]):
        run("predict", pictures / "one.jpg", *wrong, expect=2)
    run("inspect", pictures / "one.jpg", "--device", "gpu", "--out", tmp_path / "out", expect=2)


def test_a_device_file_is_one_line(server):
    assert "/dev/zero: is a device" in one_line(run("predict", "/dev/zero", "--server", server.address, expect=2))
    assert "/dev/zero: is a device" in one_line(run("inspect", "/dev/zero", expect=2))
    assert "the path is empty" in one_line(run("predict", "", "--server", server.address, expect=2))


def test_output_that_cannot_say_a_character_is_escaped(server, pictures):
    (pictures / "one.jpg").rename(pictures / os.fsdecode(b"gr\xc3\xbc\xdf.jpg"))  # half UTF-8, half Latin-1
    for encoding in ("ascii", "utf-8"):
        command = [sys.executable, "-m", "poseglass", "predict", str(pictures), "--server", server.address]
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        plain = subprocess.run(command, capture_output=True, env=environment, check=True)
        assert b"head_top" in plain.stdout
        document = subprocess.run([*command, "--json"], capture_output=True, env=environment, check=True)
        first, _ = json.loads(document.stdout.decode("utf-8"))
        assert os.fsencode(first["file"]).endswith(b"/gr\xc3\xbc\xdf.jpg")


def test_a_narrow_terminal_gets_lines(server, pictures, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = run("predict", pictures / "one.jpg", "--server", server.address, "--box", "0.5,0,20,24.25,30").stdout
    assert "  head_top  19.2  22.6  0.933" in text
    assert "box 0.5,0,20,24.25,30" in text
    monkeypatch.setenv("COLUMNS", "80")
    assert "joint" in run("predict", pictures / "one.jpg", "--server", server.address).stdout


def test_help_says_the_extra(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "needs [training]" in run("inspect", "--help").stdout


def test_models_of_a_server(server):
    text = run("models", "--server", server.address).stdout
    assert "fake" in text
    assert "no parity" in text
    ready, refused = json.loads(run("models", "--server", server.address, "--json").stdout)
    assert (ready["name"], ready["version"], ready["input"]) == ("fake", 3, {"height": 24, "width": 20})
    assert ready["evaluation"][0]["pck"] == 61.25
    assert ready["licence"] == "research only"
    assert (refused["state"], refused["reason"]) == ("REFUSED", "no parity")


def test_shipped_models_are_listed_and_a_broken_one_says_why(tiny_model_path, tmp_path, monkeypatch):
    (tmp_path / "tiny.onnx").write_bytes(tiny_model_path.read_bytes())
    (tmp_path / "broken.onnx").write_bytes(b"text")
    monkeypatch.setattr("poseglass_models.FOLDER", tmp_path)
    broken, tiny = json.loads(run("models", "--json").stdout)
    assert (broken["name"], broken["state"]) == ("broken", "REFUSED")
    assert "broken.onnx" in broken["reason"]
    assert (tiny["state"], len(tiny["joints"]), tiny["input"]) == ("READY", 14, {"height": 64, "width": 64})
    text = run("models").stdout
    assert "64 x 64" in text
    assert "broken.onnx" in text


def test_detectors_are_listed_too(tiny_model_path, tiny_detector_path, tmp_path, monkeypatch):
    (tmp_path / "tiny.onnx").write_bytes(tiny_model_path.read_bytes())
    (tmp_path / "person.onnx").write_bytes(tiny_detector_path.read_bytes())
    monkeypatch.setattr("poseglass_models.FOLDER", tmp_path)
    monkeypatch.setattr("poseglass_models.detector", lambda: "person")
    tiny, person = json.loads(run("models", "--json").stdout)
    assert (tiny["name"], tiny["kind"]) == ("tiny", "POSE")
    assert (person["name"], person["kind"], person["state"]) == ("halves", "DETECTOR", "READY")
    assert (person["joints"], person["is_default"]) == ([], True)
    assert "halves version 1, detector, ready, default" in run("models").stdout
    (tmp_path / "person.onnx").write_bytes(b"text")
    assert json.loads(run("models", "--json").stdout)[1]["state"] == "REFUSED"


def test_health(server, nobody):
    assert server.address in run("health", "--server", server.address).stdout
    server.set_health(False)
    assert "not serving" in one_line(run("health", "--server", server.address, expect=1))
    assert nobody in one_line(run("health", "--server", nobody, "--timeout", "2", expect=1))


def test_in_process(tiny_model_path, pictures, tmp_path):
    arguments = ["predict", pictures, "--model", tiny_model_path, "--device", "cpu", "--heatmaps", tmp_path, "--json"]
    one, two = json.loads(run(*arguments).stdout)
    assert len(one["persons"][0]["joints"]) == 14
    assert one["provider"] == "CPUExecutionProvider"
    assert len(two["heatmaps"]) == 2


def test_in_process_everybody_is_found(tiny_model_path, tiny_detector_path, pictures):
    arguments = ["predict", pictures / "one.jpg", "--model", tiny_model_path, "--overlap-threshold", 1, "--json"]
    (everybody,) = json.loads(run(*arguments, "--detector", tiny_detector_path).stdout)
    assert len(everybody["persons"]) == 2
    assert everybody["detector"]["name"] == "halves"
    (one,) = json.loads(run(*arguments, "--detector", tiny_detector_path, "--locate", "whole").stdout)
    assert len(one["persons"]) == 1
    (nobody,) = json.loads(run(*arguments, "--detector", tiny_detector_path, "--person-threshold", 1).stdout)
    assert nobody["persons"] == []
    line = one_line(run(*arguments, "--locate", "detect", expect=2))
    assert "no detector is loaded" in line


def test_in_process_the_good_ones_are_done_too(tiny_model_path, pictures):
    (pictures / "broken.jpg").write_bytes((pictures / "one.jpg").read_bytes()[:-20])
    result = run("predict", pictures, "--model", tiny_model_path, "--json", expect=1)
    broken, *good = json.loads(result.stdout)
    assert "truncated" in broken["error"]["message"]
    assert all(answer["persons"] for answer in good)


def test_in_process_a_model_that_does_not_exist(pictures):
    assert "'horse'" in one_line(run("predict", pictures, "--model", "horse", expect=2))


def test_inspect_writes_a_sheet(tiny_model_path, pictures, tmp_path):
    out = tmp_path / "sheets"
    result = run("inspect", pictures / "one.jpg", "--model", tiny_model_path, "--out", out, "--box", "2,2,30,40")
    assert sorted(file.name for file in out.iterdir()) == ["one-person1-heatmaps.npz", "one-person1-heatmaps.png"]
    assert "one-person1-heatmaps.png" in result.stdout


def test_inspect_shows_the_layers_of_a_checkpoint(tiny_model_path, tiny_checkpoint_path, pictures, tmp_path):
    arguments = ["--model", tiny_model_path, "--out", tmp_path, "--checkpoint", tiny_checkpoint_path, "--layers"]
    run("inspect", pictures / "one.jpg", *arguments)
    sheets = [file for file in tmp_path.iterdir() if file.suffix == ".png"]
    assert len(sheets) > 2
    assert not any(" " in sheet.name for sheet in sheets)
    for sheet in sheets:
        assert read_picture(sheet).std() > 0


def test_inspect_asks_for_the_checkpoint_where_it_cannot_know_it(tiny_model_path, pictures, tmp_path):
    line = one_line(run("inspect", pictures / "one.jpg", "--model", tiny_model_path, "--layers", expect=2))
    assert "--checkpoint" in line
    line = one_line(run("inspect", pictures / "one.jpg", "--checkpoint", tmp_path / "gone.pt", expect=2))
    assert "gone.pt" in line
    assert "gone.jpg" in one_line(run("inspect", "gone.jpg", expect=2))


def test_as_a_real_program(server, pictures):
    done = real(
        "predict", "my pictures/one.jpg", "my pictures/gone.jpg", "--server", server.address, cwd=pictures.parent
    )
    assert done.returncode == 2
    assert "gone.jpg: no such file" in one_line(done)
    done = real("predict", "my pictures/*.jpg", "--server", server.address, "--json", cwd=pictures.parent)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)[0]["file"] == "my pictures/one.jpg"
    done = real("health", "--server", server.address)
    assert (done.returncode, done.stderr) == (0, "")
