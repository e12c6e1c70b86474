"""What is trained: rows that differ from the baseline in one thing, grouped by the question they answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from poseglass_training.networks import CnnConfig, Config, HourglassConfig
from poseglass_training.presets import Phase, Preset
from poseglass_training.targets import LossName

BASELINE = "baseline"


@dataclass(frozen=True)
class Budget:
    """What every row gets, no more and no less. Nothing in it was tuned for any row.

    Attributes:
        size: side of the crops in pixels.
        epochs: passes over the people.
        people: to train on, spread evenly over the data set's; fewer where it has not as many.
        batch_size, learning_rate, ema: of `Preset`.
    """

    size: int = 64
    epochs: int = 5
    people: int = 2400
    batch_size: int = 32
    learning_rate: float = 4e-3
    ema: float = 0.99


@dataclass(frozen=True)
class Row:
    """One network and how it is trained.

    Attributes:
        name: in file names.
        label: for readers.
        network: settings; joints and input size are filled in.
        loss: it is trained with.
        intermediate_supervision: a loss at every stack.
    """

    name: str
    label: str
    network: Config
    loss: LossName = "softmax"
    intermediate_supervision: bool = True

    def preset(self, budget: Budget) -> Preset:
        """The recipe of this row under a budget."""
        return Preset(
            replace(self.network, input_size=(budget.size, budget.size)),
            phases=(Phase(budget.size, budget.epochs),),
            loss=self.loss,
            intermediate_supervision=self.intermediate_supervision,
            batch_size=budget.batch_size,
            learning_rate=budget.learning_rate,
            ema=budget.ema,
        )


@dataclass(frozen=True)
class Group:
    """Rows that answer one question; the first is the baseline.

    Attributes:
        name: for `--only` and file names.
        question: a heading.
        text: what the rows share and what sets them apart.
        rows: in the order they are shown.
    """

    name: str
    question: str
    text: str
    rows: tuple[Row, ...]


HOURGLASS = HourglassConfig(joints=1, stacks=2, features=64, depth=3)
CNN = CnnConfig(joints=1, widths=(12, 24, 48, 96, 160), convolutions=(1, 2, 2, 2, 3), hidden=256)

_BASELINE = Row(BASELINE, "hourglass, 2 stacks (baseline)", HOURGLASS)
_CNN = Row("cnn", "plain network", CNN)

GROUPS: tuple[Group, ...] = (
    Group(
        "features",
        "Features of every scale, or the last layer's?",
        "The hourglass adds up what it knew at every scale; the plain network reads its heatmaps from the coarsest "
        "features alone. Both at the same GMAC.",
        (_BASELINE, _CNN),
    ),
    Group(
        "stacks",
        "How many stacks?",
        "Twice: with the same 64 features, where more stacks cost more, and with features chosen so that all cost what "
        "two stacks of 64 do.",
        (
            _BASELINE,
            Row("stacks-1", "1 stack", replace(HOURGLASS, stacks=1)),
            Row("stacks-4", "4 stacks", replace(HOURGLASS, stacks=4)),
            Row("stacks-1-equal", "1 stack of 80 features", replace(HOURGLASS, stacks=1, features=80)),
            Row("stacks-4-equal", "4 stacks of 48 features", replace(HOURGLASS, stacks=4, features=48)),
        ),
    ),
    Group(
        "supervision",
        "Does the first stack need a loss of its own?",
        "Two stacks, with a loss at each or at the last alone. The training loss shown is the last stack's.",
        (
            _BASELINE,
            Row("supervision-off", "loss at the last stack only", HOURGLASS, intermediate_supervision=False),
        ),
    ),
    Group(
        "loss",
        "Which loss?",
        "The same network and Gaussians. The baseline's loss is the cross-entropy of a spatial softmax; the others are "
        "squared error, which is the paper's, and the cross-entropy of every cell by itself. Their values are not "
        "comparable, so that only PCK is shown.",
        (
            _BASELINE,
            Row("loss-mse", "squared error", HOURGLASS, loss="mse"),
            Row("loss-sigmoid", "sigmoid cross-entropy", HOURGLASS, loss="sigmoid"),
        ),
    ),
    Group(
        "pooling",
        "The largest of four, or their average?",
        "Max pooling against average pooling, in both networks.",
        (
            _BASELINE,
            Row("pooling-average", "hourglass, average", replace(HOURGLASS, pooling="average")),
            replace(_CNN, label="plain network, max"),
            Row("cnn-average", "plain network, average", replace(CNN, pooling="average")),
        ),
    ),
    Group(
        "activation",
        "Which activation?",
        "ReLU everywhere, which is the baseline's, against tanh and sigmoid everywhere.",
        (
            _BASELINE,
            Row("activation-tanh", "tanh", replace(HOURGLASS, activation="tanh")),
            Row("activation-sigmoid", "sigmoid", replace(HOURGLASS, activation="sigmoid")),
        ),
    ),
)


def rows_of(groups: Iterable[Group]) -> list[Row]:
    """The rows of some groups, each once."""
    rows: dict[str, Row] = {}
    for group in groups:
        for row in group.rows:
            rows.setdefault(row.name, row)
    return list(rows.values())
