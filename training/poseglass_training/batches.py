"""Samples to batches, prepared in worker processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from poseglass_training.annotations import AnnotationError
from poseglass_training.crops import Sample, SampleSource

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Images uint8 [N, H, W, 3], joints float32 [N, J, 2] in crop pixels, visible bool [N, J], nobody bool [N]."""


class CropDataset(Dataset[Sample]):
    """A sample source at one epoch (None: unaugmented) and size, for DataLoader's worker processes."""

    def __init__(self, source: SampleSource, epoch: int | None, size: tuple[int, int]) -> None:
        self.source, self.epoch, self.size = source, epoch, size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self.source.sample(self.epoch, index, self.size)


T = TypeVar("T")


class Stopwatch(Generic[T]):
    """Batches as they come, and how long they were waited for.

    Args:
        batches: to pass on.

    Attributes:
        seconds: spent waiting so far.
    """

    def __init__(self, batches: Iterator[T]) -> None:
        self.batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        began = time.perf_counter()
        try:
            return next(self.batches)
        finally:
            self.seconds += time.perf_counter() - began


def crop_batches(crops: CropDataset, batch_size: int, order: list[int] | None, workers: int) -> Iterator[Batch]:
    """Batches of crops.

    Args:
        crops: to draw from.
        batch_size: crops a batch; a last, smaller one is dropped where there is an order and a whole one.
        order: positions of the crops to take; None: all, in their order.
        workers: processes that prepare them; 0: this one.

    Raises:
        AnnotationError: a picture is broken.
    """
    loader: DataLoader[Any] = DataLoader(
        crops,
        batch_size=batch_size,
        sampler=order,
        drop_last=order is not None and len(order) >= batch_size,
        num_workers=workers,
        worker_init_fn=begin_worker,
        collate_fn=_collate,
        prefetch_factor=4 if workers else None,
    )
    try:
        yield from loader
    except AnnotationError as error:  # a worker's comes wrapped in that process's traceback
        raise AnnotationError(str(error).strip().rsplit("AnnotationError: ", 1)[-1]) from None


def begin_worker(_worker: int) -> None:
    """What a process that prepares samples does first."""
    cv2.setNumThreads(0)  # the cores belong to the network
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to answer


def _collate(samples: list[Sample]) -> Batch:
    return tuple(torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))  # type: ignore[return-value]
