"""Streams that nobody reads, and everybody else: how long one caller waits beside them and without them.

    python benchmarks/stalled.py --rounds 3

Each stalled stream sends pictures without end and reads no answer. Answers carry heatmaps, so that the way back is soon
full; from then on the server may hold no more of that stream than its bound. A caller beside it is measured in turns
with and without, at the same server.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import typer

from loading import load
from machine import processor
from poseglass_core.files import write_whole
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_runtime.threads import available_threads
from serving import Server, running_server

SETTLE = 5.0
"""Seconds after which the way back of a stream that nobody reads is full."""


class Stalled:
    """Streams that send and do not read, from entering to leaving.

    Attributes:
        sent: pictures that the server has taken off the streams.
    """

    def __init__(self, server: Server, count: int) -> None:
        self.sent = 0
        self._server, self._count = server, count
        self._stop = threading.Event()

    def __enter__(self) -> Stalled:
        pixels = np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8)
        raw = pb.RawImage(data=pixels.tobytes(), height=256, width=256, format=pb.RGB24)
        self._request = pb.PredictRequest(
            image=pb.Image(raw=raw),
            boxes=[pb.Box(width=256, height=256)],
            outputs=pb.Outputs(heatmaps=True, heatmap_type=pb.FLOAT32),
        )
        self._channels = [
            grpc.insecure_channel(self._server.address, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(self._count)
        ]
        self._calls = [
            pose_pb2_grpc.PoseServiceStub(channel).PredictStream(self._requests())  # type: ignore[no-untyped-call]
            for channel in self._channels
        ]
        time.sleep(SETTLE)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for call, channel in zip(self._calls, self._channels, strict=True):
            call.cancel()
            channel.close()

    def _requests(self) -> Iterator[pb.PredictRequest]:
        while not self._stop.is_set():
            self.sent += 1
            yield self._request


def alone(server: Server, seconds: float) -> dict[str, Any]:
    """One caller's latency and throughput."""
    (step,) = load(server, ["--callers", "1", "--picture", "raw:256x256", "--duration", str(seconds)])
    latency = step["codes"]["OK"]["latency_ms"]
    return {"per_s": step["throughput_per_s"], "p50_ms": latency["p50"], "p99_ms": latency["p99"]}


def main(
    model: Annotated[str, typer.Option()] = "hourglass-s",
    streams: Annotated[int, typer.Option(min=1)] = 4,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each measurement.")] = 8.0,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure, and print both."""
    without, beside, taken, held = [], [], [], []
    with running_server([model], available_threads()[0]) as server:
        alone(server, 1.0)  # warm
        for _ in range(rounds):
            without.append(alone(server, seconds))
            before = server.memory()
            with Stalled(server, streams) as stalled:
                at_first = stalled.sent
                beside.append(alone(server, seconds))
                taken.append(stalled.sent - at_first)
                held.append(server.memory() - before)
    result = {
        "machine": processor(),
        "streams": streams,
        "without": medians(without),
        "beside": medians(beside),
        "pictures_taken_meanwhile": taken,
        "memory_mib_more": [round(mib, 1) for mib in held],
        "p50_ratio": medians(beside)["p50_ms"] / medians(without)["p50_ms"],
    }
    print(json.dumps(result, indent=2))
    if out is not None:
        write_whole(out, (json.dumps(result, indent=2) + "\n").encode())


def medians(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Of each figure."""
    return {key: statistics.median(of[key] for of in rounds) for key in rounds[0]}


if __name__ == "__main__":
    typer.run(main)
