"""Threads follow affinity and quota, not the host."""

from __future__ import annotations

import os

import pytest

from poseglass_runtime.threads import available_threads


@pytest.mark.parametrize(("quota", "threads"), [("50000 100000", 1), ("100000 100000", 1)])
def test_a_quota_binds(tmp_path, monkeypatch, quota, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    (tmp_path / "cpu.max").write_text(quota)
    assert available_threads(tmp_path)[0] == threads
    assert "quota" in available_threads(tmp_path)[1]


def test_a_fraction_is_rounded_up_and_version_1_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_threads(tmp_path)[0] == 2


@pytest.mark.parametrize("quota", ["max 100000", "900000 100000", "nonsense"])
def test_without_a_binding_quota_affinity_decides(tmp_path, monkeypatch, quota):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    (tmp_path / "cpu.max").write_text(quota)
    assert available_threads(tmp_path) == (2, "processor affinity")
