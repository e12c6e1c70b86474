"""Weights to start from: of the same network, of a smaller one that it has grown out of, or of a larger one."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from poseglass_core.skeleton import Skeleton
from poseglass_training.checkpoint import Checkpoint, CheckpointError
from poseglass_training.networks import HourglassConfig, Network, architecture

STACK = re.compile(r"^(hourglasses|necks|heads)\.(\d+)\.")


def warm_start(network: Network, skeleton: Skeleton, init: Checkpoint) -> list[str]:
    """Copy the weights of a checkpoint into a network that may be larger, have fewer stacks, or another skeleton.

    Tensors are matched by name and shape. Those that predict joints are taken only where the joints are the same ones.
    Stacks that the checkpoint has not begin as copies of its last one, to which nothing of what that one found is
    merged yet: so the deeper network answers at first as the shallow one did.

    Args:
        network: changed in place.
        skeleton: of the new network.
        init: where the weights come from.

    Returns:
        Names of the network's tensors that keep their fresh values.

    Raises:
        CheckpointError: another architecture, or the two have less than half of their tensors in common.
    """
    if type(init.config) is not type(network.config):
        wanted, given = architecture(network.config), architecture(init.config)
        raise CheckpointError(f"weights to start from are of a {given}, but the preset is a {wanted}")
    own = network.state_dict()
    offered = {**_deeper(own, init), **init.weights}
    same_joints = init.skeleton.joints == skeleton.joints
    taken = {
        name: tensor
        for name, tensor in offered.items()
        if name in own and own[name].shape == tensor.shape and (same_joints or not name.startswith(network.BY_JOINT))
    }
    smaller = min(len(init.weights), len(own))
    if len(taken) < smaller / 2:
        raise CheckpointError(f"weights to start from: only {len(taken)} of {smaller} tensors fit the preset's network")
    network.load_state_dict(taken, strict=False)
    return sorted(own.keys() - taken.keys())


def _deeper(own: Mapping[str, Tensor], init: Checkpoint) -> dict[str, Tensor]:
    """What the tensors of stacks that the checkpoint has not begin with."""
    if not isinstance(init.config, HourglassConfig):
        return {}
    begun = {name: torch.zeros_like(tensor) for name, tensor in own.items() if name.startswith("merge_")}
    for name in own:
        copied = STACK.sub(rf"\g<1>.{init.config.stacks - 1}.", name)
        if copied in init.weights:
            begun[name] = init.weights[copied]
    return begun
