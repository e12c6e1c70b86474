"""`poseglass doctor`, which must run where the rest does not."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest


@pytest.fixture
def healthy_models(tiny_model_path, tmp_path, monkeypatch):
    """As if the tiny model were shipped."""
    (tmp_path / "tiny.onnx").write_bytes(tiny_model_path.read_bytes())
    monkeypatch.setattr("poseglass_models.FOLDER", tmp_path)
    return tmp_path


def checks(result):
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def test_doctor_finds_nothing_broken(run, healthy_models):
    found = checks(run("doctor", "--json"))
    assert found["model tiny"]["state"] == "ok"
    assert "threads, from" in found["compute"]["detail"]
    assert "CPUExecutionProvider" in found["compute"]["detail"]
    assert "nothing broken" in run("doctor").stdout


def test_doctor_looks_at_the_shipped_detector(run, healthy_models, tiny_detector_path, monkeypatch):
    found = checks(run("doctor", "--json"))
    assert found["shipped detector"]["state"] == "absent"
    (healthy_models / "person.onnx").write_bytes(tiny_detector_path.read_bytes())
    monkeypatch.setattr("poseglass_models.detector", lambda: "person")
    found = checks(run("doctor", "--json"))
    assert found["detector person"]["state"] == "ok"
    assert "model person" not in found
    (healthy_models / "person.onnx").write_bytes(b"text")
    assert checks(run("doctor", "--json", expect=1))["detector person"]["state"] == "broken"


def test_doctor_says_how_to_mend_what_is_broken(run, healthy_models, monkeypatch):
    from poseglass.commands import doctor

    def import_module(name):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(doctor, "import_module", import_module)
    monkeypatch.setattr(doctor, "version", lambda name: _no_torch(name))
    (healthy_models / "broken.onnx").write_bytes(b"text")
    found = checks(run("doctor", "--json", expect=1))
    assert found["opencv-python-headless"]["state"] == "broken"
    assert "libGL" in found["opencv-python-headless"]["detail"]
    assert found["opencv-python-headless"]["remedy"].startswith("pip install")
    assert found["torch"]["state"] == "absent"  # an extra that is not there is no fault
    assert found["extra [training]"]["remedy"] == 'pip install "poseglass[training]"'
    assert found["model broken"]["state"] == "broken"
    assert found["model tiny"]["state"] == "ok"


def _no_torch(name):
    if name == "torch":
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(name)
    return version(name)


def test_doctor_runs_where_numpy_and_opencv_do_not():
    script = (
        "import sys\nsys.modules['cv2'] = sys.modules['grpc'] = None\n"
        "from poseglass.cli import app\napp(['doctor', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    states = {check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]}
    assert states["opencv-python-headless"] == states["grpcio"] == "broken"
    assert states["numpy"] == "ok"


def test_a_package_that_does_not_load_sends_to_the_doctor():
    script = "import sys\nsys.modules['cv2'] = None\nfrom poseglass.cli import app\napp(['health'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "poseglass doctor" in done.stderr
    assert len(done.stderr.splitlines()) == 1
