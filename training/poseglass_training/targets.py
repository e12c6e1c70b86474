"""Gaussian heatmap targets and the losses that compare heatmaps with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

LossName = Literal["softmax", "sigmoid", "mse"]


def gaussian_targets(joints: Tensor, size: tuple[int, int], sigma: float, stride: int = 4) -> Tensor:
    """A Gaussian of peak 1 at every joint, exact to the sub-pixel (no rounding to a cell).

    Args:
        joints: [N, J, 2] crop pixels.
        size: (rows, columns) of the heatmaps.
        sigma: standard deviation in cells.
        stride: crop pixels a cell.

    Returns:
        [N, J, rows, columns]
    """
    cells = (joints - (stride - 1) / 2) / stride
    rows = torch.arange(size[0], device=joints.device, dtype=torch.float32)
    columns = torch.arange(size[1], device=joints.device, dtype=torch.float32)
    across = torch.exp(-((columns - cells[..., 0:1]) ** 2) / (2 * sigma**2))  # [N, J, columns]
    down = torch.exp(-((rows - cells[..., 1:2]) ** 2) / (2 * sigma**2))  # [N, J, rows]
    return down[..., :, None] * across[..., None, :]


def mse_loss(heatmaps: Tensor, targets: Tensor, visible: Tensor) -> Tensor:
    """Mean squared error over the cells of labelled joints: the paper's loss.

    Args:
        heatmaps: [N, J, h, w] raw.
        targets: [N, J, h, w] from `gaussian_targets`; zeros for joints that are known to be nowhere.
        visible: [N, J] bool: joints whose targets count.
    """
    per_joint = (heatmaps - targets).square().mean(dim=(2, 3))
    return (per_joint * visible).sum() / visible.sum().clamp(min=1)


def softmax_loss(heatmaps: Tensor, targets: Tensor, visible: Tensor) -> Tensor:
    """Cross-entropy between the spatial softmax of each heatmap and its Gaussian, read as distributions over cells.

    Arguments are those of `mse_loss`. A target of zeros, for a joint that is nowhere, is met by a heatmap that prefers
    no cell.
    """
    flat = targets.flatten(2)
    total = flat.sum(dim=2, keepdim=True)
    distribution = torch.where(total > 0, flat / total.clamp(min=1e-12), 1 / flat.shape[2])
    per_joint = -(distribution * heatmaps.flatten(2).log_softmax(dim=2)).sum(dim=2)
    return (per_joint * visible).sum() / visible.sum().clamp(min=1)


def sigmoid_loss(heatmaps: Tensor, targets: Tensor, visible: Tensor) -> Tensor:
    """Binary cross-entropy of every cell, each asked whether the joint is there: Gaussians are the probabilities.

    Summed over the cells of a joint. Arguments are those of `mse_loss`.
    """
    per_joint = F.binary_cross_entropy_with_logits(heatmaps, targets, reduction="none").sum(dim=(2, 3))
    return (per_joint * visible).sum() / visible.sum().clamp(min=1)


LOSSES: dict[LossName, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": softmax_loss,
    "sigmoid": sigmoid_loss,
    "mse": mse_loss,
}


def activate(heatmaps: Tensor, loss: LossName) -> Tensor:
    """Raw heatmaps to the contract's non-negative ones, as the loss they were trained with reads them.

    Args:
        heatmaps: [N, J, h, w].
        loss: "softmax" gives the spatial softmax, "sigmoid" each cell's own, "mse" the map clipped to 0 ... 1.
    """
    if loss == "softmax":
        return heatmaps.flatten(2).softmax(dim=2).view(heatmaps.shape)
    return heatmaps.sigmoid() if loss == "sigmoid" else heatmaps.clamp(0, 1)


def smooth(heatmaps: Tensor, sigma: float) -> Tensor:
    """Heatmaps whose highest cell is the place with the most around it, which is likelier near the joint than the peak.

    A network that was trained on people's labels, which scatter, answers with as much doubt; where doubt has several
    small peaks, their middle is the better guess. Each map keeps its sum.

    Args:
        heatmaps: [N, J, h, w], non-negative.
        sigma: of the Gaussian, in cells; 0 leaves them as they are.
    """
    if not sigma:
        return heatmaps
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=heatmaps.dtype, device=heatmaps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    joints = heatmaps.shape[1]
    rows = (kernel / kernel.sum()).view(1, 1, -1, 1).expand(joints, 1, -1, 1)
    along = F.conv2d(heatmaps, rows, padding=(reach, 0), groups=joints)
    smoothed = F.conv2d(along, rows.transpose(2, 3), padding=(0, reach), groups=joints)
    # What went over the edge comes back to all cells alike.
    before, after = (maps.sum(dim=(2, 3), keepdim=True) for maps in (heatmaps, smoothed))
    return smoothed * (before / after.clamp(min=1e-12))
