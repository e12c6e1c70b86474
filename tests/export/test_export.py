"""Export: what is written is what was trained, and anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer
from typer.testing import CliRunner

from poseglass_core.calibration import Calibration
from poseglass_core.decode import decode
from poseglass_core.manifest import METADATA_KEY, ManifestError, parse_manifest
from poseglass_core.skeleton import LSP
from poseglass_export.card import model_card
from poseglass_export.commands import export
from poseglass_export.exporting import export_model, gate_pictures
from poseglass_export.gate import ParityError, check_parity
from poseglass_export.graph import trace, with_manifest
from poseglass_runtime.engine import load_engine
from poseglass_training.annotations import KeypointData, Person
from poseglass_training.checkpoint import CheckpointError, load_checkpoint
from poseglass_training.figures import render_figure
from poseglass_training.manifests import manifest_of
from poseglass_training.networks import build
from poseglass_training.networks.presence import Presence
from poseglass_training.served import served_model


@pytest.fixture(scope="module")
def traced(tiny_checkpoint_path):
    """(checkpoint, its model, the file's bytes, pictures)."""
    checkpoint = load_checkpoint(tiny_checkpoint_path)
    model = served_model(checkpoint)
    manifest = manifest_of(checkpoint, "tiny", 1)
    data = with_manifest(trace(model, manifest), manifest)
    return checkpoint, model, data, gate_pictures(64, (64, 64), 1.25)


def test_the_file_keeps_the_contract(tiny_model_path):
    session = onnxruntime.InferenceSession(tiny_model_path, providers=["CPUExecutionProvider"])
    tensors = {t.name: (t.type, t.shape[1:]) for t in (*session.get_inputs(), *session.get_outputs())}
    assert tensors == {
        "image": ("tensor(uint8)", [64, 64, 3]),
        "heatmaps": ("tensor(float)", [14, 16, 16]),
        "joints": ("tensor(float)", [14, 2]),
        "scores": ("tensor(float)", [14]),
    }
    crops = gate_pictures(7, (64, 64), 1.25)
    heatmaps, joints, scores = session.run(["heatmaps", "joints", "scores"], {"image": crops})
    assert heatmaps.min() >= 0
    assert np.allclose(heatmaps.sum(axis=(2, 3)), 1, atol=1e-4)
    assert np.allclose(scores, heatmaps.max(axis=(2, 3)))
    assert ((joints >= 0) & (joints <= 63)).all()


def test_the_manifest_says_where_the_weights_come_from_and_how_exact_they_are(tiny_model_path):
    model = onnx.load(tiny_model_path)
    assert [p.key for p in model.metadata_props] == [METADATA_KEY]
    assert {o.version for o in model.opset_import if o.domain == ""} == {18}
    manifest = parse_manifest(model.metadata_props[0].value)
    assert manifest.parity["pictures"] >= 64
    assert manifest.parity["batch_sizes"] == [1, 5]
    assert manifest.parity["joint_error"] <= 0.05
    assert manifest.parity["heatmap_error"] <= 1e-3
    assert manifest.parity["decoder_error"] <= 0.01
    assert manifest.score == {"meaning": "peak"}
    assert manifest.training["preset"] == "test"


def test_the_file_tells_nothing_of_the_machine(tiny_model_path):
    assert b"site-packages" not in tiny_model_path.read_bytes()
    assert b".py" not in tiny_model_path.read_bytes()


def test_upsampling_keeps_its_scales(tiny_model_path):
    # With `sizes` instead, ONNX Runtime leaves its fast memory layout around every Resize.
    model = onnx.load(tiny_model_path)
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    assert resizes
    assert all(len(node.input) == 3 and node.input[2] for node in resizes)


def _kinds(graph):
    """Of the numbers that the file holds, other than whole ones."""
    kinds = {str(onnx.numpy_helper.to_array(t).dtype) for t in onnx.load_from_string(graph).graph.initializer}
    return {kind for kind in kinds if kind.startswith("float")}


def test_weights_that_were_rounded_are_stored_in_half_the_room_and_change_no_answer(traced):
    checkpoint, _, _, crops = traced
    config = replace(checkpoint.config, features=64)  # small matrices stay as they are
    rounded = replace(checkpoint, config=config, weights=build(config).state_dict()).rounded()
    model, manifest = served_model(rounded), manifest_of(rounded, "wide", 1)
    graph = with_manifest(trace(model, manifest), manifest)
    assert _kinds(graph) == {"float32", "float16"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    finer = dict(rounded.weights)
    finer["stem.6.conv2.weight"] = finer["stem.6.conv2.weight"] * 1.0001
    full = with_manifest(trace(served_model(replace(rounded, weights=finer)), manifest), manifest)
    assert len(graph) < len(full)
    heatmaps = onnxruntime.InferenceSession(graph).run(["heatmaps"], {"image": crops[:2]})[0]
    with torch.inference_mode():
        assert np.allclose(heatmaps, model(torch.from_numpy(crops[:2]))[0].numpy(), atol=1e-6)


def test_a_weight_changed_after_tracing_is_refused(traced):
    checkpoint, model, data, crops = traced
    check_parity(model, data, crops)
    other = served_model(checkpoint)
    with torch.no_grad():
        other.network.heads[0].weight[0, 0] += 0.5
    with pytest.raises(ParityError, match="differ by"):
        check_parity(other, data, crops)


def test_a_graph_that_decodes_differently_is_refused(traced):
    _, model, data, crops = traced
    graph = onnx.load_model_from_string(data)
    for initializer in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(initializer)
        if values.size == 1 and values.dtype == np.float32 and abs(float(values.reshape(-1)[0]) - 1.5) < 1e-6:
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, 1.7), initializer.name))
            break
    else:
        pytest.fail("the cell offset is no longer a constant of 1.5: find another way to break the decoder")
    with pytest.raises(ParityError, match="joints of PyTorch and ONNX Runtime differ by 0.28"):
        check_parity(model, graph.SerializeToString(), crops)


