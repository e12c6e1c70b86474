"""SIGTERM under load: what becomes of what is in flight, of what comes after, and how the server ends.

    python benchmarks/shutdown.py --rounds 5

Callers ask for pictures as fast as they are answered, and each goes on until it is told that the server is away. What
was sent before the signal must be answered; whoever asks later must be told UNAVAILABLE; the server must exit with 0.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import typer

from machine import processor
from poseglass_core.files import write_whole
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_runtime.threads import available_threads
from serving import Server, running_server

BEFORE = 3.0
"""Seconds of load before the signal."""

LONGEST = 30.0
"""Seconds that a call may take."""


@dataclass(frozen=True)
class Call:
    """One call: when it was sent and was over, of `time.monotonic`, and with which code."""

    sent: float
    over: float
    code: str


def ask(server: Server, request: pb.PredictRequest, calls: list[Call], begun: threading.Event) -> None:
    """Calls until one says that the server is away."""
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = pose_pb2_grpc.PoseServiceStub(channel)  # type: ignore[no-untyped-call]
        while not calls or calls[-1].code == "OK":
            sent, code = time.monotonic(), "OK"
            try:
                stub.Predict(request, timeout=LONGEST)
            except grpc.RpcError as error:
                code = error.code().name  # type: ignore[attr-defined]
            calls.append(Call(sent, time.monotonic(), code))
            begun.set()


def one_round(model: str, count: int, request: pb.PredictRequest) -> dict[str, Any]:
    """Load, signal, end."""
    with running_server([model], available_threads()[0]) as server:
        calls: list[list[Call]] = [[] for _ in range(count)]
        begun = [threading.Event() for _ in range(count)]
        threads = [
            threading.Thread(target=ask, args=(server, request, mine, event))
            for mine, event in zip(calls, begun, strict=True)
        ]
        for thread in threads:
            thread.start()
        for event in begun:
            event.wait(LONGEST)
        time.sleep(BEFORE)
        at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        exit_code = server.process.wait(LONGEST)
        ended = time.monotonic()
    everything = [call for mine in calls for call in mine]
    in_flight = [call for call in everything if call.sent < at < call.over]
    later = [call for call in everything if call.sent >= at]
    return {
        "answered_before": sum(call.over <= at for call in everything),
        "in_flight": dict(Counter(call.code for call in in_flight)),
        "sent_later": dict(Counter(call.code for call in later)),
        "seconds_to_exit": ended - at,
        "exit_code": exit_code,
    }


def main(
    model: Annotated[str, typer.Option()] = "hourglass-s",
    callers: Annotated[int, typer.Option(min=1)] = 16,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure, and print what happened."""
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    image = pb.Image(raw=pb.RawImage(data=pixels.tobytes(), height=256, width=256, format=pb.RGB24))
    request = pb.PredictRequest(image=image, boxes=[pb.Box(width=256, height=256)])
    done = [one_round(model, callers, request) for _ in range(rounds)]
    result = {"machine": processor(), "callers": callers, "rounds": done}
    print(json.dumps(result, indent=2))
    if out is not None:
        write_whole(out, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
