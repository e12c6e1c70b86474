"""Multiply-accumulates and weights, against counting by hand and against what the documentation says."""

from dataclasses import replace

import pytest

from poseglass_training.cost import cost
from poseglass_training.networks import CnnConfig
from poseglass_training.presets import PRESETS


def test_a_network_counted_by_hand():
    config = CnnConfig(joints=2, widths=(4, 8), convolutions=(1, 2), hidden=16, input_size=(16, 32))
    first = 16 * 32 * 3 * 9 * 4
    second = 8 * 16 * (4 * 9 * 8 + 8 * 9 * 8)
    cells = 4 * 8 * (8 * 16 + 16 * 2)  # heatmap cells are feature cells here
    norms, biases = 2 * (4 + 8 + 8), 16 + 2
    weights = 3 * 9 * 4 + 4 * 9 * 8 + 8 * 9 * 8 + 8 * 16 + 16 * 2
    assert cost(config).gmac == pytest.approx((first + second + cells) / 1e9)
    assert cost(config).parameters == weights + norms + biases


@pytest.mark.parametrize(
    ("preset", "gmac", "millions"), [("hourglass-s", 1.20, 5.17), ("cnn", 1.25, 3.68), ("tiny", 0.025, 0.05)]
)
def test_presets_cost_what_the_documentation_says(preset, gmac, millions):
    price = cost(replace(PRESETS[preset].network, joints=14))
    assert price.gmac == pytest.approx(gmac, abs=0.005 if gmac > 1 else 0.0005)
    assert price.parameters / 1e6 == pytest.approx(millions, abs=0.005)
