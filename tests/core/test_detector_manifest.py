"""Manifests of detectors, and that neither kind of model is taken for the other."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from poseglass_core.detector_manifest import (
    AdapterSettings,
    DetectorManifest,
    manifest_kind,
    parse_detector_manifest,
)
from poseglass_core.manifest import Manifest, ManifestError, parse_manifest
from poseglass_core.skeleton import LSP

OWN = DetectorManifest(
    name="person",
    version=2,
    architecture="centre-point",
    input_size=(320, 256),
    threshold=0.35,
    training={"data": [{"name": "none", "licence": "none"}]},
    evaluation=({"data": "none", "ap50": 40.5},),
    parity={"boxes": 0.001},
    weights_licence="CC0-1.0",
)
FOREIGN = {
    "format": "poseglass.manifest/1",
    "kind": "detector",
    "name": "yolo",
    "version": 1,
    "input": {"height": 416, "width": 416},
    "threshold": 0.4,
    "adapter": "yolox",
}
POSE = Manifest(
    name="pose",
    version=1,
    architecture="none",
    skeleton=LSP,
    input_size=(64, 64),
    box_padding=1.25,
    stride=4,
    outputs=("heatmaps", "joints", "scores"),
    heatmap_activation="clip",
    decoder={"name": "log_parabola", "epsilon": 1e-3},
    score={"meaning": "peak"},
)


def test_what_is_written_is_read():
    assert parse_detector_manifest(OWN.dumps()) == OWN
    assert json.loads(OWN.dumps())["outputs"] == ["boxes", "scores"]
    assert "adapter_settings" not in json.loads(OWN.dumps())


def test_pictures_that_are_not_square_need_less_where_there_is_a_step():
    free = replace(OWN, step=64)
    assert parse_detector_manifest(free.dumps()) == free
    assert OWN.size_for(480, 640) == (320, 256)
    assert free.size_for(480, 640) == (192, 256)
    assert free.size_for(1000, 10) == (320, 64)
    for settings, reason in (
        ({"adapter": "poseglass", "input": {"height": 320, "width": 250, "step": 64}}, "multiples of it"),
        ({"input": {"height": 416, "width": 416, "step": 32}}, "for adapter 'poseglass', not for 'yolox'"),
    ):
        with pytest.raises(ManifestError, match=reason):
            parse_detector_manifest(json.dumps(FOREIGN | settings))


def test_a_closer_input_is_larger():
    closer = replace(OWN, step=64, closer=(448, 384))
    assert parse_detector_manifest(closer.dumps()) == closer
    assert (closer.size_for(480, 640), closer.size_for(480, 640, closer=True)) == ((192, 256), (320, 384))
    assert OWN.size_for(480, 640, closer=True) == OWN.size_for(480, 640)
    for settings, reason in (
        ({"adapter": "poseglass", "input": {"closer": {"height": 448, "width": 448}}}, "needs input.step"),
        ({"adapter": "poseglass", "input": {"step": 32, "closer": {"height": 448, "width": 450}}}, "multiples of"),
        (
            {"adapter": "poseglass", "input": {"step": 32, "closer": {"height": 448, "width": 384}}},
            "one to 2 times the input",
        ),
        ({"input": {"closer": {"height": 448, "width": 448}}}, "input.closer: is for adapter 'poseglass'"),
        ({"adapter": "poseglass", "input": {"step": 32, "closer": {"height": 864, "width": 448}}}, "one to 2 times"),
        (
            {"adapter": "poseglass", "input": {"Closer": {"height": 448, "width": 448}}},
            "input.Closer: there is no such",
        ),
        ({"input": {"closer": {"height": 448}}}, "input.closer: 'width' is a required property"),
    ):
        sides = {"height": 416, "width": 416, **settings["input"]}
        with pytest.raises(ManifestError, match=reason):
            parse_detector_manifest(json.dumps(FOREIGN | settings | {"input": sides}))


def test_a_side_car_needs_little_and_has_the_adapters_defaults():
    read = parse_detector_manifest(json.dumps(FOREIGN))
    assert (read.outputs, read.overlap, read.adapter_settings) == (("output",), 0.6, AdapterSettings())
    settings = {"class_index": 3, "strides": [8, 16], "channels": "rgb", "mean": [1, 2, 3], "std": [4, 5, 6], "pad": 0}
    read = parse_detector_manifest(json.dumps(FOREIGN | {"adapter_settings": settings}))
    assert read.adapter_settings.strides == (8, 16)
    assert read.adapter_settings.std == (4, 5, 6)
    assert parse_detector_manifest(read.dumps()) == read
    read = parse_detector_manifest(json.dumps(FOREIGN | {"adapter": "mmdeploy", "adapter_settings": {"pad": 7}}))
    assert parse_detector_manifest(read.dumps()) == read


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threshold": 1.5}, "threshold: 1.5 is greater than the maximum"),
        ({"overlap": -1}, "overlap: -1 is less than the minimum"),
        ({"adapter": "ssd"}, "adapter: 'ssd' is not one of"),
        ({"adapter_settings": {"classindex": 1}}, "adapter_settings: .*'classindex' was unexpected"),
        ({"adapter_settings": {"std": [1, 0, 1]}}, "adapter_settings.std.1"),
        ({"adapter_settings": {"mean": [1]}}, "adapter_settings.mean"),
        ({"adapter": "poseglass", "adapter_settings": {"pad": 1}}, "adapter_settings: adapter 'poseglass' has none"),
        ({"adapter": "poseglass", "outputs": ["dets", "labels"]}, "outputs: adapter 'poseglass' reads boxes, scores"),
        ({"outputs": ["a", "b"]}, "outputs: adapter 'yolox' reads 1, not 2"),
        ({"input": {"height": 416}}, "input: 'width' is a required property"),
        ({"name": "a b"}, "name"),
        ({"version": 1.0}, "version: 1.0 is not of type 'integer'"),
        ({"adapter_settings": {"class_index": 0.0}}, "adapter_settings.class_index: 0.0 is not of type 'integer'"),
        ({"adapter_settings": {"std": [1e-300, 1, 1]}}, "adapter_settings.std.0"),
        ({"threshold": math.nan}, "threshold: nan is not of type 'number'"),
        ({"adapter_settings": {"mean": [0, math.inf, 0]}}, "adapter_settings.mean.1: inf is not of type 'number'"),
        ({"overlapp": 0.3}, "overlapp: there is no such field; there are: .*overlap"),
        ({"adapter": "mmdeploy", "adapter_settings": {"strides": [8]}}, "strides: is for adapter 'yolox', not for"),
        ({"format": "other"}, "format"),
    ],
)
def test_what_is_wrong_is_named(changes, reason):
    with pytest.raises(ManifestError, match=reason):
        parse_detector_manifest(json.dumps(FOREIGN | changes))


def test_numbers_too_large_to_be_any_are_named():
    with pytest.raises(ManifestError, match="threshold: inf is not of type 'number'"):
        parse_detector_manifest(json.dumps(FOREIGN).replace("0.4", "1e999"))


def test_fields_of_a_later_version_are_passed_over_in_an_exported_file():
    assert parse_detector_manifest(json.dumps(OWN.to_json() | {"later": 1})) == OWN


def test_kinds_are_told_apart():
    assert manifest_kind(OWN.dumps()) == "detector"
    assert manifest_kind(POSE.dumps()) == "pose"
    with pytest.raises(ManifestError, match="a detector, where a pose model is wanted.*--detector"):
        parse_manifest(OWN.dumps())
    with pytest.raises(ManifestError, match="a pose model, where a detector is wanted.*--model"):
        parse_detector_manifest(POSE.dumps())


@pytest.mark.parametrize("text", ["", "[]", "1", '{"kind": "horse"}', '{"kind": ["pose"]}', "{}"])
def test_what_is_no_manifest_is_refused(text):
    for read in (manifest_kind, parse_manifest, parse_detector_manifest):
        with pytest.raises(ManifestError):
            read(text)
