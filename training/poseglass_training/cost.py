"""What a network costs, without computing it: on PyTorch's "meta" device there are shapes, but no numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from poseglass_training.networks import Config, build


@dataclass(frozen=True)
class Cost:
    """Of one crop at the network's input size.

    Attributes:
        gmac: multiplications with addition in convolutions and fully connected layers, in 10^9. Normalisation,
            activation, pooling and upsampling are not counted, as is the custom.
        parameters: weights that are trained.
    """

    gmac: float
    parameters: int


def cost(config: Config) -> Cost:
    """Count the multiply-accumulates and weights of a network with these settings."""
    with torch.device("meta"):
        network = build(config).eval()
        crop = torch.zeros(1, 3, *config.input_size)
    macs = 0

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer.weight, Tensor)  # [outputs, what each output is a weighted sum of ...]
        macs += output.numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(crop)
    return Cost(macs / 1e9, sum(weight.numel() for weight in network.parameters()))