def test_flat_heatmaps_prove_nothing(traced):
    checkpoint, _, _, crops = traced
    weights = {k: torch.zeros_like(v) if k.startswith("heads") else v for k, v in checkpoint.weights.items()}
    flat = served_model(replace(checkpoint, weights=weights))
    data = trace(flat, manifest_of(checkpoint, "flat")).SerializeToString()
    with pytest.raises(ParityError, match="heatmaps are flat"):
        check_parity(flat, data, crops)


def test_weights_that_are_not_finite_are_refused(traced):
    checkpoint, _, _, crops = traced
    broken = served_model(checkpoint)
    with torch.no_grad():
        broken.network.heads[0].bias[0] = float("nan")
    with pytest.raises(ParityError, match="not finite"):
        check_parity(broken, trace(broken, manifest_of(checkpoint, "broken")).SerializeToString(), crops)


def test_a_gate_of_few_pictures_is_no_gate(traced):
    _, model, data, crops = traced
    with pytest.raises(ValueError, match="at least 64 pictures"):
        check_parity(model, data, crops[:63])


def test_the_gate_sees_different_pictures():
    crops = gate_pictures(64, (64, 64), 1.25)
    assert len({crop.tobytes() for crop in crops}) == 64


def test_a_refusal_leaves_what_was_there(tmp_path, tiny_checkpoint_path, monkeypatch):
    out = tmp_path / "model.onnx"
    out.write_bytes(b"the old model")
    monkeypatch.setattr("poseglass_export.gate.JOINT_TOLERANCE", -1.0)
    with pytest.raises(ParityError):
        export_model(tiny_checkpoint_path, out)
    assert out.read_bytes() == b"the old model"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_mse_networks_give_clipped_maps(tmp_path, tiny_checkpoint_path):
    path = tmp_path / "mse.pt"
    checkpoint = load_checkpoint(tiny_checkpoint_path)
    # An untrained head is clipped almost everywhere, and a clipped map is all ties.
    weights = {k: v * 0.05 + 0.2 if k == "heads.0.bias" else v * 0.05 if k == "heads.0.weight" else v
               for k, v in checkpoint.weights.items()}  # fmt: skip
    replace(checkpoint, loss="mse", weights=weights).save(path)
    manifest = export_model(path, tmp_path / "mse.onnx")
    assert manifest.heatmap_activation == "clip"
    session = onnxruntime.InferenceSession(tmp_path / "mse.onnx", providers=["CPUExecutionProvider"])
    heatmaps = session.run(["heatmaps"], {"image": gate_pictures(3, (64, 64), 1.25)})[0]
    assert heatmaps.min() >= 0
    assert heatmaps.max() <= 1


