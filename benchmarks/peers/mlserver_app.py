"""MLServer: one process that takes gRPC and gathers batches, and processes that infer."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.cli.main import main as command_line
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from numpy.typing import NDArray

from peers.work import HOST, MODEL, WAIT, Joints, Settings, Work


class PoseModel(MLModel):  # type: ignore[misc]
    """`picture` (BYTES, files) and `box` (FP32, [N, 4]) -> `joints` and `scores`."""

    async def load(self) -> bool:
        """Called in the process that infers."""
        settings = Settings.from_environment()
        self._work = Work(settings.model, settings.threads)
        self._aside = settings.workers == 0  # or calls would wait while the network runs
        settings.ready()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """All of a batch."""
        pictures, boxes = payload.inputs
        flat = np.array(list(boxes.data), np.float32).reshape(-1, 4)
        files = list(pictures.data)
        found = await asyncio.to_thread(self._infer, files, flat) if self._aside else self._infer(files, flat)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                _tensor("joints", np.stack([person.joints for person in found])),
                _tensor("scores", np.stack([person.scores for person in found])),
            ],
        )

    def _infer(self, files: list[bytes], boxes: NDArray[np.float32]) -> list[Joints]:
        return self._work.infer([self._work.cut(*request) for request in zip(files, boxes, strict=True)])


def _tensor(name: str, values: NDArray[np.float32]) -> ResponseOutput:
    return ResponseOutput(name=name, shape=list(values.shape), datatype="FP32", data=values.ravel().tolist())


def main() -> None:
    """Write what `mlserver start` reads, and start it."""
    settings = Settings.from_environment()
    folder = Path(settings.folder)
    server = {
        "host": HOST,
        "grpc_port": settings.port,
        "http_port": settings.other_port,
        "metrics_endpoint": None,
        "parallel_workers": settings.workers,
        "environments_dir": str(folder / "environments"),
        "debug": False,
    }
    model = {
        "name": MODEL,
        "implementation": "peers.mlserver_app.PoseModel",
        "max_batch_size": settings.batch,
        "max_batch_time": WAIT,
    }
    (folder / "settings.json").write_text(json.dumps(server), "utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), "utf-8")
    sys.argv[1:] = ["start", str(folder)]
    command_line()


if __name__ == "__main__":
    main()
