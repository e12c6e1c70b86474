"""A trained network whose heatmaps another one learns from, beside the labels."""

from __future__ import annotations

import torch
from torch import Tensor

from poseglass_core.skeleton import Skeleton
from poseglass_training.checkpoint import Checkpoint, CheckpointError
from poseglass_training.devices import bf16_pays
from poseglass_training.presets import Preset
from poseglass_training.targets import activate


class Teacher:
    """Says where it believes joints to be; what it has made of many people's labels is steadier than one of them.

    Hinton et al., arXiv:1503.02531; for heatmaps, Zhang et al., arXiv:1811.05419. Departure: the teacher looks at the
    mirrored crop too, and its answers are averaged.

    Args:
        checkpoint: the trained network.
        skeleton: of who learns.
        device: where to compute.

    Raises:
        CheckpointError: it knows other joints, or its heatmaps are no distributions over places.
    """

    def __init__(self, checkpoint: Checkpoint, skeleton: Skeleton, device: torch.device) -> None:
        check_teacher(checkpoint, skeleton)
        self.network = checkpoint.network().eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.flip = list(skeleton.flip_index)
        self.device = device

    @torch.no_grad()
    def heatmaps(self, images: Tensor) -> Tensor:
        """Where the joints are.

        Args:
            images: [N, 3, H, W], RGB in -1 ... 1.

        Returns:
            [N, J, H/4, W/4], of each joint a distribution over cells.
        """
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16_pays(self.device)):
            plain, mirrored = (self.network(seen)[-1].float() for seen in (images, images.flip(3)))
        back = activate(mirrored, "softmax").flip(3)[:, self.flip]
        return (activate(plain, "softmax") + back) / 2


def blend(targets: Tensor, opinion: Tensor, share: float) -> Tensor:
    """Labels and a teacher's opinion, as distributions over cells.

    Args:
        targets: [N, J, h, w] from `gaussian_targets`.
        opinion: [N, J, h, w] from `Teacher.heatmaps`.
        share: of the opinion, 0 to 1.
    """
    total = targets.sum(dim=(2, 3), keepdim=True).clamp(min=1e-12)
    return (1 - share) * targets / total + share * opinion


def require_teacher(preset: Preset, given: bool) -> None:
    """Make sure that there is a teacher where a preset gives it a share of the targets, and only there.

    Raises:
        CheckpointError: there is one too many, or none.
    """
    if given and not preset.taught:
        raise CheckpointError("the preset learns from labels alone: leave --teacher out")
    if preset.taught and not given:
        raise CheckpointError("the preset learns from a teacher beside the labels: name one with --teacher")


def check_teacher(checkpoint: Checkpoint, skeleton: Skeleton) -> None:
    """Make sure that a network can teach these joints.

    Raises:
        CheckpointError: it knows other ones, or its heatmaps are no distributions over places.
    """
    ours, theirs = skeleton.joints, checkpoint.skeleton.joints
    if ours != theirs:
        apart = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        both = ("nothing more" if apart >= len(joints) else repr(joints[apart]) for joints in (ours, theirs))
        raise CheckpointError(
            "--teacher: joint {} of the data is {}, of the teacher {}; name one that was trained on the same joints in "
            "the same order".format(apart + 1, *both)
        )
    if checkpoint.loss != "softmax":
        raise CheckpointError(
            f"--teacher: was trained with the loss {checkpoint.loss!r}; only heatmaps of 'softmax' are distributions"
            " to learn from"
        )
