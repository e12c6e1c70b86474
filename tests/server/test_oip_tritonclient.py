"""tritonclient, in a process of its own, gets what `Predict` gives."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PEER = Path(__file__).with_name("triton_peer.py")


@pytest.mark.skipif(
    importlib.util.find_spec("tritonclient") is None, reason="tritonclient is not installed; it is in poseglass[dev]"
)
def test_tritonclient_infers_what_predict_finds(serving, network, tmp_path):
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.save(tmp_path / "crop.npy", crop)
    with serving(network) as running:
        command = [sys.executable, PEER, f"127.0.0.1:{running.server.port}", "brightness", tmp_path / "crop.npy"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["live"], said["ready"], said["model_ready"]) == (True, True, True)
    assert said["server"]["name"] == "poseglass"
    assert said["model"]["platform"] == "onnxruntime_onnx"
    assert said["model"]["versions"] == ["1"]
    assert said["model"]["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": ["-1", "64", "64", "3"]}]
    assert (said["id"], said["version"]) == ("t-1", "1")
    assert said["all"] == ["heatmaps", "joints", "scores"]
    code, message = said["refusal"]
    assert code == "StatusCode.INVALID_ARGUMENT"
    assert message.startswith("inputs[0].shape")
    assert said["infer"]["heatmaps"] == said["predict"]["heatmaps"]
    assert said["infer"]["scores"] == said["predict"]["scores"]
    np.testing.assert_allclose(said["infer"]["joints"], said["predict"]["joints"], atol=1e-3)