@pytest.mark.parametrize(("name", "version"), [("a name", 1), ("", 0), ("ok", 0), ("x" * 65, 1)])
def test_names_and_versions_are_checked_first(tmp_path, tiny_checkpoint_path, name, version):
    with pytest.raises(ManifestError):
        export_model(tiny_checkpoint_path, tmp_path / "m.onnx", name or "m", version)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "x.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="not a Poseglass checkpoint"):
        export_model(tmp_path / "x.pt", tmp_path / "x.onnx")


def test_the_manifest_is_the_checkpoints(tiny_model_path, tiny_checkpoint_path):
    manifest = json.loads(onnx.load(tiny_model_path).metadata_props[0].value)
    checkpoint = load_checkpoint(tiny_checkpoint_path)
    assert manifest["joints"] == list(checkpoint.skeleton.joints)
    assert manifest["box_padding"] == checkpoint.box_padding
    assert manifest["input"] == {"height": 64, "width": 64}
    assert manifest["architecture"] == "hourglass"


def test_smoothed_heatmaps_are_exported_and_are_what_is_decoded(tmp_path, tiny_checkpoint_path, tiny_model_path):
    checkpoint = replace(load_checkpoint(tiny_checkpoint_path), smoothing=1.5)
    checkpoint.save(tmp_path / "smooth.pt")
    manifest = export_model(tmp_path / "smooth.pt", tmp_path / "smooth.onnx")
    assert manifest.decoder["smoothing"] == 1.5
    crops = gate_pictures(8, (64, 64), 1.25)
    plain, smooth = (load_engine(path).run(crops) for path in (tiny_model_path, tmp_path / "smooth.onnx"))
    assert smooth.heatmaps.max() < plain.heatmaps.max()
    joints, _ = decode(smooth.heatmaps, manifest.decoder["epsilon"], manifest.stride)
    assert np.abs(joints - smooth.joints).max() < 0.01


def test_a_measured_model_says_how_good_it_is_and_gets_a_card(tmp_path, tiny_checkpoint_path):
    figures = [render_figure(np.random.default_rng((5, i)), (96, 96)) for i in range(3)]
    people = []
    for i, figure in enumerate(figures):
        cv2.imwrite(str(tmp_path / f"{i}.png"), figure.image[..., ::-1])
        people.append(Person(i, tmp_path / f"{i}.png", figure.box, figure.joints, np.ones(14, bool)))
    data = KeypointData("three figures", LSP, people)
    manifest = export_model(tiny_checkpoint_path, tmp_path / "m.onnx", test=data, licence="do as you like")
    row = manifest.evaluation[0]
    assert row["data"] == "three figures"
    assert set(row["per_joint"]) == set(LSP.joints)
    assert parse_manifest(onnx.load(tmp_path / "m.onnx").metadata_props[0].value) == manifest
    card = model_card(manifest, "## Known failures\n\nAll of them.")
    assert "do as you like" in card
    assert f"**{row['pck']:.1f}**" in card
    assert "| joint error | " in card
    assert f"expected calibration error {row['scores']['expected_calibration_error']:.3f}" in card
    assert card.count("█") == sum(round(20 * share) for _, share, _ in row["scores"]["bins"])
    assert card.endswith("All of them.\n")


def test_a_card_tells_every_run_the_weights_went_through(tiny_checkpoint_path):
    checkpoint = load_checkpoint(tiny_checkpoint_path)
    first = {"preset": "a", "seed": 1, "epochs": 9, "epoch": 4, "best_dev_pck": -1.0, "command": "train a"}
    last = {"preset": "b", "seed": 2, "epochs": 3, "best_dev_pck": 51.2, "command": "train b", "commit": "c0ffee"}
    presence = {"figures": {"person": 97.5, "nobody": 91.0, "crops": 40}}
    training = {**last, "init": first, "calibration": {"presence": presence}}
    card = model_card(manifest_of(replace(checkpoint, training=training, epoch=2), "m"))
    assert "| a | 1 | 4 of 9 | – | – |\n| b | 2 | 2 of 3 | 51.2 | c0ffee |" in card
    assert "train a\ntrain b\n" in card
    assert "| figures | 97.5 | 91.0 | 40 |" in card


