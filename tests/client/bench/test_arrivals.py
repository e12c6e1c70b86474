"""Schedules: as random as they should be, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from poseglass.bench.arrivals import arrivals


def poisson(rate=200.0, span=50.0, seed=1):
    return arrivals("poisson", rate, span, np.random.default_rng(seed))


def test_poisson_arrivals_have_exponential_gaps():
    times = poisson()
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 50
    # Of 10,000 arrivals; the bounds are four standard errors.
    assert abs(len(times) - 10_000) < 4 * 100
    assert abs(gaps.mean() * 200 - 1) < 0.04
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05
    assert abs((gaps > 1 / 200).mean() - np.exp(-1)) < 0.02


def test_poisson_counts_vary_as_they_should():
    counts = np.histogram(poisson(), bins=500, range=(0, 50))[0]
    assert abs(counts.var() / counts.mean() - 1) < 4 * np.sqrt(2 / 500)


def test_a_seed_decides_the_schedule():
    assert (poisson(seed=3) == poisson(seed=3)).all()
    assert len(poisson(seed=3)) != len(poisson(seed=4)) or (poisson(seed=3) != poisson(seed=4)).any()


def test_uniform_arrivals_are_evenly_spaced():
    assert arrivals("uniform", 4, 1, np.random.default_rng(0)).tolist() == [0, 0.25, 0.5, 0.75]
    assert len(arrivals("uniform", 2.5, 1, np.random.default_rng(0))) == 3  # 0, 0.4, 0.8


@pytest.mark.parametrize(("kind", "rate"), [("bursty", 1.0), ("poisson", 1e9)])
def test_what_cannot_be_is_refused(kind, rate):
    with pytest.raises(ValueError, match=r"must be one of|more than"):
        arrivals(kind, rate, 10, np.random.default_rng(0))
