"""What one look after another makes of a directory of models."""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from functools import partial
from typing import Any

import pytest

from poseglass_core.poses import ModelRef
from poseglass_server.entries import State
from poseglass_server.errors import NotReady, UnknownModel
from poseglass_server.repository import Repository


def test_all_names_and_versions_are_served(repository, lay, states, served):
    lay("b", 1)
    lay("a", 9)
    sha256 = lay("a", 10)
    lay("finder", 3, kind="detector")
    assert states(repository.look()) == [
        ("a", 9, "ready"),
        ("a", 10, "ready"),
        ("b", 1, "ready"),
        ("finder", 3, "ready"),
    ]
    models = repository.models
    assert served(models) == [("a", 10), ("a", 9), ("b", 1), ("finder", 3)]
    assert models.default.ref == models.get("", 0).ref == ModelRef("a", 10, sha256)
    assert models.get("a", 9).ref.version == 9
    assert models.detector("").ref.name == "finder"
    assert models.entries == []


def test_a_new_version_serves_and_nothing_is_loaded_twice(repository, lay, loader, states):
    lay("a", 1)
    repository.look()
    lay("a", 2)
    assert states(repository.look()) == [("a", 2, "ready")]
    assert repository.models.get("a", 0).ref.version == 2
    assert repository.models.get("a", 1).ref.version == 1
    assert repository.look() == []
    assert loader.loaded == ["a/1", "a/2"]


def test_a_file_that_was_only_touched_is_not_loaded_again(repository, lay, loader, folder):
    lay("a", 1)
    repository.look()
    model = repository.models.default
    os.utime(folder / "a" / "1" / "model.onnx", (1, 1))
    assert repository.look() == []
    lay("a", 1)  # another file of the same content
    assert repository.look() == []
    assert repository.models.default is model
    assert loader.loaded == ["a/1"]


def test_a_version_that_is_replaced_serves_its_new_content(repository, lay, loader, states):
    before = lay("a", 1, "first")
    repository.look()
    held = repository.models.default
    after = lay("a", 1, "second")
    assert states(repository.look()) == [("a", 1, "ready"), ("a", 1, "retiring")]
    assert (held.ref.sha256, repository.models.default.ref.sha256) == (before, after)
    assert [(entry.state, entry.sha256) for entry in repository.models.entries] == [(State.RETIRING, before)]


def test_a_side_car_is_part_of_a_model(repository, lay, loader, folder, put, states):
    lay("a", 1)
    repository.look()
    put(folder / "a" / "1" / "model.manifest.json", b"{}")
    assert states(repository.look())[0] == ("a", 1, "ready")
    assert loader.loaded == ["a/1", "a/1"]


def test_a_broken_version_is_refused_and_the_old_one_serves(repository, lay, folder, caplog, put, states):
    lay("a", 1)
    repository.look()
    sha256 = put(folder / "a" / "2" / "model.onnx", b"broken")
    (refused,) = repository.look()
    assert (refused.state, refused.sha256, refused.kind) == (State.REFUSED, sha256, "pose")
    assert refused.reason == "a/2/model.onnx: not a model that can be loaded"
    assert "a version 2 is refused" in caplog.text
    models = repository.models
    assert models.get("a", 0).ref.version == 1
    assert models.entries == [refused]
    with pytest.raises(NotReady, match="a version 2 is not ready: a/2/model.onnx: not a model"):
        models.get("a", 2)
    with pytest.raises(UnknownModel, match="there is no version 3"):
        models.get("a", 3)
    caplog.clear()
    assert repository.look() == [refused]  # told again to whoever asks, and neither tried nor logged again
    assert caplog.text == ""
    lay("a", 2)
    assert states(repository.look()) == [("a", 2, "ready")]
    assert repository.models.entries == []


def test_what_serves_outlives_a_broken_file_in_its_place(repository, lay, loader, folder, put, states):
    before = lay("a", 1)
    repository.look()
    put(folder / "a" / "1" / "model.onnx", b"broken")
    assert states(repository.look()) == [("a", 1, "refused")]
    assert repository.models.default.ref.sha256 == before
    lay("a", 1)  # as it was
    assert repository.look() == []
    assert repository.models.entries == []
    assert loader.loaded == ["a/1", "a/1"]


def test_a_loader_that_fails_in_any_way_refuses(repository, lay, loader):
    def fail() -> None:
        raise KeyError("/some/secret")

    lay("a", 1)
    loader.during = fail
    (refused,) = repository.look()
    assert refused.reason == "a/1/model.onnx: cannot be loaded (KeyError)"


def test_a_directory_that_is_removed_retires_its_model(repository, lay, folder, states, served):
    lay("a", 1)
    lay("a", 2)
    lay("b", 1)
    repository.look()
    shutil.rmtree(folder / "a" / "2")
    shutil.rmtree(folder / "b")
    assert states(repository.look()) == [("a", 2, "retiring"), ("b", 1, "retiring")]
    assert served(repository.models) == [("a", 1)]
    with pytest.raises(UnknownModel):
        repository.models.get("b", 0)