def test_the_command(tmp_path, tiny_checkpoint_path):
    runner, app = CliRunner(), typer.Typer()
    app.command()(export)
    out, card = tmp_path / "m.onnx", tmp_path / "m.md"
    done = runner.invoke(app, [str(tiny_checkpoint_path), "--out", str(out), "--card", str(card)])
    assert done.exit_code == 0, done.output
    assert "joints within" in done.stdout
    assert card.read_text().startswith("# m, version 1")
    for arguments, message in (
        (["missing.pt", "--out", str(out)], "missing.pt: no such file"),
        ([str(card), "--out", str(out)], "not a Poseglass checkpoint"),
        ([str(tiny_checkpoint_path), "--out", str(out), "--version", "0"], "version: 0 is less than the minimum"),
        ([str(tiny_checkpoint_path), "--out", str(out), "--evaluate", "missing.json"], "no such annotation file"),
    ):
        refused = runner.invoke(app, arguments)
        assert refused.exit_code == 2
        assert message in " ".join(refused.output.split())


@pytest.fixture(scope="module")
def calibrated(tiny_checkpoint_path):
    """A checkpoint with presence and calibrated scores."""
    torch.manual_seed(1)
    presence = Presence(16, 8).state_dict()
    numbers = {
        name: tuple(np.random.default_rng(i).normal(size=14)) for i, name in enumerate(("bias", "own", "common"))
    }
    return replace(
        load_checkpoint(tiny_checkpoint_path), presence=presence, calibration=Calibration(window=5, **numbers)
    )


def test_presence_and_calibrated_scores_are_in_the_graph(calibrated, tmp_path):
    calibrated.save(tmp_path / "m.pt")
    manifest = export_model(tmp_path / "m.pt", tmp_path / "m.onnx")
    assert manifest.outputs == ("heatmaps", "joints", "scores", "presence")
    assert manifest.score["meaning"] == "calibrated"
    assert manifest.parity["score_error"] <= 1e-3
    assert 0 <= manifest.parity["presence_error"] <= 1e-3
    engine = load_engine(tmp_path / "m.onnx", device="cpu")
    raw = engine.run(gate_pictures(5, (64, 64), 1.25))
    assert raw.presence is not None
    assert ((raw.presence > 0) & (raw.presence < 1)).all()
    assert np.ptp(raw.presence) > 0
    assert np.allclose(raw.scores, engine.manifest.calibration.scores(raw.heatmaps), atol=1e-4)
    assert not np.allclose(raw.scores, raw.heatmaps.max(axis=(2, 3)), atol=1e-2)


@pytest.mark.parametrize("change", ["presence", "calibration"])
def test_another_presence_or_calibration_than_the_graphs_is_refused(calibrated, change):
    manifest = manifest_of(calibrated, "m")
    data = with_manifest(trace(served_model(calibrated), manifest), manifest)
    if change == "presence":
        other = replace(calibrated, presence={k: v + 0.5 for k, v in calibrated.presence.items()})
    else:
        other = replace(calibrated, calibration=replace(calibrated.calibration, window=3))
    with pytest.raises(ParityError, match=change if change == "presence" else "scores"):
        check_parity(served_model(other), data, gate_pictures(64, (64, 64), 1.25))


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ({"meaning": "calibrated"}, "calibration"),
        ({"meaning": "calibrated", "calibration": {"window": 5, "bias": [0], "own": [1], "common": [0]}}, "1 joints"),
        ({"meaning": "calibrated", "calibration": {"window": 4, "bias": [0], "own": [1], "common": [0]}}, "odd"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(tiny_model_path, score, message):
    value = json.loads(onnx.load(tiny_model_path).metadata_props[0].value)
    with pytest.raises(ManifestError, match=message):
        parse_manifest(json.dumps({**value, "score": score}))
