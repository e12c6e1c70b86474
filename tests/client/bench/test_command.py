"""`poseglass bench`: from the command line through a server to tables, documents and plots."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from xml.etree import ElementTree

import cv2
import jsonschema
import pytest
from typer.testing import CliRunner

from poseglass import cli
from poseglass.bench import streams
from poseglass.bench.run import interruptible

SHORT = ("--duration", 0.5, "--warmup", 0, "--picture", "jpeg:16x16")

SPREAD = {
    "anyOf": [
        {"type": "null"},
        {
            "type": "object",
            "required": ["p50", "p90", "p99", "mean", "max"],
            "additionalProperties": {"type": "number"},
        },
    ]
}
STEP = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "load": {"type": "object", "maxProperties": 1, "minProperties": 1},
        "window_s": {"type": "number"},
        "requests": {"type": "integer"},
        "offered_per_s": {"type": "number"},
        "throughput_per_s": {"type": "number"},
        "goodput_per_s": {"type": "number"},
        "latency_ms": SPREAD,
        "codes": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["count", "latency_ms", "with_retry_delay", "retry_delay_ms", "message"],
            },
        },
        "server_ms": {"type": "object", "additionalProperties": SPREAD},
        "people_per_picture": {"type": ["number", "null"]},
        "pictures": {"type": "object"},
        "models": {"type": "array", "items": {"required": ["name", "version", "sha256", "provider", "answers"]}},
        "streams": {"type": ["object", "null"], "required": ["opened", "broken"]},
        "generator": {"type": "object", "required": ["lateness_ms", "cpu_s", "cpu_share", "cpu_ms_per_request"]},
        "server_process": {
            "type": ["object", "null"],
            "required": ["cpu_s", "cpu_share", "pictures_per_cpu_s", "rss_mib", "rss_over_time"],
        },
        "over_time": {"type": "object"},
    },
}
STEP["required"] = list(STEP["properties"])
DOCUMENT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "format": {"const": "poseglass-bench/1"},
        "started": {"type": "string"},
        "machine": {"required": ["processor", "processors", "usable_processors", "load_average", "system", "versions"]},
        "server": {"required": ["address", "model", "provider"]},
        "settings": {
            "required": ["mode", "duration_s", "warmup_s", "timeout_s", "seed", "pictures", "options", "boxes"]
        },
        "interrupted": {"type": "boolean"},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "steps": {"type": "array", "items": STEP},
    },
}
DOCUMENT["required"] = list(DOCUMENT["properties"])


def run(*arguments, expect=0):
    result = CliRunner().invoke(cli.app, ["bench", *map(str, arguments)])
    assert result.exit_code == expect, (result.stdout, result.stderr, result.exception)
    return result


def document(*arguments, **expect):
    found = json.loads(run(*arguments, "--json", **expect).stdout)
    jsonschema.validate(found, DOCUMENT)
    for step in found["steps"]:
        assert sum(about["count"] for about in step["codes"].values()) == step["requests"]
    return found


def test_an_open_loop_from_end_to_end(server, tmp_path):
    out, plot = tmp_path / "new" / "bench.json", tmp_path / "bench.svg"
    found = document(
        *("--server", server.address, "--rate", 40, "--arrivals", "uniform", *SHORT),
        *("--server-pid", os.getpid(), "--out", out, "--plot", plot),
    )
    assert json.loads(out.read_text()) == found
    assert found["server"]["model"] == {"name": "fake", "version": 3, "sha256": "a" * 64}
    assert found["server"]["provider"] == "FakeProvider"
    assert found["settings"]["arrivals"] == "uniform"
    (step,) = found["steps"]
    assert step["load"] == {"rate": 40}
    assert step["requests"] == 20
    assert step["codes"]["OK"]["count"] == 20
    assert step["server_ms"]["inference"]["p50"] == 3
    assert step["server_process"]["cpu_s"] > 0
    assert len(server.poses.requests) == 21  # with the one that tried the question out
    assert server.poses.requests[0].boxes[0].width == 16
    assert "latency of answers" in "".join(ElementTree.parse(plot).getroot().itertext())


def test_a_sweep_prints_tables_and_draws(server, tmp_path):
    plot = tmp_path / "sweep.png"
    text = run("--server", server.address, "--rate", "20,40", "--rate", 60, *SHORT, "--plot", plot).stdout
    for told in ("fake version 3", "20/s", "40/s", "60/s", "offered", "p99", "inference", "generator: "):
        assert told in text
    assert cv2.imread(str(plot)) is not None


def test_what_failed_is_told_in_lines_of_its_own(server, status, retry):
    server.poses.statuses = [status(8, "the queue is full", retry(0.25)) for _ in range(4)]
    text = run("--server", server.address, "--rate", 40, "--arrivals", "uniform", *SHORT).stdout
    assert "RESOURCE_EXHAUSTED 3, p99 " in text
    assert "to be asked again after 250 ms (median): the queue is full" in text


def test_refusals_are_counted_and_not_tried_again(server, status, retry):
    server.poses.statuses = [status(8, "the queue is full", retry(0.25)) for _ in range(4)]
    found = document("--server", server.address, "--rate", 40, "--arrivals", "uniform", *SHORT)
    codes = found["steps"][0]["codes"]
    assert codes["RESOURCE_EXHAUSTED"]["count"] == 3  # the fourth met the question that was tried out
    assert codes["RESOURCE_EXHAUSTED"]["retry_delay_ms"]["p50"] == 250
    assert codes["RESOURCE_EXHAUSTED"]["message"] == "the queue is full"
    assert codes["OK"]["count"] == 17
    assert len(server.poses.requests) == 21


def test_callers_with_a_mix_over_several_connections(server, pictures):
    found = document(
        *("--server", server.address, "--callers", "1,3", "--connections", 2, "--duration", 0.4, "--warmup", 0.1),
        *("--images", f"{pictures}=2", "--picture", "raw:8x8", "--picture", "gray:8x8", "--boxes", 2),
    )
    assert [step["load"] for step in found["steps"]] == [{"callers": 1}, {"callers": 3}]
    assert found["steps"][1]["people_per_picture"] == 2
    assert {name: about["share"] for name, about in found["settings"]["pictures"].items()} == {
        str(pictures): 0.5,
        "raw:8x8": 0.25,
        "gray:8x8": 0.25,
    }
    assert sum(about["ok"] for about in found["steps"][1]["pictures"].values()) == found["steps"][1]["requests"]


def test_streams(server, status):
    server.poses.statuses = [status(8, "busy"), status(13, "a bad picture"), status(13, "another")]
    found = document("--server", server.address, "--streams", 2, "--in-flight", 3, *SHORT)
    (step,) = found["steps"]
    assert step["streams"] == {"opened": 2, "broken": {}}
    assert step["codes"]["INTERNAL"]["count"] == 2
    assert step["codes"]["OK"]["count"] == step["requests"] - 2 > 0
    assert step["generator"]["lateness_ms"] is None
    assert server.poses.requests[-1].timeout_ms == 2000


def test_a_stream_that_breaks_is_followed_by_another(server, status):
    server.poses.statuses = [status(8, "busy"), status(14, "break the stream")]
    found = document("--server", server.address, "--streams", 1, "--in-flight", 2, *SHORT)
    (step,) = found["steps"]
    (code,) = step["streams"]["broken"]
    assert code in ("UNAVAILABLE", "UNKNOWN")  # gRPC loses the reason where a picture is on its way meanwhile
    assert step["streams"] == {"opened": 2, "broken": {code: 1}}
    assert step["codes"][code]["count"] in (1, 2)
    assert step["codes"]["OK"]["count"] > 0


def test_a_stream_that_ends_too_early_is_broken(server):
    server.poses.stop_after = 2
    found = document("--server", server.address, "--streams", 1, "--in-flight", 1, *SHORT)
    assert found["steps"][0]["streams"]["broken"].keys() == {"UNKNOWN"}
    assert found["steps"][0]["codes"]["OK"]["count"] >= 2


@pytest.fixture
def falls_silent(server):
    """The server, which answers the question that is tried out, and nothing after it."""
    answer = server.poses.answer

    def last(request):
        server.poses.silent.set()
        return answer(request)

    server.poses.answer = last
    return server


def test_deadlines_are_met_or_counted(falls_silent):
    found = document("--server", falls_silent.address, "--rate", 20, *SHORT, "--timeout", 0.2, expect=1)
    (step,) = found["steps"]
    assert step["codes"].keys() == {"DEADLINE_EXCEEDED"}
    assert step["goodput_per_s"] == 0
    assert any("no request was answered" in line for line in found["warnings"])


def test_a_stream_that_falls_silent_is_given_up(falls_silent, monkeypatch):
    monkeypatch.setattr(streams, "STREAM_GRACE", 0.0)
    arguments = ("--streams", 1, "--in-flight", 3, *SHORT, "--timeout", 0.1)
    (step,) = document("--server", falls_silent.address, *arguments, expect=1)["steps"]
    assert step["codes"].keys() == step["streams"]["broken"].keys() == {"DEADLINE_EXCEEDED"}
    assert 3 <= step["codes"]["DEADLINE_EXCEEDED"]["count"] <= 3 * step["streams"]["opened"]


@pytest.mark.parametrize("load", [("--rate", 20), ("--streams", 1)])
def test_every_request_carries_the_token(server, monkeypatch, load):
    seen = []
    monkeypatch.setattr(server.poses, "_hold", lambda context: seen.append(dict(context.invocation_metadata())))
    monkeypatch.setenv("POSEGLASS_TOKEN", "secret")
    found = document("--server", server.address, *load, *SHORT)
    assert found["steps"][0]["codes"].keys() == {"OK"}
    assert {metadata.get("authorization") for metadata in seen} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--rate 50"),
        (["--rate", "5", "--callers", "2"], "one kind of load"),
        (["--rate", "fast"], "--rate: must be a number"),
        (["--rate", "5,,6"], "--rate: must be a number"),
        (["--rate", "0"], "--rate"),
        (["--rate", "nan"], "--rate"),
        (["--rate", "100000", "--duration", "1000"], "10,000,000 requests"),
        (["--callers", "1.5"], "--callers: must be a whole number"),
        (["--streams", "0"], "--streams"),
        (["--callers", "1", "--in-flight", "3"], "--in-flight: is about --streams"),
        (["--callers", "1", "--arrivals", "uniform"], "--arrivals: is about --rate"),
        (["--rate", "1", "--arrivals", "bursty"], "poisson, uniform"),
        (["--rate", "1", "--duration", "0"], "--duration"),
        (["--rate", "1", "--warmup", "-1"], "--warmup"),
        (["--rate", "1", "--timeout", "inf"], "--timeout"),
        (["--rate", "1", "--connections", "0"], "--connections"),
        (["--rate", "1", "--boxes", "-1"], "--boxes"),
        (["--rate", "1", "--seed", "-1"], "--seed"),
        (["--rate", "1", "--locate", "here"], "auto, whole or detect"),
        (["--rate", "1", "--locate", "whole"], "--locate: is about people who are looked for"),
        (["--rate", "1", "--detector", "finder"], "add --boxes 0"),
        (["--rate", "1", "--heatmaps", "float8"], "--heatmaps"),
        (["--rate", "1", "--version", "-1"], "--version"),
        (["--rate", "1", "--plot", "plot.pdf"], ".svg or .png"),
        (["--rate", "1", "--out", "out.txt"], ".json"),
        (["--rate", "1", "--picture", "raw:4"], "FORMAT:WIDTHxHEIGHT"),
        (["--rate", "1", "--images", "nowhere.jpg"], "nowhere.jpg"),
        (["--rate", "1", "--model", "other"], "no model is called 'other'"),
        (["--rate", "1", "--server-pid", "99999999"], "--server-pid"),
    ],
)
def test_a_wrong_question_is_answered_in_one_line(server, arguments, told):
    result = run("--server", server.address, *arguments, expect=2)
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_question_that_the_server_refuses_shows_before_the_run(server, bad):
    server.poses.statuses = [bad(("outputs.joints", "no joint is called that"))]
    assert "no joint is called that" in run("--server", server.address, "--rate", 5, *SHORT, expect=2).stderr
    assert len(server.poses.requests) == 1


def test_nobody_there(nobody):
    assert f"no server answers at {nobody}" in run("--server", nobody, "--rate", 5, expect=1).stderr


def test_ctrl_c_ends_the_run_and_not_the_program():
    async def interrupted():
        with interruptible() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(stop.wait(), 10)
        return signal.getsignal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    asyncio.run(interrupted())
    assert signal.getsignal(signal.SIGINT) == before


def test_an_interrupted_run_says_what_it_measured(server, tmp_path):
    answer, count = server.poses.answer, 0

    def interrupting(request):
        nonlocal count
        count += 1
        if count == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return answer(request)

    server.poses.answer = interrupting
    out = tmp_path / "bench.json"
    result = run(
        *("--server", server.address, "--callers", "1,2", "--duration", 30, "--warmup", 0, "--out", out), expect=1
    )
    assert "interrupted; measured: 1 caller for" in result.stderr
    assert "1 caller" in result.stdout
    found = json.loads(out.read_text())
    assert found["interrupted"] is True
    assert len(found["steps"]) == 1
    assert found["steps"][0]["window_s"] < 30
