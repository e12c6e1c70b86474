"""The Stacked Hourglass Network of Newell, Yang and Deng (ECCV 2016, arXiv:1603.06937).

Departures from the paper:
- channel counts scale with `features` (the paper's are those of `features=256`);
- `extra` puts more residual modules where maps are small and multiplications few; they begin as the identity, so that
  weights trained without them can be gone on from with them;
- `activation` and `pooling` may be others than the paper's ReLU and maximum, to compare;
- the forward pass returns raw heatmaps ("logits"): the loss decides whether they are read as Gaussians (MSE) or as
  the logarithm of an unnormalised probability map (softmax cross-entropy).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poseglass_training.networks.cnn import ACTIVATIONS, POOLINGS, ActivationName, PoolingName, check_operations


@dataclass(frozen=True)
class HourglassConfig:
    """Settings of one stacked hourglass.

    Attributes:
        joints: heatmaps a stack predicts.
        stacks: hourglasses in sequence.
        features: channels of the residual stream; divisible by 4.
        depth: times an hourglass halves its resolution.
        input_size: (height, width) of the crops in pixels; each divisible by 4 * 2**depth.
        extra: channels inside one more residual module on the way down and one on the way up, by level from the finest
            pooled one; 0, or a level left out: none.
        activation: "relu", "tanh" or "sigmoid".
        pooling: "max" or "average".
    """

    joints: int
    stacks: int = 2
    features: int = 256
    depth: int = 4
    input_size: tuple[int, int] = (256, 256)
    extra: tuple[int, ...] = ()
    activation: ActivationName = "relu"
    pooling: PoolingName = "max"

    def __post_init__(self) -> None:
        step = 4 * 2**self.depth
        if min(self.joints, self.stacks, self.features, self.depth) < 1:
            raise ValueError("joints, stacks, features and depth must be at least 1")
        if self.features % 4:
            raise ValueError(f"features must be divisible by 4, not {self.features}")
        if any(side < step or side % step for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be multiples of {step} (4 x 2**depth)")
        if len(self.extra) > self.depth or any(channels < 0 for channels in self.extra):
            raise ValueError(f"extra must be at most {self.depth} (depth) numbers, none negative, not {self.extra}")
        check_operations(self.activation, self.pooling)


class Residual(nn.Module):
    """Pre-activation bottleneck: 1x1 down, 3x3, 1x1 up, added to its input (He et al., arXiv:1603.05027).

    Args:
        inputs, outputs: channels.
        activation: after each normalisation.
        middle: channels of the 3x3 convolution; None: half the outputs.
    """

    def __init__(self, inputs: int, outputs: int, activation: ActivationName, middle: int | None = None) -> None:
        super().__init__()
        middle = middle or outputs // 2
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1)
        self.skip: nn.Module = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:  # [N, inputs, h, w] -> [N, outputs, h, w]
        y = self.conv1(self.activation(self.norm1(x)))
        y = self.conv2(self.activation(self.norm2(y)))
        y = self.conv3(self.activation(self.norm3(y)))
        return y + self.skip(x)  # type: ignore[no-any-return]


class Hourglass(nn.Module):
    """Pools down and nearest-upsamples over `depth` levels; every level adds its own residual skip.

    Args:
        config: of the whole network.
        level: which of the levels this is, from 0; the others are inside it.
    """

    def __init__(self, config: HourglassConfig, level: int = 0) -> None:
        super().__init__()
        features, activation = config.features, config.activation
        innermost = level + 1 == config.depth
        self.level_skip = Residual(features, features, activation)
        self.pool = POOLINGS[config.pooling](kernel_size=2)
        self.down = Residual(features, features, activation)
        self.inner: nn.Module = Residual(features, features, activation) if innermost else Hourglass(config, level + 1)
        self.up = Residual(features, features, activation)
        middle = config.extra[level] if level < len(config.extra) else 0
        self.extra_down = _identity_residual(features, activation, middle)
        self.extra_up = _identity_residual(features, activation, middle)

    def forward(self, x: Tensor) -> Tensor:  # [N, F, h, w] -> [N, F, h, w]
        y = self.extra_down(self.down(self.pool(x)))  # [N, F, h/2, w/2]
        y = self.up(self.extra_up(self.inner(y)))
        return self.level_skip(x) + F.interpolate(y, scale_factor=2, mode="nearest")  # type: ignore[no-any-return]


def _identity_residual(features: int, activation: ActivationName, middle: int) -> nn.Module:
    """A residual module that adds nothing until it has been trained; a plain identity where `middle` is 0."""
    if not middle:
        return nn.Identity()
    module = Residual(features, features, activation, middle)
    nn.init.zeros_(module.conv3.weight)
    assert module.conv3.bias is not None
    nn.init.zeros_(module.conv3.bias)
    return module


class StackedHourglass(nn.Module):
    """Crops to one set of heatmaps a stack.

    Args:
        config: the network's settings.

    Attributes:
        BY_JOINT: how the names of tensors begin that mean certain joints.
    """

    BY_JOINT = ("heads.", "merge_heatmaps.")

    def __init__(self, config: HourglassConfig) -> None:
        super().__init__()
        self.config = config
        features, stacks, activation = config.features, config.stacks, config.activation
        self.stem = nn.Sequential(
            nn.Conv2d(3, features // 4, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(features // 4),
            ACTIVATIONS[activation](),
            Residual(features // 4, features // 2, activation),
            POOLINGS[config.pooling](kernel_size=2),
            Residual(features // 2, features // 2, activation),
            Residual(features // 2, features, activation),
        )
        self.hourglasses = nn.ModuleList(Hourglass(config) for _ in range(stacks))
        self.necks = nn.ModuleList(
            nn.Sequential(
                Residual(features, features, activation),
                nn.Conv2d(features, features, 1, bias=False),
                nn.BatchNorm2d(features),
                ACTIVATIONS[activation](),
            )
            for _ in range(stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(features, config.joints, 1) for _ in range(stacks))
        # Between stacks, features and heatmaps re-enter the residual stream through 1x1 convolutions.
        self.merge_features = nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(stacks - 1))
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(config.joints, features, 1) for _ in range(stacks - 1))

    @property
    def feature_channels(self) -> int:
        """Channels of the features that the last heatmaps are read from."""
        return self.config.features

    def forward(self, images: Tensor) -> list[Tensor]:
        """Predict heatmaps.

        Args:
            images: [N, 3, H, W], RGB in -1 ... 1.

        Returns:
            Raw heatmaps of each stack, [N, J, H/4, W/4]; the last is the prediction.
        """
        return self.with_features(images)[0]

    def with_features(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """`forward`, and the features [N, F, H/4, W/4] that the last heatmaps are read from."""
        x = self.stem(images)  # [N, F, H/4, W/4]
        heatmaps = []
        y = x
        for i, (hourglass, neck, head) in enumerate(zip(self.hourglasses, self.necks, self.heads, strict=True)):
            y = neck(hourglass(x))  # [N, F, H/4, W/4]
            heatmaps.append(head(y))  # [N, J, H/4, W/4]
            if i < len(self.merge_features):
                x = x + self.merge_features[i](y) + self.merge_heatmaps[i](heatmaps[-1])
        return heatmaps, y

    def stages(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps after every named stage, for looking at, in the order they are computed."""
        maps: dict[str, Tensor] = {}
        hooks = []

        def watch(name: str, module: nn.Module) -> None:
            hooks.append(module.register_forward_hook(lambda _m, _i, out: maps.__setitem__(name, out)))

        for i, layer in enumerate(self.stem):
            if isinstance(layer, nn.Conv2d | Residual | nn.MaxPool2d | nn.AvgPool2d):
                watch(f"stem.{i} {type(layer).__name__}", layer)
        for i, (hourglass, neck, head) in enumerate(zip(self.hourglasses, self.necks, self.heads, strict=True)):
            level: nn.Module = hourglass
            for depth in range(1, self.config.depth + 1):
                assert isinstance(level, Hourglass)
                watch(f"stack {i + 1} down {depth}", level.extra_down)  # an identity where there is no extra module
                watch(f"stack {i + 1} up {depth}", level.up)
                level = level.inner
            watch(f"stack {i + 1} middle", level)
            watch(f"stack {i + 1} neck", neck)
            watch(f"stack {i + 1} heatmaps", head)
        try:
            with torch.no_grad():
                self(images)
        finally:
            for hook in hooks:
                hook.remove()
        return maps
