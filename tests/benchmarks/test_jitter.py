"""The benchmark of jitter: truth lies where the figure is drawn, and its measures say what they claim."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

import jitter
from poseglass_core.skeleton import LSP

COUNT = 150
TIMES = np.arange(COUNT) / jitter.RATE
WRIST = LSP.index("left_wrist")


@pytest.fixture(scope="module")
def scene() -> jitter.Scene:
    return jitter.scene(1)


def moved(points: np.ndarray) -> np.ndarray:
    """[N, J, 2] of joints that all go to and fro sideways by `points` [N]."""
    everything = np.zeros((len(points), len(LSP.joints), 2)) + 100
    everything[:, :, 0] += points[:, None]
    return everything


def tracked(truth: np.ndarray, raw: np.ndarray, **filtered: np.ndarray) -> jitter.Tracked:
    return jitter.Tracked(TIMES, truth, {"raw": raw, **filtered})


def test_the_figure_is_as_tall_as_said_and_its_arms_alone_swing(scene):
    _, still = jitter.drawn(scene, scene.body)
    _, turned = jitter.drawn(scene, jitter.swung(scene.body, 20))
    assert np.ptp(still[:, 1]) == pytest.approx(jitter.TALL)
    away = np.linalg.norm(turned - still, axis=1)
    assert set(np.flatnonzero(away > 1e-6)) == set(jitter.ARMS)
    assert away[WRIST] > away[LSP.index("left_elbow")] > 10
    assert turned[WRIST, 0] > still[WRIST, 0]  # outwards
    assert turned[LSP.index("right_wrist"), 0] < still[LSP.index("right_wrist"), 0]


def test_what_moves_in_the_picture_is_where_the_truth_moves(scene):
    light, _ = jitter.drawn(scene, scene.body)
    turned, joints = jitter.drawn(scene, jitter.swung(scene.body, 40))
    changed = np.abs(turned - light).max(axis=2) > 5
    x, y = np.round(joints[WRIST]).astype(int)
    assert changed[y - 3 : y + 4, x - 3 : x + 4].all()
    assert not changed[: y // 3].any()  # the head stays


def test_noise_is_a_sensors():
    rng = np.random.default_rng(0)
    dark, bright = (jitter.exposed(np.full((99, 99, 3), level, np.float32), rng) for level in (20, 200))
    assert dark.std() == pytest.approx(np.hypot(jitter.READING, np.sqrt(0.2 * jitter.PHOTONS)), rel=0.05)
    assert bright.std() > 1.3 * dark.std()
    assert bright.mean() == pytest.approx(200, abs=0.5)


def test_the_video_has_a_frame_a_body(scene, tmp_path):
    bodies = [scene.body] * 3 + [jitter.swung(scene.body, 20)]
    truth = jitter.record(tmp_path / "walk.mp4", scene, bodies, 0)
    assert truth.shape == (4, len(LSP.joints), 2)
    assert (truth[0] == truth[2]).all()
    assert (truth[0, WRIST] != truth[3, WRIST]).all()
    film = cv2.VideoCapture(str(tmp_path / "walk.mp4"))
    frames = []
    while (read := film.read())[0]:
        frames.append(read[1].astype(int))
    assert len(frames) == 4
    assert 0 < np.abs(frames[1] - frames[0]).mean() < 5  # noise, and nothing else


def test_measures():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (COUNT, len(LSP.joints), 2))
    still = tracked(moved(np.zeros(COUNT)), moved(np.zeros(COUNT)) + noise, half=moved(np.zeros(COUNT)) + 0.5 * noise)
    assert jitter.acceleration([still], "half") == pytest.approx(0.5 * jitter.acceleration([still], "raw"))
    assert jitter.error([still], "raw", jitter.ARMS) == pytest.approx(np.sqrt(2), rel=0.1)
    phase = 2 * np.pi * jitter.SWING
    wave, late = np.sin(phase * TIMES), np.sin(phase * (TIMES - 0.7 / jitter.RATE))
    swing = tracked(moved(30 * wave), moved(30 * wave) + 7, late=moved(30 * late) + 7)
    assert jitter.lag([swing], "late") == pytest.approx(0.7, abs=1e-6)
    assert jitter.lag([swing], "raw") == pytest.approx(0, abs=1e-9)
    assert jitter.error([swing], "raw", jitter.ARMS) == pytest.approx(0, abs=1e-9)  # what all joints are off by
    assert jitter.error([swing], "late", jitter.ARMS) > 5


def test_the_report_and_the_plot():
    rng = np.random.default_rng(0)
    shapes = (COUNT, len(LSP.joints), 2)
    found = {name: rng.normal(100, 1, shapes) for name in jitter.FILTERS}
    one = tracked(np.full(shapes, 100.0), rng.normal(100, 1, shapes), **found)
    text = "\n".join(jitter.report([one, one], [one]))
    assert "| raw | 100% | 100%, 100% |" in text
    assert all(f"| {name} |" in text for name in jitter.FILTERS)
    picture = cv2.imdecode(np.frombuffer(io.BytesIO(jitter.plot(one, one)).read(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 1100
    assert picture.std() > 5
