"""Recipes of detectors, by name."""

from __future__ import annotations

from dataclasses import dataclass

from poseglass_training.crops import Augmentation
from poseglass_training.detection.network import DetectorConfig
from poseglass_training.presets import HOURGLASS_S

COLOUR = Augmentation(colour=0.2)


@dataclass(frozen=True)
class DetectorPreset:
    """A recipe: network and schedule.

    Attributes:
        network: settings; its input size is what is trained at.
        epochs: of `pictures` each.
        pictures: put together an epoch.
        batch_size: pictures a step.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        ema: decay of the weights' running mean, per step.
        augmentation: of colours.

    Raises:
        ValueError: a setting that cannot train.
    """

    network: DetectorConfig
    epochs: int
    pictures: int = 8000
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    ema: float = 0.998
    augmentation: Augmentation = COLOUR

    def __post_init__(self) -> None:
        for name in ("epochs", "pictures", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name):g}")
        if self.network.input_size[0] != self.network.input_size[1]:
            raise ValueError(f"input_size must be square, not {self.network.input_size}")


DETECTOR_PRESETS: dict[str, DetectorPreset] = {
    # 2.17 GMAC at 256 px: the trunk of `hourglass-s`, whose weights it begins from.
    "person": DetectorPreset(DetectorConfig(features=128, extra=HOURGLASS_S.extra), epochs=3),
    # The same from weights that know something already (--init).
    "person-continue": DetectorPreset(DetectorConfig(features=128, extra=HOURGLASS_S.extra), epochs=5),
    # The last steps, with little left to learn.
    "person-polish": DetectorPreset(
        DetectorConfig(features=128, extra=HOURGLASS_S.extra), epochs=1, pictures=6000, learning_rate=6e-4
    ),
    # 3.39 GMAC at 320 px, as it is served: from the weights of the former, which know the larger people less there.
    "person-320": DetectorPreset(
        DetectorConfig(features=128, extra=HOURGLASS_S.extra, input_size=(320, 320)),
        epochs=2,
        pictures=4000,
        learning_rate=7e-4,
    ),
    # The same at its leisure: boxes of people who are small in the picture become exact last.
    "person-320-continue": DetectorPreset(
        DetectorConfig(features=128, extra=HOURGLASS_S.extra, input_size=(320, 320)), epochs=6, pictures=6000
    ),
    # For trying things out.
    "person-tiny": DetectorPreset(
        DetectorConfig(features=32, depth=3, input_size=(128, 128)),
        epochs=2,
        pictures=1000,
        learning_rate=4e-3,
        ema=0.99,
    ),
}
