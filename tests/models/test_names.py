"""Models named on the command line: by shipped name or by path."""

from __future__ import annotations

import pytest

import poseglass_models


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mine", "mine: is a folder; name the .onnx file in it"),
        ("mine/none.onnx", "no such file"),
        ("x" * 5000, "cannot be looked for"),
        ("nobody", "no shipped model is called 'nobody'"),
    ],
)
def test_what_is_no_model_is_said_to_be_none(tmp_path, monkeypatch, name, says):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=says):
        poseglass_models.resolve(name)


def test_what_is_listed_has_the_file_that_was_asked_for(tmp_path, monkeypatch):
    for name in ("hourglass-s.onnx", "hourglass-s.pt", "cnn.onnx"):
        (tmp_path / name).touch()
    monkeypatch.setattr(poseglass_models, "FOLDER", tmp_path)
    for suffix, there in ((".onnx", "hourglass-s, cnn"), (".pt", "hourglass-s")):
        with pytest.raises(FileNotFoundError) as refused:
            poseglass_models.path("nobody", suffix)
        assert set(str(refused.value).split("there are: ")[1].split(", ")) == set(there.split(", "))


def test_a_folder_does_not_hide_a_shipped_model(tmp_path, monkeypatch):
    (tmp_path / poseglass_models.DEFAULT).mkdir()
    monkeypatch.chdir(tmp_path)
    assert poseglass_models.resolve(poseglass_models.DEFAULT) == poseglass_models.path(poseglass_models.DEFAULT)
