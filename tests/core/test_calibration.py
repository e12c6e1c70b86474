"""Scores as probabilities, and how they are judged."""

import numpy as np
import pytest

from poseglass_core.calibration import EPSILON, Calibration, log_mass
from poseglass_core.reliability import reliability


def test_the_mass_is_that_of_the_window_around_the_peak():
    maps = np.zeros((1, 2, 6, 7), np.float32)
    maps[0, 0, 2:5, 3:6] = 0.05
    maps[0, 0, 3, 4] = 0.2
    maps[0, 0, 0, 0] = 0.1  # outside the window
    maps[0, 1, 0, 6] = 0.5  # in a corner: the window hangs over
    maps[0, 1, 1, 5] = 0.25
    assert np.exp(log_mass(maps, 3)) == pytest.approx(np.array([[0.6, 0.75]]) + EPSILON)


def test_scores_rise_with_a_joints_own_mass_and_with_that_of_the_others():
    calibration = Calibration(3, (0.0, 0.0), (1.0, 1.0), (0.5, 0.5))
    maps = np.full((3, 2, 8, 8), 1e-3, np.float32)
    maps[1, 0, 4, 4] = maps[2, 1, 4, 4] = 0.5
    low, own, other = calibration.scores(maps)[:, 0]
    assert low < other < own


def test_a_calibration_survives_json():
    calibration = Calibration(5, (0.1, 0.2), (1.0, 1.1), (-0.5, 0.0), "dev")
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize(
    ("window", "bias", "message"), [(4, (0.0,), "odd"), (0, (0.0,), "odd"), (3, (), "one number a joint")]
)
def test_numbers_that_do_not_fit_are_refused(window, bias, message):
    with pytest.raises(ValueError, match=message):
        Calibration(window, bias, (0.0,), (0.0,))


def test_honest_scores_are_found_reliable():
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    judged = reliability(scores, rng.random(20_000) < scores)
    assert judged.expected_calibration_error < 0.02
    assert judged.roc_auc == pytest.approx(5 / 6, abs=0.01)  # of this forecaster, by integration
    assert judged.brier == pytest.approx(1 / 6, abs=0.01)
    assert judged.brier_of_rates == pytest.approx(1 / 4, abs=0.01)
    assert sum(count for _, _, count in judged.bins) == 20_000


def test_overconfidence_is_seen():
    judged = reliability(np.full(100, 0.9), np.arange(100) < 40)
    assert judged.expected_calibration_error == pytest.approx(0.5)
    assert judged.roc_auc == pytest.approx(0.5)


def test_rates_by_group_are_the_forecaster_to_beat():
    groups = np.array([0, 0, 1, 1])
    assert reliability(np.full(4, 0.5), np.array([True, True, False, False]), groups).brier_of_rates == 0


def test_nothing_to_judge_is_refused():
    with pytest.raises(ValueError, match="no scores"):
        reliability(np.zeros(0), np.zeros(0, bool))
