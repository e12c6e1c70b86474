"""A client in another language, made from the .proto files alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import google.rpc.status_pb2
import grpc
import pytest

from poseglass_proto.v1 import pose_pb2 as pb

HERE = Path(__file__).with_name("node")
PROTO = Path(__file__).parents[2] / "proto"
GOOGLE = Path(google.rpc.status_pb2.__file__).parents[2]


@pytest.fixture
def node_modules() -> Path:
    """Where the client's packages are."""
    folder = Path(os.environ.get("POSEGLASS_NODE_MODULES") or HERE / "node_modules")
    if shutil.which("node") is None:
        pytest.skip("there is no node on this machine")
    if not (folder / "@grpc" / "grpc-js").is_dir():
        pytest.skip(
            "the Node.js client's packages are not installed: `npm install --no-package-lock --prefix tests/server/"
            "node`, or name a folder that has them in POSEGLASS_NODE_MODULES"
        )
    return folder.resolve()


def test_a_node_client_predicts_and_asks_for_health(shared_server, node_modules, png, tmp_path):
    (tmp_path / "picture.png").write_bytes(png.encoded)
    command = ["node", HERE / "client.js", f"127.0.0.1:{shared_server.server.port}", tmp_path / "picture.png"]
    done = subprocess.run(
        [*command, "10,5,100,60", PROTO, GOOGLE],
        env={**os.environ, "NODE_PATH": str(node_modules)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["health"] == {"status": "SERVING"}
    assert said["ready"] == {"ready": True}
    assert said["refusal"]["code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert "brightness version 2" in said["refusal"]["details"]
    answer = said["predict"]
    assert (answer["request_id"], answer["model"]["name"], answer["model"]["version"]) == ("node-1", "brightness", 2)
    box = pb.Box(x=10, y=5, width=100, height=60)
    expected = shared_server.pose.Predict(pb.PredictRequest(image=png, boxes=[box]))
    (person,), (same,) = answer["persons"], expected.persons
    assert [joint["name"] for joint in person["joints"]] == [joint.name for joint in same.joints]
    for joint, other in zip(person["joints"], same.joints, strict=True):
        assert (joint["x"], joint["y"], joint["score"]) == (other.x, other.y, other.score)
