"""What a saturated server costs beside the bare networks: pictures a processor second of both.

    python benchmarks/saturation.py
    python benchmarks/saturation.py --rounds 5 --json saturation.json

The bare loops (one session of all threads, and as many sessions as processors with a thread each) and the server take
turns, each in a process of its own, so that all of them see the same machine. Processor time is compared, not wall
time: the process that makes the load shares the processors with the server.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from loading import load
from machine import processor
from poseglass_core.files import write_whole
from poseglass_runtime.threads import available_threads
from serving import running_server


def bare(model: str, picture: str, sessions: int, threads: int, seconds: float) -> dict[str, Any]:
    """A bare loop in a process of its own; pictures a processor second, and a second."""
    command = [sys.executable, str(Path(__file__).with_name("bare.py")), "--model", model, "--picture", picture]
    command += ["--sessions", str(sessions), "--threads", str(threads), "--seconds", str(seconds)]
    took = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {
        "per_cpu_s": took["pictures"] / took["cpu_seconds"],
        "per_s": took["pictures"] / took["seconds"],
    }


def served(model: str, picture: str, threads: int, options: list[str], callers: int, seconds: float) -> dict[str, Any]:
    """A saturated server; likewise."""
    with running_server([model], threads, options) as server:
        (step,) = load(
            server, ["--callers", str(callers), "--picture", picture, "--duration", str(seconds), "--timeout", "30"]
        )
    if set(step["codes"]) != {"OK"}:
        raise RuntimeError(f"not every answer was OK: {step['codes']}")
    return {"per_cpu_s": step["server_process"]["pictures_per_cpu_s"], "per_s": step["throughput_per_s"]}


def main(
    model: Annotated[str, typer.Option()] = "hourglass-s",
    pictures: Annotated[list[str], typer.Option("--picture", help="As of `poseglass bench`; repeatable.")] = [  # noqa: B006
        "raw:256x256",
        "jpeg:640x480",
    ],
    callers: Annotated[int, typer.Option(min=1)] = 16,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each measurement.")] = 10.0,
    option: Annotated[list[str] | None, typer.Option(help="A further word for `poseglass serve`; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure, and print a table."""
    threads = available_threads()[0]
    result: dict[str, Any] = {"machine": processor(), "model": model, "callers": callers, "pictures": {}}
    for picture in pictures:
        runs: dict[str, list[dict[str, Any]]] = {}
        for _ in range(rounds):
            runs.setdefault(f"bare, 1 session x {threads}", []).append(bare(model, picture, 1, threads, seconds))
            runs.setdefault(f"bare, {threads} sessions x 1", []).append(bare(model, picture, threads, 1, seconds))
            runs.setdefault("server", []).append(served(model, picture, threads, option or [], callers, seconds))
        medians = {
            name: {key: statistics.median(run[key] for run in of) for key in ("per_cpu_s", "per_s")}
            for name, of in runs.items()
        }
        best = max(row["per_cpu_s"] for name, row in medians.items() if name != "server")
        share = [
            run["per_cpu_s"] / max(runs[name][i]["per_cpu_s"] for name in runs if name != "server")
            for i, run in enumerate(runs["server"])
        ]
        result["pictures"][picture] = {
            "medians": medians,
            "share": medians["server"]["per_cpu_s"] / best,
            "share_of_each_round": share,
        }
        print(f"{picture}")
        for name, row in medians.items():
            print(f"  {name:24} {row['per_cpu_s']:7.1f} a processor second  {row['per_s']:7.1f} a second")
        print(f"  server / best bare: {100 * result['pictures'][picture]['share']:.1f} %")
    print(result["machine"])
    if out is not None:
        write_whole(out, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
