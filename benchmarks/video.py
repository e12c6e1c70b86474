"""What `poseglass video` costs beside its parts done bare: frames a processor second, and processors kept busy.

    python benchmarks/video.py VIDEO.mp4
    python benchmarks/video.py VIDEO.mp4 --rounds 3 --json video.json

The bare programs decode the same video and crop and run the same boxes, with one session of all threads and with as
many sessions as processors of a thread each; they look for nobody, follow nobody and write nothing. All are whole
programs, from their start to their end, and take turns. With a server, its processor time is counted too.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

import poseglass
from machine import processor
from poseglass.bench.usage import process_cost
from poseglass_core.files import write_whole
from poseglass_runtime.threads import available_threads
from serving import running_server
from spending import Spent, spend

HERE = Path(__file__).parent


def extract(video: Path, out: Path, options: list[str]) -> Spent:
    """By this project."""
    return spend(["-m", "poseglass", "video", str(video), "--out", str(out), *options])


def on_a_server(video: Path, out: Path, model: str, threads: int) -> Spent:
    """By this project, with a server on this machine, whose processor time counts too."""
    with running_server([model], threads) as server:
        before = process_cost(server.process.pid)
        spent = extract(video, out, ["--server", server.address, "--model", model])
        after = process_cost(server.process.pid)
    if before is None or after is None:
        raise RuntimeError("the server ended on the way")
    return replace(spent, cpu_seconds=spent.cpu_seconds + after[0] - before[0])


def bare(video: Path, rows: Path, model: str, sessions: int, threads: int) -> Spent:
    """Its parts alone."""
    program = [str(HERE / "bare_video.py"), str(video), "--rows", str(rows), "--model", model]
    return spend([*program, "--sessions", str(sessions), "--threads", str(threads)])


def main(
    video: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    model: Annotated[str, typer.Option()] = "hourglass-s",
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure, and print a table."""
    threads = available_threads()[0]
    with tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch) / "first"
        extract(video, first, ["--model", model, "--device", "cpu"])
        (rows,) = first.glob("*/*.parquet")
        counts = poseglass.load(rows).header["counts"]
        names = iter(range(rounds * 2))
        ways: dict[str, Callable[[], Spent]] = {
            f"bare, 1 session x {threads}": lambda: bare(video, rows, model, 1, threads),
            f"bare, {threads} sessions x 1": lambda: bare(video, rows, model, threads, 1),
            "in this process": lambda: extract(
                video, Path(scratch) / str(next(names)), ["--model", model, "--device", "cpu"]
            ),
            "with a server": lambda: on_a_server(video, Path(scratch) / str(next(names)), model, threads),
        }
        costs: dict[str, list[Spent]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                costs[name].append(way())
    table = {name: _figures(of, counts["written"], threads) for name, of in costs.items()}
    best = max(row["frames_per_cpu_s"] for name, row in table.items() if name.startswith("bare"))
    print(f"{video.name}: {counts['written']} frames, {counts['with_people']} with somebody; medians of {rounds}")
    for name, row in table.items():
        row["share"] = row["frames_per_cpu_s"] / best
        print(
            f"  {name:22} {row['frames_per_cpu_s']:6.1f} frames a processor second = {100 * row['share']:5.1f} %   "
            f"{row['frames_per_s']:6.1f} a second   wall / (processor time / {threads}): {row['wall_over_ideal']:.2f}"
        )
    print(processor())
    if out is not None:
        document: dict[str, Any] = {"machine": processor(), "model": model, "counts": counts, "ways": table}
        write_whole(out, (json.dumps(document, indent=2) + "\n").encode())


def _figures(costs: list[Spent], frames: int, threads: int) -> dict[str, float]:
    return {
        "frames_per_cpu_s": statistics.median(frames / cost.cpu_seconds for cost in costs),
        "frames_per_s": statistics.median(frames / cost.seconds for cost in costs),
        "wall_over_ideal": statistics.median(cost.seconds / (cost.cpu_seconds / threads) for cost in costs),
    }


if __name__ == "__main__":
    typer.run(main)
