"""What a figure wears and looks like: drawn once a figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass_training.figures.backgrounds import colour

Colour = NDArray[np.float64]
"""[3] RGB, 0 ... 255."""

SKIN = np.array(
    [[255, 224, 200], [240, 200, 170], [224, 172, 130], [198, 134, 90], [160, 105, 68], [120, 75, 48], [84, 54, 40]],
    dtype=np.float64,
)
HAIR = np.array(
    [[25, 20, 18], [60, 40, 25], [110, 70, 40], [170, 120, 60], [215, 185, 120], [150, 60, 30], [150, 150, 150]],
    dtype=np.float64,
)


@dataclass(frozen=True)
class Look:
    """Colours and cuts.

    Attributes:
        skin, hair, shirt, trousers, shoes, trim: colours; `trim` is of collar, buttons, stripes and prints.
        sleeve, leg: how much of the arm and the leg is covered, 0 ... 2 (1 ends at elbow and knee).
        bald, long_hair: of the head.
        stripes: on sleeves and trouser legs.
        front: "buttons", "print" or "open"; back: "number", "yoke" or "pack".
    """

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    trim: Colour
    sleeve: float
    leg: float
    bald: bool
    long_hair: bool
    stripes: bool
    front: str
    back: str


def sample_look(rng: np.random.Generator) -> Look:
    """Draw what a figure looks like."""
    at = rng.uniform(0, len(SKIN) - 1.001)
    low = int(at)
    skin = SKIN[low] + (at - low) * (SKIN[low + 1] - SKIN[low])
    shirt = colour(rng)
    return Look(
        skin=skin * rng.uniform(0.9, 1.08, 3),
        hair=HAIR[rng.integers(len(HAIR))] * rng.uniform(0.7, 1.2),
        shirt=shirt,
        trousers=shirt if rng.random() < 0.12 else colour(rng),
        shoes=colour(rng, 0.7),
        trim=np.clip(255 - shirt + rng.normal(0, 30, 3), 0, 255),
        sleeve=float(rng.choice([0.0, rng.uniform(0.4, 0.7), 1.0, 2.0])),
        leg=float(rng.choice([rng.uniform(0.3, 0.6), rng.uniform(0.7, 1.2), 2.0, 2.0])),
        bald=bool(rng.random() < 0.08),
        long_hair=bool(rng.random() < 0.35),
        stripes=bool(rng.random() < 0.25),
        front=str(rng.choice(["buttons", "print", "open"])),
        back=str(rng.choice(["number", "yoke", "pack"])),
    )
