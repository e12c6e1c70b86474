"""Filters: less jitter at rest, no lag in motion, gaps that stay gaps; Butterworth as SciPy has it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from poseglass import InvalidRequest
from poseglass.video.angles import joint_angles
from poseglass.video.butterworth import Butterworth, both_ways, butterworth, sections
from poseglass.video.euro import OneEuro, one_euro
from poseglass.video.gaps import joint_weights, runs
from poseglass.video.smoothing import smooth
from poseglass.video.table import PoseTable
from poseglass.video.tracking import track
from poseglass_core.geometry import Box
from poseglass_core.poses import Pose
from poseglass_core.skeleton import LSP

SIZE = 400.0
FIGURE = np.random.default_rng(1).uniform(0, (SIZE / 2, SIZE), (14, 2))


def noisy(points: np.ndarray, sigma: float, seed: int = 0, memory: float = 0.3) -> np.ndarray:
    """With the jitter of an estimator: noise that remembers the last frame a little, and joints that differ."""
    rng = np.random.default_rng(seed)
    white = rng.normal(0, sigma, points.shape) * rng.uniform(0.5, 1.5, (1, points.shape[1], 1))
    for i in range(1, len(white)):
        white[i] = memory * white[i - 1] + np.sqrt(1 - memory**2) * white[i]
    return points + white


def acceleration(points: np.ndarray) -> float:
    return float(np.sqrt((np.diff(points, 2, axis=0) ** 2).mean()))


def filtered(points, times, settings=None, weights=None):
    weights = np.ones(points.shape[:2]) if weights is None else weights
    return one_euro(points, times, weights, np.full(len(times), SIZE), settings or OneEuro())


def swing(rate: float, amplitude: float) -> tuple[np.ndarray, np.ndarray]:
    """(times, points) of a figure whose joints go to and fro twice a second."""
    times = np.arange(int(10 * rate)) / rate
    moved = FIGURE[None] + np.zeros((len(times), 1, 1))
    moved[:, :, 0] += amplitude * np.sin(2 * np.pi * 2 * times)[:, None]
    return times, moved


def lag(raw: np.ndarray, smooth: np.ndarray, times: np.ndarray) -> float:
    """Seconds by which a 2 Hz swing comes later."""

    def phase(points):
        return np.angle((points[..., 0].mean(axis=1) * np.exp(-2j * np.pi * 2 * times)).sum())

    turned = (phase(raw) - phase(smooth) + np.pi) % (2 * np.pi) - np.pi
    return float(turned / (2 * np.pi * 2))


@pytest.mark.parametrize("rate", [25, 30, 60, 120])
@pytest.mark.parametrize("sigma", [0.5, 1, 2, 4])
def test_a_static_figure_accelerates_a_quarter_as_much(rate, sigma):
    times = np.arange(20 * rate) / rate
    raw = noisy(np.repeat(FIGURE[None], len(times), axis=0), sigma)
    assert acceleration(filtered(raw, times)) <= 0.25 * acceleration(raw)
    still = butterworth(raw, times, np.ones(raw.shape[:2]), Butterworth(cutoff=4))
    assert acceleration(still) <= 0.25 * acceleration(raw)


@pytest.mark.parametrize("rate", [25, 30, 60])
@pytest.mark.parametrize("amplitude", [15, 40, 80])
@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_a_swing_of_two_hertz_lags_by_less_than_a_frame_and_is_no_further_from_the_truth(rate, amplitude, sigma):
    times, truth = swing(rate, amplitude)
    raw = noisy(truth, sigma)
    found = filtered(raw, times)
    settled = slice(rate, None)
    assert abs(lag(raw[settled], found[settled], times[settled])) <= 1 / rate
    error, before = (np.sqrt(((x - truth)[settled] ** 2).mean()) for x in (found, raw))
    assert error <= before * 1.02


def test_without_rest_and_hold_it_is_the_published_filter():
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.uniform(0.01, 0.06, 200))
    x = np.cumsum(rng.normal(0, 1, 200))
    settings = OneEuro(min_cutoff=1.2, beta=0.7, speed_cutoff=0.9, rest=0, hold=0, max_gap=1)

    def share(cutoff, step):
        return 1 / (1 + 1 / (2 * np.pi * cutoff) / step)

    expected, speed, value = [x[0]], 0.0, x[0]
    for i in range(1, len(x)):
        step = times[i] - times[i - 1]
        a = share(0.9, step)
        speed = a * (x[i] - x[i - 1]) / step + (1 - a) * speed
        b = share(1.2 + 0.7 * abs(speed), step)
        value = b * x[i] + (1 - b) * value
        expected.append(value)
    points = np.stack([x, np.zeros(200)], axis=1)[:, None]
    found = one_euro(points, times, np.ones((200, 1)), np.ones(200), settings)
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=0, atol=1e-9)


def test_one_euro_sees_no_future():
    times, truth = swing(30, 40)
    raw = noisy(truth, 2)
    np.testing.assert_array_equal(filtered(raw, times)[:100], filtered(raw[:100], times[:100]))


def test_one_euro_starts_anew_after_a_long_gap_and_leaves_short_ones_empty():
    times = np.arange(60) / 30
    raw = np.repeat(FIGURE[None], 60, axis=0).copy()
    raw[20:25, 0] = np.nan  # short: a sixth of a second
    raw[30:50, 1] = np.nan  # two thirds
    raw[50:, 1] += 100
    found = filtered(raw, times)
    assert np.isnan(found[20:25, 0]).all()
    np.testing.assert_allclose(found[25, 0], FIGURE[0])
    np.testing.assert_allclose(found[50, 1], FIGURE[1] + 100)
    assert np.isfinite(found[:, 2:]).all()


def test_two_frames_of_one_time_do_no_harm():
    times = np.repeat(np.arange(20) / 20, 2)
    raw = noisy(np.repeat(FIGURE[None], 40, axis=0), 1)
    assert np.isfinite(filtered(raw, times)).all()
    assert np.isfinite(butterworth(raw, times, np.ones(raw.shape[:2]), Butterworth())).all()


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("length", [2, 5, 40, 300])
def test_butterworth_is_scipys(order, length):
    rng = np.random.default_rng(order)
    values = np.cumsum(rng.normal(size=(length, 3)), axis=0)
    sos = signal.butter(order, 6, fs=50, output="sos")
    full = 3 * (2 * len(sos) + 1 - min((sos[:, 2] == 0).sum(), (sos[:, 5] == 0).sum()))
    expected = signal.sosfiltfilt(sos, values, axis=0, padlen=min(full, length - 1))
    np.testing.assert_allclose(both_ways(sections(order, 6, 50), values), expected, atol=1e-8)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_half_the_power_is_left_at_the_cutoff(order):
    settings = Butterworth(cutoff=5, order=order)
    times = np.arange(2000) / 100
    wave = np.sin(2 * np.pi * 5 * times)[:, None, None] * np.ones((1, 1, 2))
    found = butterworth(wave, times, np.ones((2000, 1)), settings)
    assert np.std(found[500:1500]) / np.std(wave[500:1500]) == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_butterworth_does_not_lag_at_uneven_times():
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.uniform(0.02, 0.045, 400))
    wave = (40 * np.sin(2 * np.pi * 2 * times))[:, None, None] * np.ones((1, 1, 2))
    found = butterworth(wave, times, np.ones((400, 1)), Butterworth(cutoff=8))
    assert np.abs(found - wave)[20:-20].max() < 1.5


def test_butterworth_bridges_short_gaps_and_not_long_ones():
    times = np.arange(90) / 30
    line = np.stack([100 * times, 50 - 10 * times], axis=1)[:, None] * np.ones((1, 3, 1))
    raw = line.copy()
    raw[10:18, 0] = np.nan
    raw[40:70, 1] = np.nan
    found = butterworth(raw, times, np.isfinite(raw).all(axis=2).astype(float), Butterworth(max_gap=0.5))
    np.testing.assert_allclose(found[:, 0], line[:, 0], atol=0.3)
    assert np.isnan(found[40:70, 1]).all()
    assert np.isfinite(found[:40, 1]).all()
    np.testing.assert_allclose(found[:, 2], line[:, 2], atol=0.3)


def test_frames_too_far_apart_for_the_cutoff_stay_as_they_are():
    times = np.arange(30) / 5
    raw = noisy(np.repeat(FIGURE[None], 30, axis=0), 2)
    np.testing.assert_allclose(butterworth(raw, times, np.ones(raw.shape[:2]), Butterworth()), raw)


def test_low_scores_weigh_less_or_are_gaps():
    points = np.zeros((1, 4, 2))
    points[0, 3] = np.nan
    scores = np.array([[0.9, 0.05, np.nan, 0.9]])
    assert joint_weights(points, scores, "weigh", 0.1).tolist() == [[1, 0.5, 1, 0]]
    assert joint_weights(points, scores, "gap", 0.1).tolist() == [[1, 0, 1, 0]]
    assert joint_weights(points, scores, "keep", 0.1).tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("kind", [OneEuro, Butterworth])
def test_a_wild_joint_with_a_low_score_is_held_back(kind):
    times = np.arange(60) / 30
    raw = np.repeat(FIGURE[None], 60, axis=0).copy()
    raw[30, 0] += 200
    weights = np.ones((60, 14))
    weights[30, 0] = 0.02
    run = filtered if kind is OneEuro else lambda p, t, s, w: butterworth(p, t, w, s)
    assert np.abs(run(raw, times, kind(), weights)[:, 0] - FIGURE[0]).max() < 10


def test_runs_break_at_long_gaps():
    assert runs(np.array([0, 0.1, 0.7, 0.8, 2.0]), 0.5) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert runs(np.empty(0), 1) == []


def walk(frames: int = 40) -> PoseTable:
    """Two people; nobody in the frames 20 and 21."""
    rows = []
    for i in range(frames):
        poses = []
        for j in range(2):
            points = noisy(FIGURE[None] + (300 * j + i), 1, seed=100 * i + j)[0].astype(np.float32)
            poses.append(
                Pose(
                    LSP, LSP.joints, points, np.full(14, 0.8, np.float32), Box(300 * j + i, 0, 200, 400), 0.9 - 0.1 * j
                )
            )
        rows.append((i, i / 25, [] if i in (20, 21) else poses))
    return PoseTable.from_frames(LSP, rows, {"source": "walk.mp4"})


@pytest.mark.parametrize("settings", [OneEuro(), Butterworth()])
def test_a_table_keeps_its_raw_joints_and_records_the_filter(settings):
    table = track(walk())
    found = smooth(table, settings)
    np.testing.assert_array_equal(found.joints, table.joints)
    assert np.isfinite(found.smoothed[found.people]).all()
    assert np.isnan(found.smoothed[~found.people]).all()
    assert found.header["smoothing"]["filter"] in ("one-euro", "butterworth")
    assert found.header["smoothing"]["min_score"] == 0.1
    assert found.header["source"] == "walk.mp4"
    assert smooth(table, settings).equals(found, header=True)


def test_tracks_are_filtered_alone():
    table = track(walk())
    alone = smooth(table.select(table.track == 0), Butterworth())
    np.testing.assert_array_equal(smooth(table, Butterworth()).smoothed[table.track == 0], alone.smoothed)


def test_smoothing_needs_tracks():
    with pytest.raises(ValueError, match="track it first"):
        smooth(walk(), OneEuro())


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (OneEuro, {"min_cutoff": 0}),
        (OneEuro, {"beta": -1}),
        (OneEuro, {"low_scores": "drop"}),
        (Butterworth, {"cutoff": -2}),
        (Butterworth, {"order": 0}),
        (Butterworth, {"max_gap": np.nan}),
        (Butterworth, {"min_score": 2}),
    ],
)
def test_settings_out_of_range_are_named(kind, wrong):
    with pytest.raises(InvalidRequest, match=f"smooth.{next(iter(wrong))}"):
        kind(**wrong)


def test_angles_are_those_of_the_poses():
    table = track(walk(3))
    angles = joint_angles(table)
    assert set(angles) == set(LSP.angles)
    for row in range(len(table)):
        for name, values in angles.items():
            assert values[row] == pytest.approx(table.pose(row).angle(name), abs=1e-3)
    smoothed = smooth(table, OneEuro())
    assert not np.array_equal(joint_angles(smoothed)["left_knee"], angles["left_knee"])
    np.testing.assert_array_equal(joint_angles(smoothed, smoothed=False)["left_knee"], angles["left_knee"])
    with pytest.raises(ValueError, match="smooth it first"):
        joint_angles(table, smoothed=True)
    assert np.isnan(joint_angles(PoseTable.from_frames(LSP, [(0, 0.0, [])]))["left_knee"]).all()
