"""A shipped network answers in a batch what it answers alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import poseglass_models
from poseglass_runtime.engine import load_engine
from poseglass_server.batcher import Runners
from poseglass_server.served import PoseModel
from poseglass_server.tickets import Ticket


@pytest.mark.parametrize("name", ["hourglass-s", "cnn"])
def test_batched_answers_are_those_of_single_runs(name):
    engine, sharing = (load_engine(poseglass_models.resolve(name), "cpu", threads) for threads in (2, 1))
    runners = Runners(2)
    model = PoseModel(engine, runners, most=4, sharing=sharing)
    crops = np.random.default_rng(0).integers(0, 256, (9, *engine.manifest.input_size, 3), np.uint8)
    with ThreadPoolExecutor(3) as callers:
        parts = list(
            callers.map(
                lambda i: model.through(Ticket(i)).run(crops[3 * i : 3 * i + 3]),
                range(3),
            )
        )
    runners.close()
    for i, crop in enumerate(crops):
        alone, batched = engine.run(crop[None]), parts[i // 3]
        assert np.abs(batched.joints[i % 3] - alone.joints[0]).max() <= 1e-3
        assert np.abs(batched.scores[i % 3] - alone.scores[0]).max() <= 1e-5
        assert np.abs(batched.heatmaps[i % 3] - alone.heatmaps[0]).max() <= 1e-5
        assert abs(batched.presence[i % 3] - alone.presence[0]) <= 1e-5
