"""A run that is killed the hard way, from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import torch

from poseglass_training.checkpoint import load_checkpoint

RUN = """
import sys
from pathlib import Path

import torch
import typer

from poseglass_training import commands
from poseglass_training.networks import HourglassConfig
from poseglass_training.presets import PRESETS, Phase, Preset

torch.set_num_threads(1)
network = HourglassConfig(joints=1, stacks=1, features=8, depth=2, input_size=(64, 64))
PRESETS["micro"] = Preset(network, phases=(Phase(64, 4),), batch_size=8, ema=0.9)
commands.training.FIGURES, commands.training.DEV_FIGURES = 64, 4
typer.run(commands.train)
"""
"""`poseglass train` with a preset that takes seconds."""


def command(out, *more):
    arguments = ("--preset", "micro", "--data", "synthetic", "--out", str(out), "--workers", "1", *more)
    return [sys.executable, "-c", RUN, *arguments]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights_bit_for_bit(tmp_path):
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    broken = tmp_path / "broken"
    for epochs in (1, 2):
        resume = ["--resume"] if epochs > 1 else []
        run = subprocess.Popen(command(broken, *resume), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for_epochs(broken, run, epochs)
        time.sleep(0.2)  # into the next epoch
        run.send_signal(signal.SIGKILL)
        assert run.wait(20) == -signal.SIGKILL
    subprocess.run(command(broken, "--resume"), check=True, capture_output=True)
    for name in ("last.pt", "best.pt"):
        expected, got = load_checkpoint(tmp_path / "whole" / name), load_checkpoint(broken / name)
        assert got.epoch == expected.epoch
        assert all(torch.equal(got.weights[key], weight) for key, weight in expected.weights.items()), name


def wait_for_epochs(out, run, epochs):
    """Until so many epochs have been written."""
    for _ in range(6000):
        metrics = out / "metrics.jsonl"
        if metrics.exists() and len(metrics.read_text().splitlines()) >= epochs:
            return
        assert run.poll() is None, "the run ended by itself"
        time.sleep(0.02)
    raise AssertionError("no epoch was finished")
