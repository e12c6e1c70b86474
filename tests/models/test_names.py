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


def test_a_folder_does_not_hide_a_shipped_model(tmp_path, monkeypatch):
    (tmp_path / poseglass_models.DEFAULT).mkdir()
    monkeypatch.chdir(tmp_path)
    assert poseglass_models.resolve(poseglass_models.DEFAULT) == poseglass_models.path(poseglass_models.DEFAULT)
