"""`poseglass models` and `poseglass health`."""

from __future__ import annotations

import json

from poseglass_proto.v1 import pose_pb2 as pb


def test_models_of_a_server(run, server):
    text = run("models", "--server", server.address).stdout
    assert "fake" in text
    assert "no parity" in text
    ready, refused = json.loads(run("models", "--server", server.address, "--json").stdout)
    assert (ready["name"], ready["version"], ready["input"]) == ("fake", 3, {"height": 24, "width": 20})
    assert ready["evaluation"][0]["pck"] == 61.25
    assert ready["licence"] == "research only"
    assert (refused["state"], refused["reason"]) == ("REFUSED", "no parity")


def test_shipped_models_are_listed_and_a_broken_one_says_why(run, tiny_model_path, tmp_path, monkeypatch):
    (tmp_path / "tiny.onnx").write_bytes(tiny_model_path.read_bytes())
    (tmp_path / "broken.onnx").write_bytes(b"text")
    monkeypatch.setattr("poseglass_models.FOLDER", tmp_path)
    broken, tiny = json.loads(run("models", "--json").stdout)
    assert (broken["name"], broken["state"]) == ("broken", "REFUSED")
    assert "broken.onnx" in broken["reason"]
    assert (tiny["state"], len(tiny["joints"]), tiny["input"]) == ("READY", 14, {"height": 64, "width": 64})
    text = run("models").stdout
    assert "64 x 64" in text
    assert "broken.onnx" in text


def test_detectors_are_listed_too(run, tiny_model_path, tiny_detector_path, tmp_path, monkeypatch):
    (tmp_path / "tiny.onnx").write_bytes(tiny_model_path.read_bytes())
    (tmp_path / "person.onnx").write_bytes(tiny_detector_path.read_bytes())
    monkeypatch.setattr("poseglass_models.FOLDER", tmp_path)
    monkeypatch.setattr("poseglass_models.detector", lambda: "person")
    tiny, person = json.loads(run("models", "--json").stdout)
    assert (tiny["name"], tiny["kind"]) == ("tiny", "POSE")
    assert (person["name"], person["kind"], person["state"]) == ("halves", "DETECTOR", "READY")
    assert (person["joints"], person["is_default"]) == ([], True)
    assert "halves version 1, detector, ready, default" in run("models").stdout
    (tmp_path / "person.onnx").write_bytes(b"text")
    assert json.loads(run("models", "--json").stdout)[1]["state"] == "REFUSED"


def test_health(run, one_line, server, nobody):
    assert server.address in run("health", "--server", server.address).stdout
    server.set_health(False)
    assert "not serving" in one_line(run("health", "--server", server.address, expect=1))
    assert nobody in one_line(run("health", "--server", nobody, "--timeout", "2", expect=1))


def test_a_reload_lists_what_came_of_it(run, server):
    retired = pb.Model(ref=pb.ModelRef(name="fake", version=2), kind=pb.POSE, state=pb.RETIRING)
    server.admin.changed = [server.poses.model(), retired]
    text = run("models", "--reload", "--server", server.address).stdout
    assert "fake version 3, ready, default" in text
    assert "fake version 2, retiring" in text
    listed = json.loads(run("models", "--reload", "--server", server.address, "--json").stdout)
    assert [(model["version"], model["state"]) for model in listed] == [(3, "READY"), (2, "RETIRING")]


def test_a_reload_fails_where_a_model_is_refused(run, one_line, server):
    broken = pb.Model(ref=pb.ModelRef(name="fake", version=4), kind=pb.POSE, state=pb.REFUSED, reason="no parity")
    server.admin.changed = [broken]
    result = run("models", "--reload", "--server", server.address, expect=1)
    assert "no parity" in result.stdout
    assert f"{server.address} refuses 1 of its models" in one_line(result)
    assert json.loads(run("models", "--reload", "--server", server.address, "--json", expect=1).stdout)


def test_a_reload_that_finds_nothing_new_says_so(run, server):
    server.admin.changed = []
    assert "nothing" in run("models", "--reload", "--server", server.address).stdout
    assert json.loads(run("models", "--reload", "--server", server.address, "--json").stdout) == []


def test_a_reload_needs_a_server_that_has_a_repository(run, one_line, server):
    assert "--reload: is for talking to a server" in one_line(run("models", "--reload", expect=2))
    assert "no model repository" in one_line(run("models", "--reload", "--server", server.address, expect=1))
