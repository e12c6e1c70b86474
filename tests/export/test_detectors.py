"""Exported detectors: what is written is what was trained."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from poseglass.cli import app
from poseglass_core.detector_manifest import parse_detector_manifest
from poseglass_core.manifest import METADATA_KEY, ManifestError
from poseglass_export.card import detector_card
from poseglass_export.detector_gate import LEAST, check_detector_parity
from poseglass_export.detectors import detector_manifest_of, export_detector, other_sizes
from poseglass_export.exporting import gate_pictures
from poseglass_export.gate import ParityError
from poseglass_export.graph import trace, with_manifest
from poseglass_runtime.detector import load_detector
from poseglass_runtime.engine import ModelError
from poseglass_training.detection.checkpoint import DetectorCheckpoint
from poseglass_training.detection.network import Detector, DetectorConfig, ServedDetector

SIZE = (64, 64)


@pytest.fixture(scope="module")
def checkpoint():
    """An untrained detector: what it sees is arbitrary, but always the same."""
    torch.manual_seed(0)
    config = DetectorConfig(features=16, depth=2, input_size=SIZE, candidates=8)
    network = Detector(config)
    torch.nn.init.normal_(network.trunk.heads[0].weight, std=0.7)
    training = {"data": [{"name": "none", "licence": "none"}], "preset": "test", "seed": 0, "epochs": 0}
    return DetectorCheckpoint(config, network.state_dict(), training=training, threshold=0.25).rounded()


@pytest.fixture(scope="module")
def path(checkpoint, tmp_path_factory):
    """The same, saved."""
    path = tmp_path_factory.mktemp("detector") / "found.pt"
    checkpoint.save(path)
    return path


def test_an_exported_detector_says_what_it_is_and_runs(path, tmp_path):
    manifest = export_detector(path, tmp_path / "found.onnx", version=3)
    props = {p.key: p.value for p in onnx.load(tmp_path / "found.onnx").metadata_props}
    assert parse_detector_manifest(props[METADATA_KEY]) == manifest
    assert (manifest.name, manifest.version, manifest.threshold) == ("found", 3, 0.25)
    assert manifest.parity["boxes_compared"] >= 8
    assert manifest.parity["box_error"] <= 0.1
    detector = load_detector(tmp_path / "found.onnx", device="cpu", threads=1)
    found = detector.detect(gate_pictures(1, (80, 120), 1.25)[0], threshold=0.0)
    assert len(found.boxes) == len(found.scores) > 0
    assert (np.diff(found.scores) <= 0).all()
    assert all(0 <= b.x <= b.x + b.width <= 120 and 0 <= b.y <= b.y + b.height <= 80 for b in found.boxes)


def test_the_runtime_and_pytorch_find_the_same_people(checkpoint, path, tmp_path):
    from poseglass_training.detection.inference import LEAST_SCORE, detector_of

    export_detector(path, tmp_path / "found.onnx")
    detector = load_detector(tmp_path / "found.onnx", device="cpu", threads=1)
    picture = gate_pictures(1, (80, 120), 1.25)[0]
    boxes, scores = detector_of(checkpoint)(picture)
    found = detector.detect(picture, threshold=LEAST_SCORE)
    assert len(found.boxes) == len(boxes) > 0
    assert np.allclose(found.scores, scores, atol=1e-3)
    assert np.allclose([b.to_list() for b in found.boxes], [b.to_list() for b in boxes], atol=0.2)


def test_wide_and_tall_pictures_are_looked_at_in_smaller_inputs(path, tmp_path, monkeypatch):
    manifest = export_detector(path, tmp_path / "found.onnx")
    assert (manifest.step, manifest.closer) == (16, (96, 96))
    usual = [(16, 64), (32, 64), (48, 64), (64, 16), (64, 32), (64, 48)]
    closer = {(96, 96)} | {(side, 96) for side in range(16, 96, 16)} | {(96, side) for side in range(16, 96, 16)}
    assert len(other_sizes(manifest)) == 17
    assert set(other_sizes(manifest)) == {*usual, *closer}
    assert manifest.parity["pictures"] == 64 + 17 * 8
    detector = load_detector(tmp_path / "found.onnx", device="cpu", threads=1)
    shown, run = [], detector.run
    monkeypatch.setattr(detector, "run", lambda picture: shown.append(picture.shape) or run(picture))
    for height, width in ((80, 120), (300, 90), (50, 50)):
        detector.detect(gate_pictures(1, (height, width), 1.25)[0])
        detector.detect(gate_pictures(1, (height, width), 1.25)[0], closer=True)
    assert shown == [(48, 64, 3), (64, 96, 3), (64, 32, 3), (96, 32, 3), (64, 64, 3), (96, 96, 3)]


def test_a_graph_of_one_size_may_not_claim_others(checkpoint, path, tmp_path):
    manifest = export_detector(path, tmp_path / "found.onnx")
    fixed = trace(ServedDetector(checkpoint.network()).eval(), replace(manifest, step=None))
    (tmp_path / "fixed.onnx").write_bytes(with_manifest(fixed, manifest))
    with pytest.raises(ModelError, match=r"does not run on 96 x 96 pixels .* as input.closer of its manifest"):
        load_detector(tmp_path / "fixed.onnx", device="cpu", threads=1)
    (tmp_path / "fixed.onnx").write_bytes(with_manifest(fixed, replace(manifest, step=None, closer=None)))
    load_detector(tmp_path / "fixed.onnx", device="cpu", threads=1)  # as files before were


def test_other_weights_than_the_graphs_are_refused(checkpoint):
    manifest = detector_manifest_of(checkpoint, "found")
    graph = with_manifest(trace(ServedDetector(checkpoint.network()).eval(), manifest), manifest)
    changed = dict(checkpoint.weights)
    changed["box.2.bias"] = changed["box.2.bias"] + 0.05
    other = ServedDetector(replace(checkpoint, weights=changed).network()).eval()
    with pytest.raises(ParityError, match="edges of boxes"):
        check_detector_parity(other, graph, gate_pictures(64, SIZE, 1.25))
    with pytest.raises(ValueError, match="at least 64 pictures"):
        check_detector_parity(other, graph, gate_pictures(3, SIZE, 1.25))


def test_a_detector_that_sees_nobody_proves_nothing(checkpoint, tmp_path):
    blind = dict(checkpoint.weights)
    blind["trunk.heads.0.weight"] = torch.zeros_like(blind["trunk.heads.0.weight"])
    replace(checkpoint, weights=blind).save(tmp_path / "blind.pt")
    (tmp_path / "blind.onnx").write_bytes(b"as it was")
    with pytest.raises(ParityError, match="train the detector first"):
        export_detector(tmp_path / "blind.pt", tmp_path / "blind.onnx")
    assert (tmp_path / "blind.onnx").read_bytes() == b"as it was"


def test_what_scores_next_to_nothing_is_not_compared(checkpoint, monkeypatch):
    model = ServedDetector(checkpoint.network()).eval()

    class Session:  # answers as the checkpoint does, but for a noise score that lost a tie with its neighbour
        def __init__(self, *_, **__):
            pass

        def run(self, _names, feed):
            with torch.inference_mode():
                boxes, scores = (t.numpy() for t in model(torch.from_numpy(feed["image"])))
            return boxes, np.where(scores < LEAST, 0, scores)

    pictures = gate_pictures(64, SIZE, 1.25)
    with torch.inference_mode():
        scores = model(torch.from_numpy(pictures))[1].numpy()
    assert scores[scores < LEAST].max() > 1e-3  # more than the tolerance
    monkeypatch.setattr("poseglass_export.detector_gate.onnxruntime.InferenceSession", Session)
    assert check_detector_parity(model, b"", pictures).score_error == 0


def test_names_are_checked_first(path, tmp_path):
    with pytest.raises(ManifestError, match="name"):
        export_detector(path, tmp_path / "found.onnx", name="no/slashes")


@pytest.fixture
def scenes_file(tmp_path):
    """Ten pictures with a figure in the even ones, as scenes and as labelled people."""
    from poseglass_core.skeleton import LSP
    from poseglass_training.figures import render_figure

    (tmp_path / "images").mkdir()
    images, boxes, people = [], [], []
    for i in range(1, 11):
        figure = render_figure(np.random.default_rng(i), (96, 96))
        empty = np.full((96, 96, 3), 40, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), empty if i % 2 else figure.image[..., ::-1])
        images.append({"id": i, "file_name": f"{i}.png", "width": 96, "height": 96})
        if i % 2 == 0:
            row = {"id": i, "image_id": i, "category_id": 1, "bbox": figure.box.to_list()[:4], "iscrowd": 0}
            boxes.append(row)
            flat = np.column_stack([figure.joints, np.full(14, 2)]).ravel().tolist()
            people.append({**row, "keypoints": flat})
    category = {"id": 1, "name": "person", "keypoints": list(LSP.joints), "skeleton": []}
    for name, rows in (("scenes", boxes), ("people", people)):
        content = {"info": {"description": name}, "images": images, "annotations": rows, "categories": [category]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "scenes.json"


def test_the_commands_measure_and_describe_a_detector(path, scenes_file, tmp_path):
    out, card, people = tmp_path / "found.onnx", tmp_path / "cards" / "found.md", scenes_file.with_name("people.json")
    command = ["export", str(path), "--out", str(out), "--card", str(card), "--evaluate", str(scenes_file)]
    result = CliRunner().invoke(app, [*command, "--people", str(people)])
    assert result.exit_code == 0, result.output
    assert "boxes within" in result.output
    text = card.read_text()
    for part in ("# found, version 1", "average precision", "found, percent", "black borders", "boxes compared"):
        assert part in text
    evaluated = CliRunner().invoke(
        app, ["evaluate-detector", str(out), "--scenes", str(scenes_file), "--people", str(people), "--json"]
    )
    assert evaluated.exit_code == 0, evaluated.output
    row = json.loads(evaluated.output)
    assert (row["pictures"], row["people"], row["without_people"], row["searched"]) == (2, 1, 1, 5)
    assert (row["large"], row["ap_large"], row["interval_large"]) == (0, None, None)  # NaN would be no JSON
    assert "| average precision, 0 people larger than 96 × 96 pixels | – |" in text
    assert row == json.loads(json.dumps(load_detector(out).manifest.evaluation[0]))
    plain = CliRunner().invoke(app, ["evaluate-detector", str(out), "--scenes", str(scenes_file)])
    assert "ap large" in plain.output


def test_the_commands_say_what_they_cannot_use(path, scenes_file, tiny_checkpoint_path, tmp_path):
    out = ["--out", str(tmp_path / "x.onnx")]
    alone = CliRunner().invoke(app, ["export", str(path), *out, "--people", str(scenes_file)])
    assert alone.exit_code == 2
    assert "--people needs --evaluate" in alone.output.replace("\n", " ")
    pose = CliRunner().invoke(app, ["export", str(tiny_checkpoint_path), *out, "--people", str(scenes_file)])
    assert pose.exit_code == 2
    assert "--people is for detectors" in pose.output.replace("\n", " ")
    folder = CliRunner().invoke(app, ["export", str(path), *out, "--card", str(tmp_path)])
    assert folder.exit_code == 2
    assert "--card" in folder.output
    assert "is a folder" in " ".join(folder.output.split())
    assert not (tmp_path / "x.onnx").exists()
    idle = CliRunner().invoke(app, ["evaluate-detector", "person", "--scenes", str(scenes_file), "--every", "2"])
    assert idle.exit_code == 2
    assert "--every" in idle.output
    missing = CliRunner().invoke(app, ["evaluate-detector", "nothing.onnx", "--scenes", str(scenes_file)])
    assert missing.exit_code == 2
    assert "nothing.onnx" in missing.output


def test_scenes_that_cannot_be_measured_on_are_named(scenes_file, tiny_detector_path, tmp_path):
    command = ["evaluate-detector", str(tiny_detector_path), "--scenes", str(scenes_file)]
    content = json.loads(scenes_file.read_text())
    scenes_file.write_text(json.dumps(content | {"images": [i for i in content["images"] if i["id"] != 5]}))
    crowded = CliRunner().invoke(app, command)
    assert crowded.exit_code == 2
    assert "somebody is in every picture" in crowded.output
    scenes_file.write_text(json.dumps(content))
    people = json.loads(scenes_file.with_name("people.json").read_text())
    (tmp_path / "none.json").write_text(json.dumps(people | {"annotations": []}))
    nobody = CliRunner().invoke(app, [*command, "--people", str(tmp_path / "none.json")])
    assert nobody.exit_code == 2
    assert "nobody is labelled" in nobody.output


def test_a_card_without_figures_is_a_card(checkpoint):
    text = detector_card(detector_manifest_of(checkpoint, "found"), "## Known failures\n\n")
    assert "How good it is" not in text
    assert text.endswith("## Known failures\n")
