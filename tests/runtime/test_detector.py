"""Detectors: the project's own and the two foreign shapes, what they give in the picture, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseglass_core.detector_manifest import AdapterSettings, DetectorManifest
from poseglass_core.geometry import Box
from poseglass_runtime.adapters import adapter_of
from poseglass_runtime.boxes import suppressed
from poseglass_runtime.detector import DetectorEngine, load_detector, load_model
from poseglass_runtime.engine import Engine, ModelError, load_engine

PICTURE = np.zeros((100, 200, 3), np.uint8)
"""Letterboxed into 64 x 64, it is 64 x 32, with 16 rows of border above and below."""


def own(boxes, scores):
    return {"boxes": np.array([boxes], np.float32), "scores": np.array([scores], np.float32)}


def yolox(size=(64, 64), strides=(8, 16, 32), classes=3):
    """Raw outputs without anybody: [1, A, 5 + classes]."""
    cells = sum((size[0] // s) * (size[1] // s) for s in strides)
    return np.zeros((1, cells, 5 + classes), np.float32)


def load(path):
    return load_detector(path, device="cpu", threads=1)


def test_boxes_come_back_in_pixels_of_the_picture(make_detector, tmp_path):
    boxes = [[0, 0, 10, 64], [32, 16, 48, 32], [60, 60, 70, 70], [8, 20, 8, 40]]
    path = make_detector(tmp_path / "own.onnx", own(boxes, [0.9, 0.95, 0.8, 0.8]))
    engine = load(path)
    found = engine.detect(PICTURE)
    # The best first; clipped to the picture; the border's and the empty one are gone.
    assert found.boxes == [Box(100, 0, 50, 50), Box(0, 0, 31.25, 100)]
    assert found.scores == pytest.approx([0.95, 0.9])
    assert (engine.ref.name, engine.provider, engine.threads) == ("own", "CPUExecutionProvider", 1)


def test_a_threshold_may_be_given(make_detector, tmp_path):
    engine = load(
        make_detector(tmp_path / "a.onnx", own([[0, 16, 9, 40], [30, 16, 60, 40]], [0.4, 0.1]), threshold=0.3)
    )
    assert len(engine.detect(PICTURE).boxes) == 1
    assert len(engine.detect(PICTURE, threshold=0.0).boxes) == 2
    assert engine.detect(PICTURE, threshold=0.9).boxes == []


def test_what_overlaps_a_better_box_is_left_out(make_detector, tmp_path):
    boxes = [[0, 16, 20, 48], [1, 16, 21, 48], [10, 16, 30, 48]]
    path = make_detector(tmp_path / "a.onnx", own(boxes, [0.7, 0.9, 0.6]))
    assert load(path).detect(PICTURE).scores == pytest.approx([0.9, 0.6])
    path = make_detector(tmp_path / "b.onnx", own(boxes, [0.7, 0.9, 0.6]), overlap=1)
    assert len(load(path).detect(PICTURE).boxes) == 3


def test_numbers_that_are_none_are_no_people(make_detector, tmp_path):
    boxes = [[0, 16, 20, 48], [np.nan, 16, 20, 48], [0, 0, np.inf, 48]]
    path = make_detector(tmp_path / "a.onnx", own(boxes, [np.nan, 0.9, 0.9]))
    assert load(path).detect(PICTURE, threshold=0.0).boxes == []
    path = make_detector(tmp_path / "b.onnx", own([[0, 16, 20, 48]], [np.inf]))
    assert load(path).detect(PICTURE).boxes == []


def test_yolox_cells_become_boxes(make_detector, tmp_path):
    raw = yolox()
    # Row 3, column 4 of the grid of stride 8: centre (0.5 + 4, 0.25 + 3) x 8, sides e^1 x 8 and e^0 x 8.
    raw[0, 3 * 8 + 4] = [0.5, 0.25, 1, 0, 0.9, 0.2, 0.1, 0.8]
    # The one cell of row 1, column 0 of the grid of stride 32, of another class.
    raw[0, 64 + 16 + 2] = [0, 0, 0, 0, 0.9, 0.9, 0, 0]
    settings = {"class_index": 2}
    path = make_detector(tmp_path / "y.onnx", {"output": raw}, adapter="yolox", adapter_settings=settings)
    (box,), scores = load(path).detect(np.zeros((64, 64, 3), np.uint8))
    assert box.to_list() == pytest.approx([36 - 4 * np.e, 22, 8 * np.e, 8, 0], abs=1e-4)
    assert scores == pytest.approx([0.72])
    raw[0, 3 * 8 + 4, :4] = [36, 26, 8 * np.e, 8]
    settings["decoded"] = True
    path = make_detector(tmp_path / "d.onnx", {"output": raw}, adapter="yolox", adapter_settings=settings)
    assert load(path).detect(np.zeros((64, 64, 3), np.uint8)).boxes[0].to_list() == pytest.approx(box.to_list())


def test_yolox_boxes_without_end_are_no_people(make_detector, tmp_path):
    raw = yolox()
    raw[0, :, :] = 500
    path = make_detector(tmp_path / "y.onnx", {"output": raw}, adapter="yolox")
    assert load(path).detect(PICTURE).boxes == []


@pytest.mark.parametrize("labels", [np.int64, np.int32])
def test_mmdeploy_detections_of_other_classes_are_left_out(make_detector, tmp_path, labels):
    dets = np.array([[[0, 0, 32, 32, 0.9], [32, 0, 64, 32, 0.8], [0, 0, 0, 0, 0]]], np.float32)
    outputs = {"dets": dets, "labels": np.array([[7, 0, -1]], labels)}
    # At the top left, 200 x 100 pixels fill the upper half: nothing is centred.
    (box,), scores = load(make_detector(tmp_path / "m.onnx", outputs, adapter="mmdeploy")).detect(PICTURE)
    assert box == Box(100, 0, 100, 100)
    assert scores == pytest.approx([0.8])


def test_pictures_are_fed_as_the_settings_say():
    manifest = DetectorManifest(
        "m", 1, "x", (2, 2), 0.5, outputs=("dets", "labels"), adapter="mmdeploy",
        adapter_settings=AdapterSettings(mean=(1, 2, 3), std=(2, 2, 2)),
    )  # fmt: skip
    fed = adapter_of(manifest).feed(np.full((2, 2, 3), (10, 20, 30), np.uint8))
    assert fed.dtype == np.float32
    assert fed.shape == (1, 3, 2, 2)
    assert fed[0, :, 0, 0].tolist() == [14.5, 9, 3.5]  # blue, green, red


@pytest.mark.parametrize(("placement", "row"), [("top-left", 0), ("centre", 16)])
def test_the_picture_lies_where_the_settings_say(make_detector, tmp_path, placement, row):
    settings = {"placement": placement, "pad": 114, "channels": "rgb"}
    engine = load(make_detector(tmp_path / "y.onnx", {"output": yolox()}, adapter="yolox", adapter_settings=settings))
    seen = []
    engine.run = lambda picture: seen.append(picture) or (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    engine.detect(np.full((100, 200, 3), 200, np.uint8))
    column = seen[0][:, 32, 0]
    assert (column[row + 1 : row + 31] == 200).all()
    assert (np.delete(column, slice(max(row - 1, 0), row + 33)) == 114).all()  # the edges are mixed


@pytest.mark.parametrize(
    ("adapter", "outputs", "settings", "says"),
    [
        ("poseglass", {"dets": yolox(), "labels": yolox()}, {}, r"reads `boxes` float32 \[N, K, 4\].*gives `dets`"),
        ("poseglass", {"boxes": yolox(), "scores": yolox()[..., 0]}, {}, r"gives `boxes` float32 \[1, 84, 8\]"),
        ("yolox", {"dets": yolox()}, {}, r"reads `output` float32 \[N, 84, 5 \+ classes\]; the graph gives `dets`"),
        ("yolox", {"output": yolox(strides=(8,))}, {}, r"\[N, 84, .*gives `output` float32 \[1, 64, 8\].*strides"),
        ("yolox", {"output": yolox()[..., 0]}, {}, r"gives `output` float32 \[1, 84\]"),
        ("yolox", {"output": yolox().astype(np.float64)}, {}, r"gives `output` tensor\(double\)"),
        ("yolox", {"output": yolox()}, {"class_index": 3}, "8 values a cell have no class 3"),
        ("mmdeploy", {"output": yolox()}, {}, r"reads `dets` float32 \[N, K, 5\], `labels` int64 or int32 \[N, K\]"),
        ("mmdeploy", {"dets": yolox()[..., :5], "labels": yolox()[..., 0]}, {}, r"`labels` float32 \[1, 84\]"),
    ],
)
def test_a_graph_that_does_not_fit_its_adapter_is_refused(make_detector, tmp_path, adapter, outputs, settings, says):
    more = {"adapter_settings": settings} if settings else {}
    path = make_detector(tmp_path / "wrong.onnx", outputs, adapter=adapter, **more)
    with pytest.raises(ModelError, match=says) as caught:
        load(path)
    assert "wrong.onnx" in str(caught.value)
    assert f"adapter {adapter!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("adapter", "outputs", "says"),
    [
        ("poseglass", own([[0, 0, 1, 1]], [0.5, 0.5]), r"boxes \[1, 4\] do not go with scores \[2\]"),
        ("yolox", {"output": yolox(strides=(8,))}, r"64 cells are not the 84 of strides \[8, 16, 32\]"),
        (
            "mmdeploy",
            {"dets": yolox()[..., :5], "labels": np.zeros((1, 3), np.int64)},
            r"dets \[84, 5\] do not go with labels \[3\]",
        ),
    ],
)
def test_shapes_that_show_only_when_it_runs_are_looked_at_too(make_detector, tmp_path, adapter, outputs, says):
    with pytest.raises(ModelError, match=f"does not fit adapter '{adapter}': {says}"):
        load(make_detector(tmp_path / "wrong.onnx", outputs, adapter=adapter, dynamic=True))


def test_the_input_is_checked_too(make_detector, tmp_path):
    path = make_detector(tmp_path / "y.onnx", {"output": yolox()}, adapter="yolox")
    side_car = tmp_path / "y.manifest.json"
    manifest = json.loads(side_car.read_text())
    side_car.write_text(json.dumps(manifest | {"input": {"height": 96, "width": 64}}))
    with pytest.raises(ModelError, match=r"one input, float32 \[N, 3, 96, 64\]; the graph takes `image` float32"):
        load(path)
    side_car.write_text(json.dumps(manifest | {"adapter": "poseglass", "parity": {"boxes": 0}}))
    with pytest.raises(ModelError, match=r"one input, `image` uint8 \[N, 64, 64, 3\]"):
        load(path)


def test_our_own_need_a_parity_record_and_others_a_manifest(make_detector, tmp_path):
    with pytest.raises(ModelError, match="no parity record"):
        load(make_detector(tmp_path / "own.onnx", own([[0, 0, 1, 1]], [0.5]), parity={}))
    path = make_detector(tmp_path / "y.onnx", {"output": yolox()}, adapter="yolox")
    side_car = json.loads((tmp_path / "y.manifest.json").read_text())
    (tmp_path / "y.manifest.json").write_text(json.dumps({k: v for k, v in side_car.items() if k != "adapter"}))
    with pytest.raises(ModelError, match="no parity record.*name the `adapter`"):
        load(path)
    (tmp_path / "y.manifest.json").unlink()
    with pytest.raises(ModelError, match=r"has no manifest.*y\.manifest\.json"):
        load(path)
    (tmp_path / "y.manifest.json").write_text('{"kind": "detector"}')
    with pytest.raises(ModelError, match=r"y\.manifest\.json: manifest: 'format' is a required property"):
        load(path)


def test_each_kind_is_refused_where_the_other_is_wanted(tiny_model_path, tiny_detector_path):
    with pytest.raises(ModelError, match=r"halves\.onnx: kind: this is a detector.*--detector"):
        load_engine(tiny_detector_path, device="cpu")
    with pytest.raises(ModelError, match=r"tiny\.onnx: kind: this is a pose model.*--model"):
        load(tiny_model_path)
    assert isinstance(load_model(tiny_model_path, "cpu", 1), Engine)
    assert isinstance(load_model(tiny_detector_path, "cpu", 1), DetectorEngine)


@given(st.lists(st.tuples(*[st.floats(0, 50)] * 4), max_size=12), st.floats(0, 1))
def test_no_two_boxes_that_are_kept_overlap_more(corners, overlap):
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in corners], np.float32).reshape(-1, 4)
    kept = suppressed(boxes, overlap)
    assert kept == sorted(kept)
    assert not len(boxes) or kept[0] == 0

    def iou(a, b):
        shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
        union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
        return shared / union if union > 0 else 0

    wide = boxes.astype(np.float64)
    for n, i in enumerate(kept):
        assert all(iou(wide[i], wide[j]) <= overlap + 1e-6 for j in kept[:n])
    for i in set(range(len(boxes))) - set(kept):
        assert any(iou(wide[i], wide[j]) > overlap - 1e-6 for j in kept if j < i)
