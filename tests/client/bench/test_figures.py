"""Figures: against NumPy, and against rows counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from poseglass.bench.figures import BINS, over_time, spread, step_figures
from poseglass.bench.run import warnings_of
from poseglass.bench.steps import Load, Measured
from poseglass.bench.streams import StreamCount
from poseglass.bench.usage import Sample

SAMPLES = (Sample(10.0, 1.0, 5.0, 100 << 20), Sample(11.0, 1.1, 6.0, 130 << 20), Sample(12.0, 1.5, 9.0, 120 << 20))


def figures(table, window=2.0, timeout=1.0, names=("a",), samples=(), streams=None, load=None):
    return step_figures(Measured(load or Load("rate", 5), window, table, tuple(samples), streams), names, timeout)


def test_percentiles_are_numpys():
    values = np.random.default_rng(0).gamma(2, 10, 1001)
    found = spread(np.append(values, np.nan))
    for level in (50, 90, 99):
        assert found[f"p{level}"] == pytest.approx(np.percentile(values, level), abs=6e-4)
    assert found["mean"] == pytest.approx(values.mean(), abs=6e-4)
    assert found["max"] == pytest.approx(values.max(), abs=6e-4)
    assert spread(np.array([np.nan])) is None


def test_only_what_was_due_in_the_window_counts(table_of):
    table = table_of((-0.1, 0.2, "OK"), (0.0, 0.1, "OK"), (1.9, 2.4, "OK"), (2.0, 2.1, "OK"))
    found = figures(table)
    assert found["requests"] == 2
    assert found["offered_per_s"] == 1
    assert found["latency_ms"]["max"] == 500
    assert found["throughput_per_s"] == 1  # done in the window: at 0.1 and at 0.2


def test_goodput_leaves_out_what_came_late_or_not_at_all(table_of):
    table = table_of(
        (0.0, 0.5, "OK"),
        (0.1, 1.1, "OK"),  # just in time
        (0.2, 1.3, "OK"),  # too late
        (0.3, 0.4, "RESOURCE_EXHAUSTED"),
    )
    found = figures(table)
    assert found["offered_per_s"] == 2
    assert found["throughput_per_s"] == 1.5
    assert found["goodput_per_s"] == 1
    assert found["latency_ms"]["p50"] == 1000  # of the three that were answered


def test_codes_are_counted_and_sum_to_the_requests(table_of):
    rows = [(i / 10, i / 10 + 0.01, "OK") for i in range(7)]
    rows += [(0.7, 0.71, "RESOURCE_EXHAUSTED", {"retry": d, "message": "full"}) for d in (0.1, 0.2, 0.9)]
    rows += [(0.8, 0.8, "NOT_SENT"), (-0.5, -0.4, "UNAVAILABLE")]
    found = figures(table_of(*rows))
    assert {code: about["count"] for code, about in found["codes"].items()} == {
        "OK": 7,
        "RESOURCE_EXHAUSTED": 3,
        "NOT_SENT": 1,
    }
    refused = found["codes"]["RESOURCE_EXHAUSTED"]
    assert refused["retry_delay_ms"]["p50"] == 200
    assert refused["with_retry_delay"] == 3
    assert refused["latency_ms"]["p99"] == 10
    assert refused["message"] == "full"
    assert found["codes"]["OK"]["retry_delay_ms"] is None


def test_lateness_is_of_what_was_sent(table_of):
    table = table_of(
        (0.0, 0.1, "OK", {"sent": 0.02}),
        (0.1, 0.2, "OK", {"sent": 0.104}),
        (0.2, 1.9, "NOT_SENT", {"sent": 1.9}),
    )
    assert figures(table)["generator"]["lateness_ms"]["max"] == 20
    assert figures(table, load=Load("callers", 1))["generator"]["lateness_ms"] is None


def test_kinds_models_and_timings(table_of):
    other = ("fake", 4, "b" * 64, "FakeProvider")
    table = table_of(
        (0.0, 0.1, "OK", {"timings": (1, 2, 3, 6), "people": 2}),
        (0.1, 0.3, "OK", {"timings": (3, 4, 5, 12), "kind": 1, "origin": other}),
        (0.2, 0.4, "INTERNAL", {"kind": 1}),
        (0.3, 0.4, "OK"),
    )
    found = figures(table, names=("a", "b"))
    assert found["pictures"]["a"]["requests"] == 2
    assert (found["pictures"]["b"]["requests"], found["pictures"]["b"]["ok"]) == (2, 1)
    assert found["pictures"]["b"]["latency_ms"]["p50"] == 200
    assert [(m["version"], m["answers"]) for m in found["models"]] == [(3, 2), (4, 1)]
    assert found["server_ms"]["queue"]["p50"] == 3
    assert found["server_ms"]["total"]["max"] == 12
    assert found["people_per_picture"] == pytest.approx(4 / 3, abs=1e-3)


def test_costs_are_of_the_window(table_of):
    table = table_of((-1.0, -0.5, "OK"), *((i / 10, i / 10 + 0.05, "OK") for i in range(10)), (1.99, 2.5, "OK"))
    found = figures(table, samples=SAMPLES)
    assert found["generator"]["cpu_s"] == 0.5
    assert found["generator"]["cpu_share"] == 0.25
    assert found["generator"]["cpu_ms_per_request"] == pytest.approx(500 / 11, abs=1e-3)
    server = found["server_process"]
    assert (server["cpu_s"], server["cpu_share"], server["pictures_per_cpu_s"]) == (4, 2, 2.5)
    assert server["rss_mib"] == {"first": 100, "last": 120, "peak": 130}
    assert server["rss_over_time"] == {"second": [0, 1, 2], "mib": [100, 130, 120]}


def test_a_server_that_went_away_has_no_costs(table_of):
    assert figures(table_of((0, 1, "OK")), samples=(SAMPLES[0], Sample(12.0, 1.5)))["server_process"] is None


def test_time_is_cut_into_stretches(table_of):
    rows = [(i / 100, i / 100 + (0.02 if i < 300 else 0.2), "OK" if i % 2 else "INTERNAL") for i in range(600)]
    table = table_of(*rows)
    due = np.ones(600, bool)
    found = over_time(table, due, due & (table.code == table.codes.index("OK")), 6.0)
    assert len(found["second"]) == BINS
    assert sum(found["requests_per_s"]) * 6 / BINS == pytest.approx(600, abs=0.1)
    assert sum(found["ok_per_s"]) * 6 / BINS == pytest.approx(300, abs=0.1)
    assert found["p50_ms"][:29] == [20] * 29
    assert found["p99_ms"][-29:] == [200] * 29


def test_nothing_at_all_is_still_a_document(table_of):
    found = figures(table_of(), samples=SAMPLES[:1])
    assert found["requests"] == 0
    assert found["latency_ms"] is None
    assert found["codes"] == {}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_streams_are_counted(table_of):
    counted = StreamCount(3)
    counted.broken["UNAVAILABLE"] += 2
    found = figures(table_of((0, 1, "OK")), streams=counted, load=Load("streams", 1))
    assert found["streams"] == {"opened": 3, "broken": {"UNAVAILABLE": 2}}


def test_warnings_say_when_the_generator_was_the_limit(table_of):
    calm = table_of(*((i / 100, 1.5, "OK", {"sent": i / 100 + 0.001}) for i in range(100)))
    assert warnings_of(figures(calm, samples=SAMPLES)) == []
    late = table_of(*((i / 100, 1.5, "OK", {"sent": i / 100 + 0.2 * (i > 90)}) for i in range(100)))
    assert any("generator itself was late" in line for line in warnings_of(figures(late)))
    unsent = table_of((0.0, 1.0, "OK"), (0.1, 1.2, "NOT_SENT"))
    assert any("1 requests were due" in line for line in warnings_of(figures(unsent)))
    busy = (Sample(0.0, 0.0), Sample(2.0, 1.95))
    assert any("98 % of a processor" in line for line in warnings_of(figures(calm, samples=busy)))
    assert any("no request was answered" in line for line in warnings_of(figures(table_of((0, 1, "INTERNAL")))))
