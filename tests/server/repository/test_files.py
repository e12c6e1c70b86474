"""Repositories of real model files."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_runtime.detector import load_model
from poseglass_server.batcher import Runners
from poseglass_server.catalogue import RepositoryCatalogue
from poseglass_server.entries import State
from poseglass_server.loading import Loader
from poseglass_server.repository import Repository


@pytest.fixture(scope="module")
def onnx_model() -> Callable[..., bytes]:
    """Bytes of a model with a fake network's manifest, and one score for everything: `onnx_model(network, 0.5)`."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def make(network: Any, score: float = 0.5, **changes: Any) -> bytes:
        manifest = network.manifest
        joints, cells = len(manifest.skeleton.joints), list(manifest.heatmap_size)
        shapes = {"heatmaps": [joints, *cells], "joints": [joints, 2], "scores": [joints]}
        nodes = [helper.make_node("Shape", ["image"], ["batch"], start=0, end=1)]
        constants = []
        for name, shape in shapes.items():
            constants.append(numpy_helper.from_array(np.full((1, *shape), score, np.float32), f"{name}_"))
            constants.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_shape"))
            nodes.append(helper.make_node("Concat", ["batch", f"{name}_shape"], [f"{name}_size"], axis=0))
            nodes.append(helper.make_node("Expand", [f"{name}_", f"{name}_size"], [name]))
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *manifest.input_size, 3])
        outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *s]) for n, s in shapes.items()]
        graph = helper.make_graph(nodes, "pose", [image], outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        text = json.dumps(json.loads(manifest.dumps()) | changes)
        onnx.helper.set_model_props(model, {"poseglass.manifest": text})
        return model.SerializeToString()

    return make


@pytest.fixture
def real(folder) -> Iterator[Repository]:
    """The repository, with ONNX Runtime."""
    runners = Runners(2)
    yield Repository(folder, Loader(runners, "cpu", threads=2, share=1, most=8, delay=0.0))
    runners.close()


def test_real_models_are_loaded_and_freed(real, onnx_model, make_network, tiny_detector_path, folder, put, states):
    first = put(folder / "a" / "1" / "model.onnx", onnx_model(make_network("a", 1), 0.25))
    put(folder / "halves" / "1" / "model.onnx", tiny_detector_path.read_bytes())
    assert states(real.look()) == [("a", 1, "ready"), ("halves", 1, "ready")]
    old = real.models.default
    second = put(folder / "a" / "1" / "model.onnx", onnx_model(make_network("a", 1), 0.75))
    real.look()
    new = real.models.default
    assert (old.ref.sha256, new.ref.sha256) == (first, second)
    crops = np.zeros((3, 64, 64, 3), np.uint8)
    assert [float(model.network.run(crops).scores[2, 0]) for model in (old, new)] == [0.25, 0.75]
    session = weakref.ref(old.network)
    del old
    assert session() is None


def test_real_files_that_will_not_do_are_refused(real, onnx_model, make_network, folder, put, served):
    import onnx

    good = onnx_model(make_network("a", 1))
    future = onnx.load_from_string(good)
    future.opset_import[0].version = 999
    bad = {
        "truncated": good[: len(good) // 2],
        "zeros": bytes(len(good)),
        "empty": b"",
        "text": b"not a model",
        "unproven": onnx_model(make_network("unproven", 1), parity={}),
        "undescribed": onnx_model(make_network("undescribed", 1), joints=[]),
        "unlike": onnx_model(make_network("unlike", 1), input={"height": 32, "width": 64}),
        "another": onnx_model(make_network("a", 1)),
        "future": future.SerializeToString(),
    }
    put(folder / "a" / "1" / "model.onnx", good)
    for name, data in bad.items():
        put(folder / name / "1" / "model.onnx", data)
    ready, *refused = real.look()
    assert ready.name == "a"
    assert [(entry.name, entry.state) for entry in refused] == [(name, State.REFUSED) for name in sorted(bad)]
    reasons = {entry.name: entry.reason for entry in refused}
    assert "parity" in reasons["unproven"]
    assert "joints" in reasons["undescribed"]
    assert "image" in reasons["unlike"]
    for name, reason in reasons.items():
        assert reason.startswith(f"{name}/1/model.onnx: ")
        assert str(folder) not in reason
    assert served(real.models) == [("a", 1)]


def test_a_file_exchanged_between_its_two_sessions_does_not_become_half_of_each(
    real, onnx_model, make_network, folder, put, states, monkeypatch
):
    new = onnx_model(make_network("a", 1), 0.75)

    def then_exchange(*args):
        engine = load_model(*args)
        put(folder / "a" / "1" / "model.onnx", new)
        return engine

    monkeypatch.setattr("poseglass_server.loading.load_model", then_exchange)
    put(folder / "a" / "1" / "model.onnx", onnx_model(make_network("a", 1), 0.25))
    assert states(real.look()) == [("a", 1, "loading")]
    monkeypatch.undo()
    assert states(real.look()) == [("a", 1, "ready")]
    assert real.models.default.ref.sha256 == hashlib.sha256(new).hexdigest()


def test_answers_under_load_are_of_the_model_they_name(
    serving, onnx_model, make_network, folder, png, put, eventually, reload
):
    contents = [onnx_model(make_network("a", 1), score) for score in (0.25, 0.75)]
    scores = {hashlib.sha256(data).hexdigest(): score for data, score in zip(contents, (0.25, 0.75), strict=True)}
    put(folder / "a" / "1" / "model.onnx", contents[0])

    def catalogue(runners: Runners) -> RepositoryCatalogue:
        return RepositoryCatalogue(Repository(folder, Loader(runners, "cpu", 2, 1, 8, 0.0)))

    with serving(catalogue=catalogue) as running:
        answered: list[tuple[str, float]] = []
        done = threading.Event()

        def ask() -> None:
            request = pb.PredictRequest(image=png, boxes=[pb.Box(width=120, height=80)] * 3)
            while not done.is_set():
                answer = running.pose.Predict(request)
                answered.append((answer.model.sha256, answer.persons[2].joints[0].score))

        callers = [threading.Thread(target=ask) for _ in range(3)]
        for caller in callers:
            caller.start()
        for i in range(12):
            sha256 = put(folder / "a" / "1" / "model.onnx", contents[1 - i % 2])
            assert reload(running)[0].ref.sha256 == sha256
            eventually(lambda: answered and answered[-1][0] == sha256)  # noqa: B023 - called before it changes
        done.set()
        for caller in callers:
            caller.join(20)
    assert {sha256 for sha256, _ in answered} == set(scores)
    assert all(scores[sha256] == score for sha256, score in answered)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused_until_it_may(repository, lay, folder, states):
    lay("a", 1)
    file = folder / "a" / "1" / "model.onnx"
    file.chmod(0)
    (refused,) = repository.look()
    assert "Permission denied" in refused.reason
    file.chmod(0o600)
    assert states(repository.look()) == [("a", 1, "ready")]
