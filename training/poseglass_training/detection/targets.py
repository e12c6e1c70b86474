"""What the detector is asked for, and the loss of its answers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from poseglass_training.detection.network import STRIDE, UNIT

SPREAD = 0.14
"""Standard deviation of a centre's Gaussian, as a share of the box's side.

Wide: the middle of somebody who fills the picture cannot be told to a cell, and a network that is punished for every
cell but one answers with low scores. Where the person is, the geometry says, not the peak.
"""

NARROWEST = 0.7
"""Cells; the least standard deviation."""

NEAR = 0.3
"""Height of the Gaussian from which a cell is asked for the box."""

BOX_WEIGHT = 1.0


def detection_targets(boxes: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """What the network should answer to some pictures.

    Args:
        boxes: [N, M, 4] edges in input pixels.
        valid: [N, M] which of them are people; the rest is padding.
        size: (rows, columns) of the maps.

    Returns:
        centres [N, h, w] from 0 to 1, exactly 1 in the cell that holds a centre; geometry [N, 4, h, w] as of
        `Detector.forward`; and [N, h, w], how much each cell's geometry counts: 1 a person in all.
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
        return empty, torch.zeros(len(boxes), 4, rows, columns, device=boxes.device), empty
    centres, owner = near.max(dim=1)  # [N, h, w]: a cell between two people belongs to the nearer one
    own = near * (owner[:, None] == torch.arange(near.shape[1], device=boxes.device)[None, :, None, None])
    counted = own * (own >= NEAR)
    weight = (counted / counted.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)).sum(dim=1)

    def spread(values: Tensor) -> Tensor:  # [N, M] -> [N, h, w], of each cell's owner
        return values.gather(1, owner.flatten(1)).view(owner.shape)

    geometry = torch.stack(
        [
            (spread(middle[..., 0]) - (x + 0.5) * STRIDE) / UNIT,
            (spread(middle[..., 1]) - ((y + 0.5) * STRIDE)[:, None]) / UNIT,
            spread((sides[..., 0] / UNIT).log()),
            spread((sides[..., 1] / UNIT).log()),
        ],
        dim=1,
    )
    return centres, geometry, weight


def detection_loss(
    centres: Tensor, geometry: Tensor, boxes: Tensor, valid: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Focal loss of the centres (Law and Deng, arXiv:1808.01244) and L1 of the boxes, both a person.

    Args:
        centres: [N, h, w] raw.
        geometry: [N, 4, h, w].
        boxes, valid: of `detection_targets`.
        known: [N, h, w] bool: cells of which it is known who is in them.

    Returns:
        The two losses.
    """
    wanted, shape, weight = detection_targets(boxes, valid, (centres.shape[1], centres.shape[2]))
    people = valid.sum().clamp(min=1)
    at_centre = wanted == 1
    said = centres.sigmoid()
    found = F.logsigmoid(centres) * (1 - said) ** 2 * at_centre
    elsewhere = F.logsigmoid(-centres) * said**2 * (1 - wanted) ** 4 * (~at_centre & known)
    heat = -(found + elsewhere).sum() / people
    apart = (F.smooth_l1_loss(geometry, shape, reduction="none", beta=0.1).sum(dim=1) * weight).sum() / people
    return heat, BOX_WEIGHT * apart
