"""The benchmarks of videos: programs are measured to their end, and the bare one does what it says."""

from __future__ import annotations

import sys

import pytest

import bare_video
import clips
import spending
import video
import video_memory
from poseglass_core.geometry import Box


def test_what_a_program_takes_is_all_of_it():
    spent = spending.spend(["-c", "x = bytearray(200 << 20); print(sum(range(2_000_000)))"])
    assert spent.output == f"{sum(range(2_000_000))}\n"
    assert spent.cpu_seconds > 0
    assert spent.seconds > 0
    assert spent.peak_mb > 200
    with pytest.raises(RuntimeError, match="ended with 3.*woe"):
        spending.spend(["-c", "import sys; print('woe'); sys.exit(3)"])


def test_the_walk_is_as_long_as_said_and_found_at_the_same_places_bare(tmp_path, tiny_model_path, capsys):
    path = tmp_path / "walk.mp4"
    video_memory.write_walk(path, 12)
    cost = video.extract(path, tmp_path / "out", ["--model", str(tiny_model_path), "--locate", "whole"])
    assert cost.cpu_seconds > 0
    (rows,) = (tmp_path / "out").glob("*/*.parquet")
    boxes = bare_video.boxes_of(rows)
    assert all(isinstance(box, Box) for of in boxes.values() for box in of)
    bare_video.main(path, rows, str(tiny_model_path), 2, 1)
    assert int(capsys.readouterr().out) == sum(map(len, boxes.values())) > 0


@pytest.mark.parametrize(("there_and_back", "steps"), [(False, [0, 1, 2, 3, 0, 1, 2]), (True, [0, 1, 2, 3, 2, 1, 0])])
def test_a_long_clip_repeats_a_short_one(tmp_path, there_and_back, steps):
    short, long = tmp_path / "short.mp4", tmp_path / "long.mp4"
    video_memory.write_walk(short, 4)
    clips.main([short], long, 7, there_and_back)
    pictures = [[f.to_ndarray(format="gray").astype(int) for f in clips.frames_of(path)] for path in (short, long)]
    nearest = [min(range(4), key=lambda i: abs(picture - pictures[0][i]).sum()) for picture in pictures[1]]
    assert nearest == steps


def test_the_interpreter_is_this_one():
    assert spending.spend(["-c", "import sys; print(sys.executable)"]).output.strip() == sys.executable
