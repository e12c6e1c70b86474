"""The measurement of training speed, on rendered figures and a clock of the tests' own."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from poseglass_training.batches import Stopwatch
from poseglass_training.networks import HourglassConfig, StackedHourglass
from poseglass_training.presets import Phase, Preset
from poseglass_training.synthetic import SyntheticCrops

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "training_speed.py"
spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
script = importlib.util.module_from_spec(spec)
sys.modules[SCRIPT.stem] = script
spec.loader.exec_module(script)

MICRO = Preset(
    HourglassConfig(joints=1, stacks=1, features=8, depth=2, input_size=(64, 64)),
    phases=(Phase(32, 1), Phase(64, 1)),
    batch_size=4,
)
CPU = torch.device("cpu")


def test_only_steps_after_the_warm_up_are_timed(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)

    def prepare():
        nonlocal now
        for number in range(5):
            now += 100 if number < 2 else 1  # seconds to prepare a batch
            yield ()
        now += 1000  # to find out that there are no more

    batches = Stopwatch(prepare())
    steps = script.Steps(batches, 2)
    for step, _ in enumerate(batches):
        now += 50 if step < 2 else 3  # seconds to learn from it
        steps.on_step(step, 0.0)
    assert steps.speed(8) == script.Speed(crops_per_second=2.0, waiting=0.25, seconds=12.0, steps=3)


@pytest.mark.parametrize("bf16", [True, False])
def test_the_networks_are_trained_as_ordered(bf16):
    seen = []

    def note(module, inputs):
        if isinstance(module, StackedHourglass):
            seen.append((torch.is_autocast_enabled("cpu"), tuple(inputs[0].shape)))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        source = SyntheticCrops(6, 1.25)
        speed = script.measure(script.Work("micro", 32, bf16), MICRO, source, 3, 2, CPU, workers=0)
    finally:
        hook.remove()
    assert seen == [(bf16, (4, 3, 32, 32))] * 5
    assert speed.steps == 3
    assert speed.crops_per_second * speed.seconds == pytest.approx(12)
    assert 0 < speed.waiting < 1


def test_each_preset_is_measured_at_its_last_and_its_smallest_size():
    found = [(w.size, w.bf16) for w in script.works("micro", MICRO)]
    assert found == [(64, True), (64, False), (32, True), (32, False)]
    one = replace(MICRO, phases=(Phase(64, 1),))
    assert [(w.size, w.bf16) for w in script.works("micro", one)] == [(64, True), (64, False)]


def test_the_script_writes_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "PRESETS", {"micro": MICRO})
    threads = torch.get_num_threads()
    script.main(steps=1, warm_up=1, workers=0, device="cpu", as_json=tmp_path / "speed.json")
    report = json.loads((tmp_path / "speed.json").read_text())
    assert [(row["name"], row["size"], row["bf16"]) for row in report["rows"]] == [
        ("micro", size, bf16) for size in (64, 32) for bf16 in (True, False)
    ]
    assert all(row["steps"] == 1 and row["crops_per_second"] > 0 for row in report["rows"])
    assert (report["threads"], report["data"]) == (threads, "rendered figures")
    said = capsys.readouterr().out
    assert (said.count("bfloat16"), said.count("float32")) == (2, 2)
    assert f"machine {report['machine']}; " in said


def test_an_unknown_preset_is_refused_by_name():
    run = subprocess.run([sys.executable, SCRIPT, "--preset", "huge"], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("training_speed: --preset: no preset is called 'huge'; there are: hourglass-s, ")
