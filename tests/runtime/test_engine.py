"""Loading models: what is refused, and why."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from poseglass_core.manifest import METADATA_KEY
from poseglass_runtime.engine import MAX_BATCH, ModelError, describe_devices, load_engine


def rewritten(source, target, **changes):
    """The model with some manifest keys changed (None: removed)."""
    model = onnx.load(source)
    manifest = json.loads(model.metadata_props[0].value) | changes
    del model.metadata_props[:]
    manifest = {key: value for key, value in manifest.items() if value is not None}
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(manifest))
    onnx.save(model, target)
    return target


def test_a_loaded_model_names_itself(tiny_engine, tiny_model_path):
    assert tiny_engine.ref.name == "tiny"
    assert tiny_engine.ref.sha256 == hashlib.sha256(tiny_model_path.read_bytes()).hexdigest()
    assert tiny_engine.provider == "CPUExecutionProvider"
    assert tiny_engine.threads == 1


def test_results_do_not_depend_on_the_batch(tiny_engine):
    crops = np.random.default_rng(0).integers(0, 256, (MAX_BATCH + 3, 64, 64, 3), dtype=np.uint8)
    together = tiny_engine.run(crops)
    assert together.heatmaps.shape == (MAX_BATCH + 3, 14, 16, 16)
    for i in (0, MAX_BATCH - 1, MAX_BATCH + 2):
        alone = tiny_engine.run(crops[i : i + 1])
        assert np.allclose(alone.joints[0], together.joints[i], atol=1e-3)
        assert np.allclose(alone.heatmaps[0], together.heatmaps[i], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"parity": {}}, "no parity record.*poseglass export"),
        ({"joints": ["a", "b"]}, "no joint is called|sigmas"),
        ({"box_padding": None}, "'box_padding' is a required property"),
        ({"version": 0}, "version: 0 is less than the minimum"),
        ({"input": {"height": 128, "width": 128}}, r"must take one input `image`, uint8 \[N, 128, 128, 3\]"),
        ({"decoder": {"name": "magic", "epsilon": 1e-8}}, "decoder.name: 'magic' is not known"),
        ({"outputs": ["heatmaps", "joints", "scores", "presence"]}, "promises output `presence`"),
        ({"flip_pairs": [["neck", "neck"]]}, "2 different joints"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(tiny_model_path, tmp_path, changes, reason):
    with pytest.raises(ModelError, match=reason):
        load_engine(rewritten(tiny_model_path, tmp_path / "changed.onnx", **changes), device="cpu")


def test_a_side_car_replaces_the_manifest(tiny_model_path, tmp_path):
    model = onnx.load(tiny_model_path)
    manifest = json.loads(model.metadata_props[0].value)
    del model.metadata_props[:]
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"has no manifest.*foreign\.manifest\.json"):
        load_engine(path, device="cpu")
    (tmp_path / "foreign.manifest.json").write_text(json.dumps(manifest | {"name": "foreign"}))
    assert load_engine(path, device="cpu").ref.name == "foreign"


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        load_engine(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="not a model that ONNX Runtime can load"):
        load_engine(tmp_path / "text.onnx", device="cpu")
    node = helper.make_node("Identity", ["x"], ["y"])
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([node], "foreign", tensors[:1], tensors[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "f.onnx")
    with pytest.raises(ModelError, match="has no manifest"):
        load_engine(tmp_path / "f.onnx", device="cpu")


def test_a_demanded_device_that_is_not_there_is_an_error(tiny_model_path):
    with pytest.raises(ModelError, match="'cuda:0' was asked for"):
        load_engine(tiny_model_path, device="cuda:0")
    with pytest.raises(ModelError, match="device must be auto, cpu, cuda or cuda:N"):
        load_engine(tiny_model_path, device="tpu")
    assert load_engine(tiny_model_path, device="auto").provider in describe_devices()["providers"]


def test_threads_must_be_positive(tiny_model_path):
    with pytest.raises(ModelError, match="threads must be at least 1"):
        load_engine(tiny_model_path, threads=0)
