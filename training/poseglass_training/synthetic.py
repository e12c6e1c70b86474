"""Training crops of rendered figures: learning without a data set at hand, against exact joints."""

from __future__ import annotations

import math

import numpy as np

from poseglass_core.skeleton import LSP
from poseglass_training.crops import Augmentation, Sample, cut_sample
from poseglass_training.figures import Figure, Variety, render_figure

__all__ = ["Figure", "SyntheticCrops", "Variety", "render_figure"]

ROOM = 1.2
"""Side of a rendered picture over the crop's, so that augmented crops find something around the figure."""

FILL = (0.5, 0.8)
"""Size of a figure's box in its picture: from a little enlarged in the crop to as rendered."""


class SyntheticCrops:
    """Crops of figures, rendered anew whenever they are asked for; figure `index` is a function of (seed, index).

    Args:
        count: how many different figures.
        padding: crop size over box size.
        seed: of the figures and the augmentation.
        augmentation: applied when an epoch is given.
        variety: of the figures.
    """

    def __init__(
        self,
        count: int,
        padding: float,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        variety: Variety | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        self.skeleton = LSP
        self.count, self.padding, self.seed = count, padding, seed
        self.augmentation, self.variety = augmentation or Augmentation(), variety or Variety()

    def __len__(self) -> int:
        return self.count

    def sample(self, epoch: int | None, index: int, size: tuple[int, int]) -> Sample:
        """The crop of figure `index` at `size` (height, width), augmented for that epoch or plain."""
        canvas = (math.ceil(ROOM * size[0]), math.ceil(ROOM * size[1]))
        figure = render_figure(np.random.default_rng((self.seed, index)), canvas, self.variety, FILL)
        rng = None if epoch is None else np.random.default_rng((self.seed, epoch, index))
        return cut_sample(
            figure.image,
            figure.joints,
            figure.visible,
            figure.box,
            size,
            self.padding,
            self.skeleton,
            self.augmentation,
            rng,
        )
