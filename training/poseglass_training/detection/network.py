"""People as points (Zhou, Wang and Krähenbühl, arXiv:1904.07850), on the trunk of the pose networks.

Departures from the paper:
- the trunk is the hourglass of `networks/hourglass.py`, so that a detector can begin from a pose network's weights;
- sizes are learned as logarithms, which makes an error of a tenth cost the same for small people and large ones;
- every cell near a centre is asked for the box, not only the one at the centre, so that a peak that is found a cell
  away still gives a good one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poseglass_training.networks.hourglass import HourglassConfig, StackedHourglass

STRIDE = 4

UNIT = 32.0
"""Pixels; a box whose logarithms are predicted as 0 is so large."""

RARE = -4.6
"""First bias of the centre heatmap: one cell in a hundred is a centre."""


@dataclass(frozen=True)
class DetectorConfig:
    """Settings of the detector; see `HourglassConfig`, whose trunk it has with one stack.

    Attributes:
        features, depth, extra, input_size: of the hourglass.
        candidates: boxes a picture that the exported graph gives.
    """

    features: int = 128
    depth: int = 4
    extra: tuple[int, ...] = ()
    input_size: tuple[int, int] = (256, 256)
    candidates: int = 64

    def __post_init__(self) -> None:
        self.trunk()  # raises where the settings cannot be
        cells = (self.input_size[0] // STRIDE) * (self.input_size[1] // STRIDE)
        if not 1 <= self.candidates <= cells:
            raise ValueError(f"candidates must be from 1 to {cells}, not {self.candidates}")

    @property
    def step(self) -> int | None:
        """Sides of smaller inputs are multiples of it; None: the input size is too small to leave anything out."""
        step = STRIDE * 2**self.depth
        return step if min(self.input_size) >= 2 * step else None

    def trunk(self) -> HourglassConfig:
        """A stacked hourglass whose only heatmap is that of people's centres."""
        return HourglassConfig(
            joints=1,
            stacks=1,
            features=self.features,
            depth=self.depth,
            extra=self.extra,
            input_size=self.input_size,
        )


class Detector(nn.Module):
    """Pictures to a heatmap of people's centres and a box a cell.

    Args:
        config: the network's settings.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = StackedHourglass(config.trunk())
        half = config.features // 2
        self.box = nn.Sequential(nn.Conv2d(config.features, half, 1), nn.ReLU(), nn.Conv2d(half, 4, 1))
        head = self.trunk.heads[0]
        assert isinstance(head, nn.Conv2d)
        assert head.bias is not None
        nn.init.normal_(head.weight, std=0.01)
        nn.init.constant_(head.bias, RARE)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Look for people.

        Args:
            images: [N, 3, H, W], RGB in -1 ... 1.

        Returns:
            Raw centre heatmap [N, H/4, W/4]; and [N, 4, H/4, W/4]: from each cell to the centre of the box that it
            belongs to, x and y in units of `UNIT` pixels, and the logarithms of its width and height in that unit.
        """
        (centres,), features = self.trunk.with_features(images)
        return centres[:, 0], self.box(features)


def boxes_of(geometry: Tensor) -> Tensor:
    """The box of each cell, [N, 4, h, w]: x1, y1, x2, y2, edges in input pixels; from the geometry of `Detector`."""
    rows, columns = geometry.shape[2:]
    # Edges: cell k spans the pixels 4k to 4k + 4, and its centre is the edge coordinate 4k + 2.
    y = (torch.arange(rows, device=geometry.device, dtype=geometry.dtype) + 0.5) * STRIDE
    x = (torch.arange(columns, device=geometry.device, dtype=geometry.dtype) + 0.5) * STRIDE
    middle_x = x[None, None, :] + geometry[:, 0] * UNIT  # [N, h, w]
    middle_y = y[None, :, None] + geometry[:, 1] * UNIT
    half = geometry[:, 2:].clamp(-4, 5).exp() * (UNIT / 2)  # [N, 2, h, w]
    return torch.stack(
        [middle_x - half[:, 0], middle_y - half[:, 1], middle_x + half[:, 0], middle_y + half[:, 1]], dim=1
    )


class ServedDetector(nn.Module):
    """The detector's contract around the network: uint8 pictures in, boxes and scores out. This is exported.

    Args:
        network: the detector.
    """

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels to boxes.

        Args:
            image: uint8 [N, H, W, 3] RGB.

        Returns:
            boxes [N, K, 4], edges in input pixels, and scores [N, K] from 0 to 1, the highest first. A cell that has
            a higher neighbour gives no box: its score is 0.
        """
        x = image.permute(0, 3, 1, 2).float() * (2 / 255) - 1
        centres, geometry = self.network(x)
        heat = centres.sigmoid()
        highest = F.max_pool2d(heat[:, None], kernel_size=3, stride=1, padding=1)[:, 0]
        peaks = torch.where(heat == highest, heat, torch.zeros_like(heat)).flatten(1)  # [N, h w]
        scores, cells = peaks.topk(self.network.config.candidates, dim=1)  # [N, K]
        boxes = boxes_of(geometry).flatten(2)  # [N, 4, h w]
        return boxes.gather(2, cells[:, None].expand(-1, 4, -1)).transpose(1, 2), scores
