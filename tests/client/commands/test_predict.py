"""`poseglass predict`, with a server and in-process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import poseglass.commands.predict  # noqa: F401 - the module, whose name the command takes in its package
from poseglass import read_picture
from poseglass.errors import Unavailable
from poseglass_proto.v1 import pose_pb2 as pb


def test_predict_prints_named_joints(run, server, pictures):
    text = run("predict", pictures / "one.jpg", "--server", server.address).stdout
    assert "one.jpg" in text
    assert "40 x 48" in text
    assert "right_ankle" in text
    assert "head_top" in text
    assert "0.933" in text  # the last joint's score


def test_predict_as_json_is_one_document(run, server, pictures):
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


def test_the_good_ones_are_done_and_the_broken_one_is_named(run, server, pictures, tmp_path):
    (pictures / "broken.jpg").write_bytes(b"text")
    result = run("predict", pictures, "--server", server.address, "--overlay", tmp_path / "out", expect=1)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["one.jpg", "two.png"]
    assert "broken.jpg" in result.stderr
    assert "one.jpg" in result.stdout
    assert "two.png" in result.stdout


def test_overlays_of_the_same_name_are_kept_apart(run, server, pictures, tmp_path):
    run("predict", f"{pictures}/**/*.jpg", "--server", server.address, "--overlay", tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a-x.jpg", "b-x.jpg", "one.jpg"]


def test_an_overlay_differs_from_its_picture(run, server, pictures, tmp_path):
    run("predict", pictures / "two.png", "--server", server.address, "--overlay", tmp_path / "out")
    drawn, plain = read_picture(tmp_path / "out" / "two.png"), read_picture(pictures / "two.png")
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()


def test_an_overlay_never_overwrites_a_picture(run, one_line, server, pictures):
    before = (pictures / "one.jpg").read_bytes()
    line = one_line(run("predict", pictures, "--server", server.address, "--overlay", pictures, expect=2))
    assert "--overlay" in line
    assert "overwrite" in line
    assert (pictures / "one.jpg").read_bytes() == before


def test_heatmaps_are_a_sheet_and_arrays_a_person(run, server, pictures, tmp_path):
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


def test_options_reach_the_server(run, server, pictures):
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


def test_pictures_that_nobody_answers_any_more_are_in_the_list_too(run, server, pictures, monkeypatch):
    predicting = sys.modules["poseglass.commands.predict"]
    ask = predicting._ask

    def broken_off(connection, files, options):
        yield next(ask(connection, files, options))
        raise Unavailable("gone")

    monkeypatch.setattr(predicting, "_ask", broken_off)
    files = [pictures / name for name in ("one.jpg", "two.png", "a/x.jpg")]
    result = run("predict", *files, "--server", server.address, "--json", expect=1)
    answers = json.loads(result.stdout)
    assert [answer["file"] for answer in answers] == [str(file) for file in files]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, "UNAVAILABLE", "UNAVAILABLE"]
    assert "2 of 3 pictures failed" in result.stderr


@pytest.mark.parametrize("option", ["--overlay", "--heatmaps"])
def test_a_folder_without_a_name_is_not_the_current_one(run, server, pictures, option):
    result = run("predict", pictures / "one.jpg", "--server", server.address, option, "", expect=2)
    assert f"'{option}': is empty; name a" in result.stderr


@pytest.mark.parametrize("empty", ["", " "])
def test_a_server_without_a_name_is_not_this_process(run, one_line, pictures, empty):
    for command in (["predict", str(pictures / "one.jpg")], ["health"]):
        result = run(*command, "--server", empty, expect=2)
        assert "--server: is empty; name HOST:PORT" in one_line(result)


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
        (["{folder}/one.jpg", "--joint-threshold", "2"], "--joint-threshold"),
        (["{folder}/one.jpg", "--person-threshold", "nan"], "--person-threshold"),
        (["{folder}/one.jpg", "--overlap-threshold", "-1"], "--overlap-threshold"),
        (["{folder}/one.jpg", "--locate", "everywhere"], "locate"),
        (["{folder}/one.jpg", "--box", "1,2,3,4", "--locate", "whole"], "--locate: is about people who are looked"),
        (["{folder}/one.jpg", "--box", "1,2,3,4", "--detector", "finder"], "--detector: is about"),
        (["{folder}/one.jpg", "--box", "1,2,3,4", "--person-threshold", "0"], "--person-threshold: is about"),
        (["{folder}/one.jpg", "--box", "1,2,3,4", "--overlap-threshold", "1"], "--overlap-threshold: is about"),
        (["{folder}/one.jpg", "--device", "cpu"], "--device"),
        (["{folder}/one.jpg", "--model", "x.onnx"], "--model"),
        (["{folder}/one.jpg", "--model", "horse"], "'horse'"),
        (["{folder}/one.jpg", "--overlay", "{folder}/notes.txt"], "notes.txt"),
    ],
)
def test_a_wrong_question_is_one_line_and_exit_code_2(run, one_line, server, pictures, arguments, said):
    (pictures / "empty").mkdir()
    arguments = [a.format(folder=pictures) for a in arguments]
    result = run("predict", *arguments, "--server", server.address, expect=2)
    assert said in one_line(result)
    assert result.stdout == ""


def test_nobody_at_the_address(run, one_line, nobody, pictures):
    result = run("predict", pictures / "one.jpg", "--server", nobody, expect=1)
    assert nobody in one_line(result)


def test_a_folder_that_cannot_be_written_into_costs_the_overlay_only(run, server, pictures, tmp_path, monkeypatch):
    def no_space(path, image):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("poseglass.commands.outputs.save_picture", no_space)
    arguments = ["predict", pictures / "one.jpg", "--server", server.address, "--overlay", tmp_path / "out", "--json"]
    result = run(*arguments, expect=1)
    (answer,) = json.loads(result.stdout)
    assert answer["persons"]
    assert "No space left" in answer["error"]["message"]


def test_an_answer_over_the_limit_costs_its_own_picture_only(run, server, pictures, monkeypatch):
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


def test_a_narrow_terminal_gets_lines(run, server, pictures, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = run("predict", pictures / "one.jpg", "--server", server.address, "--box", "0.5,0,20,24.25,30").stdout
    assert "  head_top  19.2  22.6  0.933" in text
    assert "box 0.5,0,20,24.25,30" in text
    monkeypatch.setenv("COLUMNS", "80")
    assert "joint" in run("predict", pictures / "one.jpg", "--server", server.address).stdout


def test_in_process(run, tiny_model_path, pictures, tmp_path):
    arguments = ["predict", pictures, "--model", tiny_model_path, "--device", "cpu", "--heatmaps", tmp_path, "--json"]
    one, two = json.loads(run(*arguments).stdout)
    assert len(one["persons"][0]["joints"]) == 14
    assert one["provider"] == "CPUExecutionProvider"
    assert len(two["heatmaps"]) == 2


def test_in_process_everybody_is_found(run, one_line, tiny_model_path, tiny_detector_path, pictures):
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


def test_in_process_the_good_ones_are_done_too(run, tiny_model_path, pictures):
    (pictures / "broken.jpg").write_bytes((pictures / "one.jpg").read_bytes()[:-20])
    result = run("predict", pictures, "--model", tiny_model_path, "--json", expect=1)
    broken, *good = json.loads(result.stdout)
    assert "truncated" in broken["error"]["message"]
    assert all(answer["persons"] for answer in good)


def test_in_process_a_model_that_does_not_exist(run, one_line, pictures):
    assert "'horse'" in one_line(run("predict", pictures, "--model", "horse", expect=2))
