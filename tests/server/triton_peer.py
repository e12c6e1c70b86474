"""Asks a server with tritonclient, and with the project's own client, on one crop; prints what they say as JSON.

A process of its own: tritonclient's messages and those that the server's tests load have the same names, and a process
can hold them once. Arguments: address, model, file of the crop (.npy).
"""

from __future__ import annotations

import json
import sys

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

from poseglass import PoseClient


def main() -> None:
    """Ask and print."""
    address, model, path = sys.argv[1:]
    crop = np.load(path)
    said: dict[str, object] = {}
    with InferenceServerClient(address) as triton:
        said["live"], said["ready"] = triton.is_server_live(), triton.is_server_ready()
        said["model_ready"] = triton.is_model_ready(model)
        said["server"] = triton.get_server_metadata(as_json=True)
        said["model"] = triton.get_model_metadata(model, as_json=True)
        image = InferInput("image", [1, *crop.shape], "UINT8").set_data_from_numpy(crop[None])
        names = ["heatmaps", "joints", "scores"]
        answer = triton.infer(model, [image], outputs=[InferRequestedOutput(name) for name in names], request_id="t-1")
        said["id"], said["version"] = answer.get_response().id, answer.get_response().model_version
        said["infer"] = {name: answer.as_numpy(name)[0].tolist() for name in names}
        said["all"] = [tensor.name for tensor in triton.infer(model, [image]).get_response().outputs]
        try:
            triton.infer(model, [InferInput("image", [1, 2, 2, 3], "UINT8").set_data_from_numpy(crop[None, :2, :2])])
        except InferenceServerException as error:
            said["refusal"] = [error.status(), error.message()]
    height, width = crop.shape[:2]
    with PoseClient(address) as client:
        padding = client.model(model).manifest["box_padding"]
        given = ((1 - 1 / padding) / 2 * width, (1 - 1 / padding) / 2 * height, width / padding, height / padding)
        (pose,) = client.predict(crop, boxes=[given], model=model, heatmaps=True, heatmap_type="float32").poses
        said["predict"] = {
            "heatmaps": pose.heatmaps.values.tolist(),
            "joints": [[joint.x, joint.y] for joint in pose],
            "scores": [joint.score for joint in pose],
        }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
