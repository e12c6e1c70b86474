"""From rows to figures: percentiles, rates, codes, costs. Plain values, as they stand in the JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.bench.records import NOT_SENT, OK, Table
from poseglass.bench.steps import Measured
from poseglass.bench.streams import StreamCount
from poseglass.bench.usage import Sample
from poseglass.options import MIB

PERCENTILES = (50, 90, 99)
STAGES = ("decode", "queue", "inference", "total")
BINS = 60
"""Stretches that a window is cut into, to see how it went."""


def step_figures(measured: Measured, names: Sequence[str], timeout: float) -> dict[str, Any]:
    """All figures of one step.

    A request belongs to the window in which it was due: latencies and codes are of these. Throughput, goodput and
    processor time are of what was done in the window, whenever it was due.

    Args:
        measured: the step.
        names: of the kinds of pictures.
        timeout: seconds; an answer that came later is no good.
    """
    table, window = measured.table, measured.window
    due = (table.at >= 0) & (table.at < window)
    good_code = _is(table, OK)
    ok = due & good_code
    inside = good_code & (table.done >= 0) & (table.done < window)
    good = inside & (table.latency <= timeout)
    sent = due & ~_is(table, NOT_SENT)
    return {
        "load": {measured.load.kind: measured.load.amount},
        "window_s": round(window, 4),
        "requests": int(due.sum()),
        "offered_per_s": _rate(due, window),
        "throughput_per_s": _rate(inside, window),
        "goodput_per_s": _rate(good, window),
        "latency_ms": spread(1e3 * table.latency[ok]),
        "codes": {
            code: _code_figures(table, rows, table.messages.get(code, ""))
            for code in sorted(table.codes)
            if (rows := due & _is(table, code)).any()
        },
        "server_ms": {stage: spread(table.timings[ok, i]) for i, stage in enumerate(STAGES)},
        "people_per_picture": _mean(table.people[ok]),
        "pictures": {name: _kind_figures(table, table.kind == i, due, ok) for i, name in enumerate(names)},
        "models": _origins(table, ok),
        "streams": _streams(measured.streams),
        "generator": {
            "lateness_ms": spread(1e3 * (table.sent - table.at)[sent]) if measured.load.kind == "rate" else None,
            **_generator(measured.samples, int(sent.sum())),
        },
        "server_process": _server_process(measured.samples, table.done[good_code], window),
        "over_time": over_time(table, due, ok, window),
    }


def spread(values: NDArray[np.float64]) -> dict[str, float] | None:
    """Percentiles, mean and maximum of the values that are known.

    Returns:
        `p50`, `p90`, `p99`, `mean`, `max`, to a thousandth; None where nothing is known.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    levels = np.percentile(known, PERCENTILES)
    return {
        **{f"p{level}": round(float(value), 3) for level, value in zip(PERCENTILES, levels, strict=True)},
        "mean": round(float(known.mean()), 3),
        "max": round(float(known.max()), 3),
    }


def over_time(
    table: Table, due: NDArray[np.bool_], ok: NDArray[np.bool_], window: float
) -> dict[str, list[float | None]]:
    """How the window went: requests by when they were due, in `BINS` stretches of the same length.

    Returns:
        `second` (the middle of the stretch), `requests_per_s`, `ok_per_s`, and of those OK `p50_ms` ... `p99_ms`.
    """
    result: dict[str, list[float | None]] = {"second": [], "requests_per_s": [], "ok_per_s": []}
    result |= {f"p{level}_ms": [] for level in PERCENTILES}
    if window <= 0:
        return result
    place = np.minimum((table.at / window * BINS).astype(np.int64), BINS - 1)
    for i in range(BINS):
        here = place == i
        levels = spread(1e3 * table.latency[here & ok])
        result["second"].append(round((i + 0.5) * window / BINS, 4))
        result["requests_per_s"].append(_rate(here & due, window / BINS))
        result["ok_per_s"].append(_rate(here & ok, window / BINS))
        for level in PERCENTILES:
            result[f"p{level}_ms"].append(None if levels is None else levels[f"p{level}"])
    return result


def _is(table: Table, code: str) -> NDArray[np.bool_]:
    """The rows of a code."""
    return np.equal(table.code, table.codes.index(code) if code in table.codes else -1)


def _code_figures(table: Table, rows: NDArray[np.bool_], message: str) -> dict[str, Any]:
    """Of one code: how often, how soon, what was said with it."""
    retry = table.retry[rows]
    return {
        "count": int(rows.sum()),
        "latency_ms": spread(1e3 * table.latency[rows]),
        "with_retry_delay": int(np.isfinite(retry).sum()),
        "retry_delay_ms": spread(1e3 * retry),
        "message": message,
    }


def _kind_figures(
    table: Table, kind: NDArray[np.bool_], due: NDArray[np.bool_], ok: NDArray[np.bool_]
) -> dict[str, Any]:
    """Of one kind of pictures."""
    return {
        "requests": int((due & kind).sum()),
        "ok": int((ok & kind).sum()),
        "latency_ms": spread(1e3 * table.latency[ok & kind]),
    }


def _streams(counted: StreamCount | None) -> dict[str, Any] | None:
    return None if counted is None else {"opened": counted.opened, "broken": dict(counted.broken)}


def _origins(table: Table, ok: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Which files answered, and how often."""
    counts = Counter(table.origin[ok].tolist())
    keys = ("name", "version", "sha256", "provider")
    return [
        {**dict(zip(keys, table.origins[index], strict=True)), "answers": count}
        for index, count in counts.most_common()
    ]


def _generator(samples: Sequence[Sample], requests: int) -> dict[str, float | None]:
    """What this process cost."""
    if len(samples) < 2:
        return {"cpu_s": None, "cpu_share": None, "cpu_ms_per_request": None}
    seconds = samples[-1].generator_cpu - samples[0].generator_cpu
    elapsed = samples[-1].at - samples[0].at
    return {
        "cpu_s": round(seconds, 3),
        "cpu_share": round(seconds / elapsed, 3),
        "cpu_ms_per_request": round(1e3 * seconds / requests, 3) if requests else None,
    }


def _server_process(samples: Sequence[Sample], done: NDArray[np.float64], window: float) -> dict[str, Any] | None:
    """What the server's processes cost; None where nobody looked, or they went away."""
    if len(samples) < 2 or samples[0].server_cpu is None or samples[-1].server_cpu is None:
        return None
    seconds = samples[-1].server_cpu - samples[0].server_cpu
    elapsed = samples[-1].at - samples[0].at
    rss = [(round(s.at - samples[0].at, 2), round(s.server_rss / MIB, 2)) for s in samples if s.server_rss is not None]
    pictures = int(((done >= 0) & (done < window)).sum())
    return {
        "cpu_s": round(seconds, 3),
        "cpu_share": round(seconds / elapsed, 3),
        "pictures_per_cpu_s": round(pictures / seconds, 3) if seconds > 0 else None,
        "rss_mib": {"first": rss[0][1], "last": rss[-1][1], "peak": max(value for _, value in rss)},
        "rss_over_time": {"second": [at for at, _ in rss], "mib": [value for _, value in rss]},
    }


def _rate(rows: NDArray[np.bool_], window: float) -> float:
    return round(float(rows.sum()) / window, 3) if window > 0 else 0.0


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 3) if len(known) else None
