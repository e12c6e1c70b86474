"""The model's contract around a network: uint8 crops in; heatmaps, joints, scores and presence out."""

from __future__ import annotations

from torch import Tensor, nn

from poseglass_core.calibration import Calibration
from poseglass_training.checkpoint import Checkpoint
from poseglass_training.decoder import EPSILON, calibrated_scores, decode
from poseglass_training.networks import Network
from poseglass_training.networks.presence import Presence
from poseglass_training.targets import LossName, activate, smooth


class ServedModel(nn.Module):
    """What is exported. The network itself knows nothing of it.

    Args:
        network: raw heatmaps of each stack.
        loss: how the raw heatmaps are read.
        presence: tells crops with a person from others; None: the contract's optional output is left out.
        calibration: how heatmaps become scores; None: a score is the heatmap's peak.
        smoothing: sigma of the Gaussian over the heatmaps, in cells.
    """

    def __init__(
        self,
        network: Network,
        loss: LossName,
        presence: Presence | None = None,
        calibration: Calibration | None = None,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.presence, self.calibration, self.smoothing = presence, calibration, smoothing

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Pixels to joints.

        Args:
            image: uint8 [N, H, W, 3] RGB.

        Returns:
            heatmaps [N, J, H/4, W/4], joints [N, J, 2] in crop pixels, scores [N, J] and, where there is one,
            presence [N].
        """
        x = image.permute(0, 3, 1, 2).float() * (2 / 255) - 1
        stacks, features = self.network.with_features(x)
        heatmaps = smooth(activate(stacks[-1], self.loss), self.smoothing)
        joints, scores = decode(heatmaps, EPSILON[self.loss])
        if self.calibration is not None:
            scores = calibrated_scores(heatmaps, self.calibration)
        if self.presence is None:
            return heatmaps, joints, scores
        return heatmaps, joints, scores, self.presence(features)


def served_model(checkpoint: Checkpoint) -> ServedModel:
    """The contract around a checkpoint, in float32, ready to infer."""
    presence = checkpoint.presence_network()
    calibration, smoothing = checkpoint.calibration, checkpoint.smoothing
    return ServedModel(checkpoint.network(), checkpoint.loss, presence, calibration, smoothing).eval()
