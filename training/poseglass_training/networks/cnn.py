"""A plain convolutional network, and a course in the four operations it is built from.

1. **Convolution**: every output pixel is a weighted sum of a small neighbourhood, with the same weights everywhere.
2. **Non-linearity**: ReLU keeps what is positive. Without it, any number of convolutions would collapse into one.
   Tanh and sigmoid, which came before it, flatten out on both sides, and gradients fade in them.
3. **Pooling**: of every 2x2 pixels the largest survives, so the next convolution sees twice as far. Their average would
   do that too, but thins out what only one of them has found.
4. **Fully connected**: every output is a weighted sum of *all* the inputs it is given.

Stages of 1-3 repeat until a cell covers 32 x 32 pixels; then 4 turns the features of each cell, and nothing else, into
the 8 x 8 patch of every joint's heatmap that lies under it. There is no way back from coarse to fine: this is what the
hourglass (`hourglass.py`), which looks at every scale, is measured against.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEATMAP_STRIDE = 4

ActivationName = Literal["relu", "tanh", "sigmoid"]
ACTIVATIONS: dict[ActivationName, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
"""Operation 2 by name."""

PoolingName = Literal["max", "average"]
POOLINGS: dict[PoolingName, type[nn.MaxPool2d | nn.AvgPool2d]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
"""Operation 3 by name."""


def check_operations(activation: str, pooling: str) -> None:
    """ValueError where there is no such activation or pooling."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")


@dataclass(frozen=True)
class CnnConfig:
    """Settings of the plain network.

    Attributes:
        joints: heatmaps to predict.
        widths: channels after each stage; every stage halves the resolution.
        convolutions: convolutions in each stage, one number a stage.
        hidden: width of the fully connected layer.
        input_size: (height, width) of the crops in pixels; each divisible by 2**len(widths).
        activation: "relu", "tanh" or "sigmoid".
        pooling: "max" or "average".
    """

    joints: int
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    convolutions: tuple[int, ...] = (1, 2, 2, 2, 3)
    hidden: int = 512
    input_size: tuple[int, int] = (256, 256)
    activation: ActivationName = "relu"
    pooling: PoolingName = "max"

    def __post_init__(self) -> None:
        step = 2 ** len(self.widths)
        if len(self.widths) != len(self.convolutions):
            raise ValueError("widths and convolutions must name the same number of stages")
        if min(self.joints, self.hidden, *self.widths, *self.convolutions) < 1 or step < HEATMAP_STRIDE:
            raise ValueError(
                "a network needs joints, hidden units, and at least two stages of at least one convolution"
            )
        if any(side < step or side % step for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be multiples of {step} (2 ** stages)")
        check_operations(self.activation, self.pooling)


class Stage(nn.Module):
    """Convolutions, each followed by batch normalisation (so that deep stacks train) and activation; then pooling."""

    def __init__(
        self, inputs: int, outputs: int, convolutions: int, activation: ActivationName, pooling: PoolingName
    ) -> None:
        super().__init__()
        channels = [inputs] + [outputs] * convolutions
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, padding=1, bias=False) for a, b in pairwise(channels)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(convolutions))
        self.activation = ACTIVATIONS[activation]()
        self.pool = POOLINGS[pooling](kernel_size=2)

    def forward(self, x: Tensor) -> Tensor:  # [N, inputs, h, w] -> [N, outputs, h/2, w/2]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.activation(norm(convolution(x)))  # operations 1 and 2
        return self.pool(x)  # type: ignore[no-any-return]  # operation 3


class Cnn(nn.Module):
    """Crops to one set of heatmaps, decoded from the last features alone.

    Args:
        config: the network's settings.

    Attributes:
        BY_JOINT: how the names of tensors begin that mean certain joints.
    """

    BY_JOINT = ("output.",)

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        self.config = config
        channels = (3, *config.widths)
        self.stages_ = nn.ModuleList(
            Stage(a, b, n, config.activation, config.pooling)
            for a, b, n in zip(channels, channels[1:], config.convolutions, strict=False)
        )
        self.patch = 2 ** len(config.widths) // HEATMAP_STRIDE  # heatmap cells under one feature cell, a side
        self.hidden = nn.Linear(config.widths[-1], config.hidden)
        self.activation = ACTIVATIONS[config.activation]()
        self.output = nn.Linear(config.hidden, config.joints * self.patch**2)

    @property
    def feature_channels(self) -> int:
        """Channels of the features that the heatmaps are read from."""
        return self.config.hidden

    def forward(self, images: Tensor) -> list[Tensor]:
        """Predict heatmaps.

        Args:
            images: [N, 3, H, W], RGB in -1 ... 1.

        Returns:
            A list of one: raw heatmaps, [N, J, H/4, W/4] (a list, as a stacked network has one set a stack).
        """
        return self.with_features(images)[0]

    def with_features(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """`forward`, and the features [N, hidden, h, w] that the heatmaps are read from."""
        x = images
        for stage in self.stages_:
            x = stage(x)
        x = x.permute(0, 2, 3, 1)  # [N, h, w, C]: a fully connected layer takes the features of a cell as one vector
        features = self.activation(self.hidden(x))  # operation 4: [N, h, w, hidden]
        x = self.output(features)  # and again: [N, h, w, J * patch * patch]
        heatmaps = F.pixel_shuffle(x.permute(0, 3, 1, 2), self.patch)  # [N, J, H/4, W/4]
        return [heatmaps], features.permute(0, 3, 1, 2)

    def stages(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps after every named stage, for looking at, in the order they are computed."""
        maps = {}
        with torch.no_grad():
            x = images
            for i, stage in enumerate(self.stages_):
                x = stage(x)
                maps[f"stage {i + 1}"] = x
            maps["heatmaps"] = self(images)[-1]
        return maps
