"""What the log says of calls, and that nobody else can write into it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime

import grpc
import pytest

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_server import access
from poseglass_server.logs import JsonFormatter, TextFormatter, fields

WHOLE = pb.Box(x=0, y=0, width=120, height=80)
HOSTILE = 'a"\n2026-01-01T00:00:00.000Z INFO poseglass.server: all is well\r\x1b[2J\u2028\u202e\udc80'


def record(message: str = "told", error: Exception | None = None, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("poseglass.server", logging.INFO, "", 0, "%s", (message,), None)
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    for name, value in fields(**values).items():
        setattr(made, name, value)
    return made


def raised(text: str) -> Exception:
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        return error


def test_json_is_one_object_a_line():
    line = JsonFormatter().format(record(HOSTILE, raised(HOSTILE), request_id=HOSTILE, milliseconds=1.5, model=""))
    assert line.isascii()
    assert line.isprintable()
    entry = json.loads(line)
    assert (entry["message"], entry["request_id"], entry["milliseconds"]) == (HOSTILE, HOSTILE, 1.5)
    assert (entry["level"], entry["logger"]) == ("INFO", "poseglass.server")
    assert "model" not in entry
    assert datetime.fromisoformat(entry["time"]).utcoffset().total_seconds() == 0
    assert entry["exception"].startswith("Traceback")
    assert "RuntimeError" in entry["exception"]


def test_nobody_writes_lines_of_their_own_into_the_text():
    text = TextFormatter().format(record(HOSTILE, raised(HOSTILE), request_id=HOSTILE))
    first, *rest = text.split("\n")
    assert first.isprintable()
    assert "INFO poseglass.server: a" in first
    assert "\\n2026" in first
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_text_fields_are_words():
    line = TextFormatter().format(record("told", request_id="two words", code="OK", count=3, model="a=b"))
    assert line.endswith(' INFO poseglass.server: told request_id="two words" code=OK count=3 model="a=b"')


@pytest.fixture
def lines(caplog) -> Callable[..., list[dict[str, object]]]:
    """The access log's entries, from DEBUG on, as JSON gives them."""
    caplog.set_level(logging.DEBUG, "poseglass")

    def read() -> list[dict[str, object]]:
        return [json.loads(JsonFormatter().format(r)) for r in caplog.records if r.name == "poseglass.access"]

    return read


def test_calls_and_pictures_are_told_with_who_and_what(serving, network, png, lines):
    with serving(network) as running:
        running.pose.Predict(pb.PredictRequest(request_id="good", image=png, boxes=[WHOLE]))
        with pytest.raises(grpc.RpcError):
            running.pose.Predict(pb.PredictRequest(request_id="bad\n", image=png, model="horses", version=7))
        list(running.pose.PredictStream(iter([pb.PredictRequest(request_id="frame")])))
    good, bad, frame, stream = lines()
    assert (good["level"], good["code"], good["message"], good["request_id"]) == ("DEBUG", "OK", "answered", "good")
    assert (good["model"], good["version"]) == ("brightness", "1")
    assert good["method"] == "/poseglass.v1.PoseService/Predict"
    assert str(good["peer"]).startswith("ipv")
    assert float(str(good["milliseconds"])) > 0
    allowed = {"time", "level", "logger", "message", "request_id", "method", "code", "peer", "milliseconds"}
    assert set().union(good, bad, frame, stream) == allowed | {"model", "version"}
    assert (bad["level"], bad["code"], bad["request_id"]) == ("INFO", "NOT_FOUND", "bad\n")
    assert (bad["model"], bad["version"]) == ("horses", "7")
    assert "no model is called 'horses'" in str(bad["message"])
    assert (frame["level"], frame["code"], frame["request_id"]) == ("INFO", "INVALID_ARGUMENT", "frame")
    assert (stream["level"], stream["code"]) == ("DEBUG", "OK")


def test_many_failures_are_summed_up(serving, network, lines, monkeypatch):
    monkeypatch.setattr(access, "WINDOW_S", 0.3)
    many = 40
    with serving(network) as running:
        list(running.pose.PredictStream(iter([pb.PredictRequest()] * many)))
        with pytest.raises(grpc.RpcError):
            running.pose.Predict(pb.PredictRequest())

        def told() -> int:
            failed = [line for line in lines() if line["method"].endswith("Stream") and line["code"] != "OK"]
            return sum(int(line.get("count", 1)) for line in failed)

        end = time.monotonic() + 20
        while told() < many:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert told() == many
    assert any("more within" in str(line["message"]) for line in lines())
    assert [line["method"] for line in lines()].count("/poseglass.v1.PoseService/Predict") == 1


def test_a_callers_text_is_cut(serving, network, lines):
    with serving(network) as running, pytest.raises(grpc.RpcError):
        running.pose.Predict(pb.PredictRequest(request_id="x" * 100_000))
    (line,) = lines()
    assert len(json.dumps(line)) < 2000
