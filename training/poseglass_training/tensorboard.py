"""A run's figures for TensorBoard, where they are asked for. Needs the `tensorboard` extra."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from poseglass_training.loop import Progress

EVERY = 10
"""Steps between two points of the training loss."""


class TensorBoardUnavailable(RuntimeError):
    """TensorBoard is not installed."""


class TensorBoardWriter:
    """Writes event files into the run's folder: the loss within epochs, dev PCK@0.2 and the learning rate.

    The horizontal axis is the epoch in thousandths, so that runs of different batch sizes lie over each other and a
    resumed run goes on where it stopped.

    Args:
        out: folder of the run; the files go into `out/tensorboard`.

    Raises:
        TensorBoardUnavailable: with the line that installs it.
    """

    def __init__(self, out: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise TensorBoardUnavailable(
                'TensorBoard is not installed: pip install "poseglass[tensorboard]", or leave out --tensorboard'
            ) from None
        self._writer = SummaryWriter(str(out / "tensorboard"))
        self._steps = 0

    def __enter__(self) -> TensorBoardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Show a picture [height, width, 3], RGB."""
        self._writer.add_image(name, image, 0, dataformats="HWC")

    def __call__(self, progress: Progress) -> None:
        """Take notice of a step or an epoch."""
        at = round(1000 * progress.epoch)
        self._steps += 1
        if progress.epoch_done or self._steps % EVERY == 0:
            self._write("loss", progress.loss, at)
            self._write("learning rate", progress.learning_rate, at)
        if progress.epoch_done:
            assert progress.dev_pck is not None
            self._write("dev PCK@0.2", progress.dev_pck, at)
            self._writer.flush()

    def _write(self, name: str, value: float, at: int) -> None:
        self._writer.add_scalar(name, value, at)
