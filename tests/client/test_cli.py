"""The table of commands, and what they all have in common."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from google.rpc import code_pb2
from typer.testing import CliRunner

from poseglass import cli


def real(*arguments, cwd=None):
    command = [sys.executable, "-m", "poseglass", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_help_names_every_command(run):
    text = run("--help").stdout
    for name, row in cli.COMMANDS.items():
        assert name in text
        assert row.summary in text


@pytest.mark.parametrize("name", [name for name, row in cli.COMMANDS.items() if row.module.startswith("poseglass.")])
def test_every_command_of_the_client_has_help(run, name):
    assert "Usage: " in run(name, "--help").stdout


def test_version(run):
    assert run("--version").stdout == f"poseglass {version('poseglass')}\n"


def test_an_option_that_stands_bare_means_its_default():
    bare = {"--ray": "local"}
    assert cli.filled(["a", "--ray"], bare) == ["a", "--ray", "local"]
    assert cli.filled(["--ray", "--json", "a"], bare) == ["--ray", "local", "--json", "a"]
    assert cli.filled(["--ray", "h:1", "a", "--ray=auto"], bare) == ["--ray", "h:1", "a", "--ray=auto"]
    assert cli.filled(["--", "--ray"], bare) == ["--", "--ray"]
    assert cli.filled([], bare) == []


def test_a_message_does_not_steer_the_terminal(capsys):
    cli.complain("a\x1b[31m\x9bb\x07 \u00e4\U0001f600")
    assert capsys.readouterr().err == "poseglass: a\\x1b[31m\\x9bb\\x07 \u00e4\U0001f600\n"


def test_an_unknown_command_is_a_usage_error(run):
    assert "predikt" in run("predikt", expect=2).stderr


def test_a_missing_extra_names_the_line_that_installs_it(run, one_line, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "train", cli.Row("absent_package.commands", "train", "training", ""))
    line = one_line(run("train", "--epochs", "3", expect=2))
    assert 'pip install "poseglass[training]"' in line


def test_an_import_that_breaks_inside_a_command_is_explained_too(run, one_line, pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "poseglass_runtime.engine", raising=False)
    assert 'pip install "poseglass[cpu]"' in one_line(run("predict", pictures, expect=2))


def test_our_own_missing_module_is_not_blamed_on_an_extra(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "train", cli.Row("poseglass_training.absent", "train", "training", ""))
    result = CliRunner().invoke(cli.app, ["train"])
    assert isinstance(result.exception, ModuleNotFoundError)


@pytest.mark.parametrize("option", ["--max-message-mb", "--timeout", "--retries"])
@pytest.mark.parametrize("command", [["predict", "one.jpg"], ["models"]])
def test_options_for_a_server_need_one(run, one_line, command, option):
    assert f"{option}: is for talking to a server" in one_line(run(*command, option, "5", expect=2))


def test_a_timeout_is_kept(run, one_line, server, pictures):
    server.poses.silent.set()
    late = run("predict", pictures / "one.jpg", "--server", server.address, "--timeout", "0.2", expect=1)
    assert "timeout of 0.2 s" in one_line(late)
    assert "timeout" in one_line(run("predict", pictures, "--server", server.address, "--timeout", "-1", expect=2))
    assert "timeout" in one_line(run("models", "--server", server.address, "--timeout", "nan", expect=2))


@pytest.mark.parametrize("retries", [0, 2])
def test_so_many_retries_and_no_more(run, one_line, server, pictures, status, monkeypatch, retries):
    monkeypatch.setattr("poseglass.retrying.INITIAL", 0.001)
    question = ["predict", pictures / "one.jpg", "--server", server.address, "--retries", retries]
    server.poses.statuses = [status(code_pb2.UNAVAILABLE, "restarting")] * retries
    run(*question)
    assert len(server.poses.requests) == retries + 1
    server.poses.statuses = [status(code_pb2.UNAVAILABLE, "restarting")] * (retries + 1)
    assert "restarting" in one_line(run(*question, expect=1))
    assert len(server.poses.requests) == 2 * (retries + 1)


def test_retries_that_cannot_be_name_the_option(run, one_line, server):
    line = one_line(run("models", "--server", server.address, "--retries", "-1", expect=2))
    assert "--retries: must be a whole number" in line


@pytest.mark.parametrize("command", [["bench", "--rate", 5], ["video", "a.mp4", "--out", "out"]])
def test_commands_that_decide_that_themselves_take_no_retries(run, server, command):
    result = run(*command, "--server", server.address, "--retries", 1, expect=2, COLUMNS="200")
    assert "No such option: --retries" in result.stderr
    assert server.poses.requests == []


def test_a_device_or_model_that_will_not_do_is_asked_wrongly(run, one_line, pictures, tmp_path):
    (tmp_path / "not.onnx").write_bytes(b"text")
    for *wrong, said in (["--model", tmp_path / "not.onnx", "not.onnx"], ["--device", "gpu", "'gpu'"]):
        assert said in one_line(run("predict", pictures / "one.jpg", *wrong, expect=2))
    inspected = run("inspect", pictures / "one.jpg", "--device", "gpu", "--out", tmp_path / "out", expect=2)
    assert "'gpu'" in one_line(inspected)


def test_a_device_file_is_one_line(run, one_line, server):
    assert "/dev/zero: is a device" in one_line(run("predict", "/dev/zero", "--server", server.address, expect=2))
    assert "/dev/zero: is a device" in one_line(run("inspect", "/dev/zero", expect=2))
    assert "the path is empty" in one_line(run("predict", "", "--server", server.address, expect=2))


def test_as_a_real_program(one_line, server, pictures):
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
    done = real("health", "--server", server.address, "--tls")
    assert "does not speak TLS" in one_line(done)  # and no lines of gRPC's own
