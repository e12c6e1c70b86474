"""A server at twice what it can bear, for minutes: what it does, and whether it is itself afterwards.

    python benchmarks/overload.py --minutes 10

Measures the saturated throughput first, then offers a multiple of it, open loop, and at last single requests, which are
compared with those of before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from loading import load
from machine import processor
from poseglass_core.files import write_whole
from poseglass_runtime.threads import available_threads
from serving import running_server


def growth(step: dict[str, Any]) -> float:
    """Growth of the server's memory from the mean of its second minute, or quarter, to that of its last, as a share."""
    taken = step["server_process"]["rss_over_time"]
    second, mib = np.array(taken["second"]), np.array(taken["mib"])
    length = min(60.0, second[-1] / 4)
    early = mib[(second >= length) & (second < 2 * length)].mean()
    return float(mib[second >= second[-1] - length].mean() / early - 1)


def main(
    model: Annotated[str, typer.Option()] = "hourglass-s",
    picture: Annotated[str, typer.Option(help="As of `poseglass bench`.")] = "jpeg:640x480",
    times: Annotated[float, typer.Option(help="Of the saturated throughput.")] = 2.0,
    minutes: Annotated[float, typer.Option()] = 10.0,
    timeout: Annotated[float, typer.Option(help="Seconds; every request's deadline.")] = 2.0,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure, and print what is asked of a server under load."""
    common = ["--picture", picture]
    alone = [*common, "--callers", "1", "--duration", "10"]
    with running_server([model], available_threads()[0]) as server:
        (before,) = load(server, alone)
        (saturated,) = load(server, [*common, "--callers", "16", "--duration", "20", "--timeout", "30"])
        most = saturated["throughput_per_s"]
        rate = f"{times * most:.1f}"
        long = ["--rate", rate, "--duration", str(60 * minutes), "--timeout", str(timeout), "--connections", "8"]
        (step,) = load(server, [*common, *long])
        (after,) = load(server, alone)
        alive = server.process.poll() is None
    refused = step["codes"].get("RESOURCE_EXHAUSTED", {"count": 0, "latency_ms": None, "with_retry_delay": 0})
    answered = step["codes"].get("OK", {"count": 0, "latency_ms": None})
    other = {code: of["count"] for code, of in step["codes"].items() if code not in {"OK", "RESOURCE_EXHAUSTED"}}
    result = {
        "machine": processor(),
        "alive": alive,
        "saturated_per_s": most,
        "offered_per_s": step["offered_per_s"],
        "goodput_per_s": step["goodput_per_s"],
        "goodput_share": step["goodput_per_s"] / most,
        "answered": answered,
        "refused": refused,
        "other_codes": other,
        "memory_growth": growth(step),
        "rss_mib": step["server_process"]["rss_mib"],
        "lateness_ms": step["generator"]["lateness_ms"],
        "generator_cpu_share": step["generator"]["cpu_share"],
        "alone_before_ms": before["latency_ms"],
        "alone_after_ms": after["latency_ms"],
    }
    print(f"saturated {most:.1f}/s; offered {result['offered_per_s']:.1f}/s for {minutes:g} min: alive {alive}")
    print(f"goodput {result['goodput_per_s']:.1f}/s = {100 * result['goodput_share']:.1f} % of saturated")
    neither = sum(other.values())
    print(f"answered {answered['count']:,}: {answered['latency_ms']} ms; neither answered nor refused: {neither:,}")
    print(f"refused {refused['count']:,}, {refused['with_retry_delay']:,} with a delay: {refused['latency_ms']} ms")
    print(f"memory {100 * result['memory_growth']:+.1f} % after the first minute: {result['rss_mib']} MiB")
    print(f"alone before {before['latency_ms']} ms, after {after['latency_ms']} ms")
    print(result["machine"])
    if out is not None:
        write_whole(out, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
