"""What changes from step to step of a run: the learning rate, and the memory of the weights' running mean."""

from __future__ import annotations

import math

WARM_UP = 0.05
"""Share of the run in which the learning rate rises."""


def learning_rate(progress: float, peak: float) -> float:
    """One cycle: linear warm-up, then half a cosine down to nothing.

    Args:
        progress: share of the run's steps behind it, 0 to 1.
        peak: the highest rate.
    """
    if progress < WARM_UP:
        return peak * (0.02 + 0.98 * progress / WARM_UP)
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def average_decay(step: int, longest: float) -> float:
    """Decay of the running mean at a step of the run, at most `longest`.

    Short memory at first: a mean that still holds the untrained weights would hide what has been learnt.
    """
    return min(longest, (1 + step) / (10 + step))
