"""Whether a crop holds a person at all: a small fully connected network on the pooled features of a pose network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 64


class Presence(nn.Module):
    """Pooled features -> hidden layer, ReLU -> two-way softmax. The same for every network.

    Args:
        channels: of the features that the pose network reads its heatmaps from.
        hidden: width of the hidden layer.
    """

    def __init__(self, channels: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * channels, hidden)
        self.output = nn.Linear(hidden, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Probability [N] that crops hold a person, from their features [N, C, h, w]."""
        return self.logits(pool(features)).softmax(dim=1)[:, 1]

    def logits(self, pooled: Tensor) -> Tensor:
        """Of (nobody, a person), [N, 2], from `pool`ed features [N, 2 C]."""
        return self.output(F.relu(self.hidden(pooled)))  # type: ignore[no-any-return]


def pool(features: Tensor) -> Tensor:
    """Mean and maximum over positions, [N, 2 C], of features [N, C, h, w]."""
    return torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