def test_a_moved_directory_leaves_no_gap(repository, lay, loader, folder, served):
    lay("a", 1)
    repository.look()
    (folder / "a" / "1").rename(folder / "a" / ".old")
    lay("a", 2)
    seen: list[list[tuple[str, int]]] = []
    loader.during = lambda: seen.append(served(repository.models))
    repository.look()
    assert seen == [[("a", 1)]]
    assert served(repository.models) == [("a", 2)]


def test_the_serving_file_rolls_back_without_removing_anything(repository, lay, loader, folder, caplog):
    caplog.set_level("INFO")
    for version in (1, 2, 3):
        lay("a", version)
    repository.look()
    pin = folder / "a" / "serving"
    for text, expected in (("1\n", 1), ("2", 2), ("newest", 3)):
        pin.write_text(text)
        assert repository.look() == []
        assert repository.models.get("a", 0).ref.version == repository.models.default.ref.version == expected
        assert f"a: version {expected} serves requests that name no version" in caplog.text
    assert repository.models.get("a", 1).ref.version == 1
    pin.write_text("1")
    repository.look()
    pin.write_text("the best")  # cannot be followed: stays as it was
    (refused,) = repository.look()
    assert "a/serving" in refused.reason
    assert "not 'the best'" in refused.reason
    assert repository.models.get("a", 0).ref.version == 1
    pin.write_text("7")
    (refused,) = repository.look()
    assert (refused.version, refused.reason.split(" asks")[0]) == (7, "a/serving")
    assert repository.models.get("a", 0).ref.version == 3
    pin.unlink()
    assert repository.look() == []
    assert len(loader.loaded) == 3


def test_a_pose_model_and_a_detector_do_not_share_a_name(repository, lay, folder, states):
    lay("a", 1)
    lay("a", 2, kind="detector")
    *_, refused = repository.look()
    assert states([refused]) == [("a", 2, "refused")]
    assert "give it another name" in refused.reason
    shutil.rmtree(folder / "a" / "1")
    assert ("a", 2, "ready") in states(repository.look())
    assert repository.models.detector("a").ref.version == 2


def test_a_file_that_is_being_written_waits_for_the_next_look(repository, lay, loader, folder, states):
    lay("a", 1)
    repository.look()
    lay("a", 2, "half of it")
    loader.during = partial(lay, "a", 2, "all of it")
    (coming,) = repository.look()
    assert states([coming]) == [("a", 2, "loading")]
    assert "changed while it was read" in coming.reason
    assert repository.models.get("a", 0).ref.version == 1
    with pytest.raises(NotReady):
        repository.models.get("a", 2)
    loader.during = lambda: None
    assert states(repository.look()) == [("a", 2, "ready")]


def test_the_default_is_the_first_name_or_the_given_one(folder, loader, lay, served):
    lay("a", 1)
    lay("b", 2)
    given = Repository(folder, loader, default="b")
    given.look()
    assert given.models.default.ref.name == "b"
    assert served(given.models)[0] == ("b", 2)
    absent = Repository(folder, loader, default="c")
    absent.look()
    assert absent.models.default is None
    assert absent.models.get("a", 0).ref.name == "a"
    with pytest.raises(NotReady, match="the default model, 'c', is not ready"):
        absent.models.get("", 0)


def test_a_default_that_is_not_ready_is_told_of_once(folder, loader, lay, caplog):
    lay("a", 1)
    (folder / "b" / "1").mkdir(parents=True)
    repository = Repository(folder, loader, default="c")
    for _ in range(3):
        repository.look()
    told = [record.message for record in caplog.records if "default" in record.message]
    assert told == ["the default model, 'c', is not ready; the repository has none"]  # and nothing about others
    lay("c", 1)
    repository.look()
    shutil.rmtree(folder / "c")
    repository.look()
    assert len([record for record in caplog.records if "default" in record.message]) == 2


def test_retired_models_are_freed(repository, lay, loader):
    gc.collect()
    gc.disable()
    try:
        lay("a", 1, "first")
        repository.look()
        old = loader.networks["a/1"]
        lay("a", 1, "second")
        repository.look()
        assert loader.networks["a/1"] is not old
        gone = weakref.ref(old)
        del old
        assert gone() is None  # by counting references alone: nothing waits for the garbage collector
        assert repository.models.entries == []
    finally:
        gc.enable()


def test_a_hundred_reloads_keep_nothing(repository, lay, loader, states):
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    for i in range(100):
        lay("a", 1 + i % 2, str(i))
        assert states(repository.look())[0] == ("a", 1 + i % 2, "ready")
        alive.update(model.network for model in repository.models)
    assert len(alive) == 2
    assert repository.models.entries == []


def test_closing_ends_a_look_at_the_model_it_is_at(repository, lay, loader, served):
    lay("a", 1)
    lay("b", 1)
    loader.during = repository.close
    assert repository.look() == []
    assert loader.loaded == ["a/1"]
    assert served(repository.models) == []
