"""What processes cost, read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from poseglass.bench import usage
from poseglass.bench.usage import Gauge, descendants, process_cost
from poseglass.errors import InvalidRequest

pytestmark = pytest.mark.skipif(not usage.PROC.joinpath("self", "stat").exists(), reason="there is no /proc here")


def test_work_and_memory_show():
    before, _ = process_cost(os.getpid())
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    after, rss = process_cost(os.getpid())
    assert after - before >= 0.08
    assert rss > 1 << 20


def test_children_belong_to_it_and_ended_ones_cost_nothing():
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in descendants(os.getpid())
    finally:
        child.communicate(b"\n")
    assert child.pid not in descendants(os.getpid())
    assert process_cost(child.pid) is None


def test_a_sample_is_of_both():
    sample = Gauge(os.getpid()).sample(3.0)
    assert sample.at == 3
    assert sample.server_cpu >= sample.generator_cpu - 0.1  # which is without children that have ended
    assert sample.server_rss > 1 << 20
    assert Gauge().sample(0.0).server_cpu is None


def test_a_process_that_is_not_there_is_named(monkeypatch, tmp_path):
    with pytest.raises(InvalidRequest, match="--server-pid: no process on this machine has the number 99999999"):
        Gauge(99999999)
    monkeypatch.setattr(usage, "PROC", tmp_path)
    with pytest.raises(InvalidRequest, match="leave it out"):
        Gauge(os.getpid())
