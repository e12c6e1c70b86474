"""What the detector is asked for, and the loss of its answers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from poseglass_training.detection.network import STRIDE, boxes_of

SPREAD = 0.14
"""Standard deviation of a centre's Gaussian, as a share of the box's side.

Wide: the middle of somebody who fills the picture cannot be told to a cell, and a network that is punished for every
cell but one answers with low scores. Where the person is, the geometry says, not the peak.
"""

NARROWEST = 0.7
"""Cells; the least standard deviation."""

NEAR = 0.3
"""Height of the Gaussian from which a cell is asked for the box."""

BOX_WEIGHT = 2.0
"""Of the boxes' loss beside that of the centres."""


def detection_targets(boxes: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """What the network should answer to some pictures.

    Args:
        boxes: [N, M, 4] edges in input pixels.
        valid: [N, M] which of them are people; the rest is padding.
        size: (rows, columns) of the maps.

    Returns:
        centres [N, h, w] from 0 to 1, exactly 1 in the cell that holds a centre; the box of each cell [N, 4, h, w] as
        of `boxes_of`; and [N, h, w], how much each cell's box counts: 1 a person in all.
    """
    rows, columns = size
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2  # [N, M, 2]
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1.0)
    cell = (middle / STRIDE).floor()
    sigma = (SPREAD * sides / STRIDE).clamp(min=NARROWEST)
    x = torch.arange(columns, device=boxes.device)
    y = torch.arange(rows, device=boxes.device)
    across = torch.exp(-((x - cell[..., 0:1]) ** 2) / (2 * sigma[..., 0:1] ** 2))  # [N, M, w]
    down = torch.exp(-((y - cell[..., 1:2]) ** 2) / (2 * sigma[..., 1:2] ** 2))
    near = down[..., :, None] * across[..., None, :] * valid[..., None, None]  # [N, M, h, w]
    if near.shape[1] == 0:
        empty = torch.zeros(len(boxes), rows, columns, device=boxes.device)
        return empty, empty[:, None].expand(-1, 4, -1, -1), empty
    centres, owner = near.max(dim=1)  # [N, h, w]: a cell between two people belongs to the nearer one
    own = near * (owner[:, None] == torch.arange(near.shape[1], device=boxes.device)[None, :, None, None])
    counted = own * (own >= NEAR)
    weight = (counted / counted.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)).sum(dim=1)

    index = owner.flatten(1)[..., None].expand(-1, -1, 4)  # [N, h w, 4]
    owned = boxes.gather(1, index).transpose(1, 2).reshape(len(boxes), 4, rows, columns)
    return centres, owned, weight


def overlap_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """One less generalised intersection over union (Rezatofighi et al., arXiv:1902.09630), from 0 to 2.

    An error of three pixels is nothing to somebody who fills the picture, and loses somebody who is twenty pixels high:
    this is what overlap says, and differences of edges do not.

    Args:
        boxes, wanted: [N, 4, h, w] edges, x1, y1, x2, y2.

    Returns:
        [N, h, w]
    """
    low, high = torch.maximum(boxes[:, :2], wanted[:, :2]), torch.minimum(boxes[:, 2:], wanted[:, 2:])
    shared = _area(low, high)
    both = _area(boxes[:, :2], boxes[:, 2:]) + _area(wanted[:, :2], wanted[:, 2:]) - shared
    low, high = torch.minimum(boxes[:, :2], wanted[:, :2]), torch.maximum(boxes[:, 2:], wanted[:, 2:])
    around = _area(low, high)
    return 1 - shared / both.clamp(min=1e-6) + (around - both) / around.clamp(min=1e-6)


def _area(low: Tensor, high: Tensor) -> Tensor:
    """Of the boxes [N, h, w] between two corners [N, 2, h, w]; 0 where they are the wrong way round."""
    sides = (high - low).clamp(min=0)
    return sides[:, 0] * sides[:, 1]


def detection_loss(
    centres: Tensor, geometry: Tensor, boxes: Tensor, valid: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Focal loss of the centres (Law and Deng, arXiv:1808.01244) and `overlap_loss` of the boxes, both a person.

    Args:
        centres: [N, h, w] raw.
        geometry: [N, 4, h, w].
        boxes, valid: of `detection_targets`.
        known: [N, h, w] bool: cells of which it is known who is in them.

    Returns:
        The two losses.
    """
    wanted, owned, weight = detection_targets(boxes, valid, (centres.shape[1], centres.shape[2]))
    people = valid.sum().clamp(min=1)
    at_centre = wanted == 1
    said = centres.sigmoid()
    found = F.logsigmoid(centres) * (1 - said) ** 2 * at_centre
    elsewhere = F.logsigmoid(-centres) * said**2 * (1 - wanted) ** 4 * (~at_centre & known)
    heat = -(found + elsewhere).sum() / people
    apart = (overlap_loss(boxes_of(geometry), owned) * weight).sum() / people
    return heat, BOX_WEIGHT * apart
