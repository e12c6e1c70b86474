"""Everything that decides a training run, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from poseglass_training.crops import Augmentation
from poseglass_training.networks import CnnConfig, Config, HourglassConfig
from poseglass_training.targets import LOSSES, LossName

AUGMENTATION = Augmentation(flip=0.5, rotation=30, rotated=0.6, scale=0.2, shift=0.05, colour=0.2)
"""What suits a network that has not the capacity for much more."""

COARSE_TOO = replace(AUGMENTATION, coarse=0.3)
"""And people who are small in their picture, for networks that know something already or can learn more."""


@dataclass(frozen=True)
class Phase:
    """Some epochs at one input size. Small first: most of what there is to learn shows at 128 pixels, cheaply.

    Attributes:
        size: side of the square crops in pixels.
        epochs: passes over the data.
    """

    size: int
    epochs: int


@dataclass(frozen=True)
class Preset:
    """A recipe: network, loss and schedule.

    Attributes:
        network: settings, with the number of joints still to be filled in from the data.
        phases: in order; the last one's size is the network's input size.
        loss: "softmax", "sigmoid" or "mse".
        sigma: of the Gaussian targets, in heatmap cells.
        intermediate_supervision: a loss at every stack, not only at the last.
        batch_size: crops a step.
        learning_rate: peak of the one-cycle schedule (linear warm-up, cosine to nothing).
        weight_decay: of AdamW.
        ema: decay of the weights' running mean, per step; what is evaluated and exported.
        box_padding: crop size over box size.
        augmentation: of the training crops.
        nobody: share of the training crops that show nobody, where there are pictures to take them from.
        taught: share of the targets that is a teacher's heatmaps, the rest being the labels'; 0: there is no teacher.

    Raises:
        ValueError: a setting that cannot train, or phases that do not end at the network's input size.
    """

    network: Config
    phases: tuple[Phase, ...]
    loss: LossName = "softmax"
    sigma: float = 1.5
    intermediate_supervision: bool = True
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    ema: float = 0.998
    box_padding: float = 1.25
    augmentation: Augmentation = AUGMENTATION
    nobody: float = 0.12
    taught: float = 0.0

    def __post_init__(self) -> None:
        if not self.phases or any(phase.epochs < 1 for phase in self.phases):
            raise ValueError("phases must name at least one phase, each of at least one epoch")
        last = self.phases[-1].size
        if self.network.input_size != (last, last):
            raise ValueError(
                f"the last phase is at {last} px, but the network's input_size is {self.network.input_size}"
            )
        for phase in self.phases:
            replace(self.network, input_size=(phase.size, phase.size))  # raises where the network cannot take it
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        for name in ("sigma", "learning_rate", "box_padding", "batch_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name):g}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, but is {self.weight_decay:g}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and under 1, not {self.ema:g}")
        if not 0 <= self.nobody < 1:
            raise ValueError(f"nobody must be at least 0 and under 1, not {self.nobody:g}")
        if not 0 <= self.taught <= 1:
            raise ValueError(f"taught must be from 0 to 1, not {self.taught:g}")
        if self.taught and self.loss != "softmax":
            raise ValueError(f"taught by a teacher, the loss must be softmax, not {self.loss}")


HOURGLASS_S = HourglassConfig(joints=1, stacks=1, features=128, input_size=(192, 192), extra=(128, 256, 256, 256))
HOURGLASS_M = replace(HOURGLASS_S, stacks=2)

PRESETS: dict[str, Preset] = {
    # 1.20 GMAC: one stack of 128 features at 192 px; most of its 5.2 million weights are where maps are small.
    "hourglass-s": Preset(HOURGLASS_S, phases=(Phase(128, 24), Phase(192, 12))),
    # The same from weights that know something already (--init): first with much to learn, then with little.
    "hourglass-s-continue": Preset(
        HOURGLASS_S,
        phases=(Phase(128, 14), Phase(192, 12)),
        learning_rate=1.5e-3,
        augmentation=COARSE_TOO,
    ),
    "hourglass-s-polish": Preset(HOURGLASS_S, phases=(Phase(192, 10),), learning_rate=1e-3, augmentation=COARSE_TOO),
    # The same from weights that know something already (--init), with a larger network to learn from (--teacher).
    "hourglass-s-taught": Preset(
        HOURGLASS_S,
        phases=(Phase(192, 8),),
        learning_rate=1e-3,
        augmentation=COARSE_TOO,
        taught=0.5,
    ),
    # 2.11 GMAC: two stacks, the first of which is `hourglass-s`: from its weights (--init), for a processor.
    "hourglass-m": Preset(
        HOURGLASS_M,
        phases=(Phase(128, 6), Phase(192, 9)),
        learning_rate=1.5e-3,
        augmentation=COARSE_TOO,
    ),
    "hourglass-m-polish": Preset(HOURGLASS_M, phases=(Phase(192, 6),), learning_rate=1e-3, augmentation=COARSE_TOO),
    # The same from weights of its own (--init), for people who are upside down or lie: a third of LSPET's.
    "hourglass-m-tumbled": Preset(
        HOURGLASS_M,
        phases=(Phase(128, 8), Phase(192, 4)),
        learning_rate=1.5e-3,
        augmentation=replace(COARSE_TOO, tumbled=0.3),
    ),
    # The same, taught by itself: by what it answers to a crop and its mirror image together (--teacher).
    "hourglass-m-taught": Preset(
        HOURGLASS_M,
        phases=(Phase(192, 4),),
        learning_rate=7e-4,
        augmentation=COARSE_TOO,
        taught=0.5,
    ),
    # 8.3 GMAC: two stacks of the paper's width, from scratch; for a GPU.
    "hourglass-m-wide": Preset(
        HourglassConfig(joints=1, stacks=2, features=256, input_size=(256, 256)),
        phases=(Phase(128, 40), Phase(192, 20), Phase(256, 20)),
        augmentation=COARSE_TOO,
    ),
    # 27.4 GMAC: the paper's eight stacks of 256 features; for a GPU and patience.
    "hourglass-l": Preset(
        HourglassConfig(joints=1, stacks=8, features=256, input_size=(256, 256)),
        phases=(Phase(128, 40), Phase(192, 20), Phase(256, 30)),
        learning_rate=1e-3,
        augmentation=replace(COARSE_TOO, rotation=45),
    ),
    # About the same GMAC as `hourglass-s` without a way back from coarse to fine.
    "cnn": Preset(
        CnnConfig(joints=1, widths=(24, 48, 96, 192, 320), convolutions=(1, 2, 2, 2, 3), input_size=(192, 192)),
        phases=(Phase(128, 6), Phase(192, 6)),
    ),
    # For trying things out: minutes on a laptop.
    "tiny": Preset(
        HourglassConfig(joints=1, stacks=1, features=32, depth=3, input_size=(128, 128)),
        phases=(Phase(64, 4), Phase(128, 4)),
        learning_rate=4e-3,
        ema=0.99,
    ),
}
