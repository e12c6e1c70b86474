"""What lies in a repository and cannot be a model; what is not looked at."""

from __future__ import annotations

import os

import pytest

from poseglass_server.entries import State
from poseglass_server.repository import Repository
from poseglass_server.scanning import RepositoryError


def test_names_and_versions_must_be_those_of_the_directories(repository, lay, served):
    lay("a", 1, at="b/1")
    lay("a", 1, at="a/2")
    for at in ("a/v3", "a/03", "a/0", "a/5000000000", "a b/1"):
        lay("a", 1, at=at)
    refused = repository.look()
    assert all(entry.state is State.REFUSED for entry in refused)
    reasons = {(entry.name, entry.version): entry.reason for entry in refused}
    assert "move it to a/1/model.onnx, or export it with --name b --version 1" in reasons["b", 1]
    assert "move it to a/1/model.onnx" in reasons["a", 2]
    texts = "\n".join(entry.reason for entry in refused)
    for name in ("v3", "03", "0", "5000000000"):
        assert f"a/{name}: is no version; name the directory 1, 2, 3" in texts
    assert "a b: cannot be a model's name" in texts
    assert served(repository.models) == []


def test_files_in_the_wrong_place_are_refused_with_the_right_one(repository, folder, lay, put, served):
    lay("a", 1)
    put(folder / "b.onnx", b"")
    put(folder / "a" / "c.onnx", b"")
    put(folder / "d" / "1" / "weights.onnx", b"")
    (folder / "e").mkdir()
    (folder / "README").write_text("of no interest")
    (folder / "f" / "1" / "model.onnx").mkdir(parents=True)
    (folder / "g" / "1").mkdir(parents=True)
    os.mkfifo(folder / "g" / "1" / "model.onnx")
    texts = "\n".join(entry.reason for entry in repository.look())
    assert "b.onnx: is in the wrong place; move it to NAME/VERSION/model.onnx" in texts
    assert "a/c.onnx: is in the wrong place; move it to a/VERSION/model.onnx" in texts
    assert "d/1: has no model.onnx" in texts
    assert "e: has no versions; lay the first one at e/1/model.onnx" in texts
    assert "f/1/model.onnx: cannot be looked at (is not a file)" in texts
    assert "g/1/model.onnx: cannot be looked at (is not a file)" in texts
    assert "README" not in texts
    assert served(repository.models) == [("a", 1)]


def test_hidden_and_temporary_names_are_not_looked_at(repository, folder, lay, loader, states):
    lay("a", 1)
    for at in (".a/1", "a/.2", "a/2.tmp", "a/2~", "b.part/1", "lost+found"):
        lay("a", 2, at=at)
    assert states(repository.look()) == [("a", 1, "ready")]
    assert loader.loaded == ["a/1"]


def test_any_file_name_can_be_told_of(repository, folder):
    (folder / os.fsdecode(b"\xff\xfe")).mkdir()
    (refused,) = repository.look()
    refused.name.encode()
    refused.reason.encode()


def test_a_missing_directory_is_refused_and_a_lost_one_changes_nothing(folder, loader, lay, repository, served):
    for wrong in (folder / "absent", folder / "a" / "1" / "model.onnx"):
        with pytest.raises(RepositoryError, match="--models takes a directory"):
            Repository(wrong, loader)
    lay("a", 1)
    repository.look()
    folder.rename(folder.with_name("away"))
    with pytest.raises(RepositoryError):
        repository.look()
    assert served(repository.models) == [("a", 1)]
