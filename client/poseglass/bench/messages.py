"""Requests, serialized before the run: during it they only have to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseglass.bench.mix import Kind
from poseglass.convert import to_request
from poseglass.errors import InvalidRequest
from poseglass.options import MIB, PredictOptions
from poseglass_core.geometry import Box

MOST_MIB = 1024
"""Of all messages together; they are held in memory."""


@dataclass(frozen=True)
class Message:
    """One request.

    Attributes:
        data: a serialized `PredictRequest`.
        kind: index of its kind of picture.
    """

    data: bytes
    kind: int


@dataclass(frozen=True)
class Messages:
    """All that may be sent.

    Attributes:
        kinds: what the pictures are.
        messages: one a picture.
        shares: [N] of each message in the requests; their sum is 1.
    """

    kinds: tuple[Kind, ...]
    messages: tuple[Message, ...]
    shares: NDArray[np.float64]

    def draw(self, count: int, rng: np.random.Generator) -> list[Message]:
        """Messages for so many requests, each drawn by its share."""
        return [self.messages[i] for i in rng.choice(len(self.messages), count, p=self.shares)]

    def firsts(self) -> list[Message]:
        """One message of each kind."""
        return [next(m for m in self.messages if m.kind == i) for i in range(len(self.kinds))]


def build(
    kinds: Sequence[Kind],
    options: PredictOptions,
    people: int,
    rng: np.random.Generator,
    max_message_mb: int,
    timeout: float | None = None,
) -> Messages:
    """Serialize a request for each picture.

    Args:
        kinds: the mix, with the pictures' sizes where boxes are given.
        options: about every picture.
        people: boxes a picture; see `boxes_in`.
        rng: decides the boxes.
        max_message_mb: MiB that a message may have.
        timeout: seconds a picture may take, to be said in the message itself, as streams need it.

    Raises:
        InvalidRequest, MessageTooLarge: a picture or an option cannot be sent, or all of it is too much.
    """
    messages: list[Message] = []
    shares: list[float] = []
    total = 0
    for index, kind in enumerate(kinds):
        for picture, size in zip(kind.pictures, kind.sizes, strict=True):
            boxes = boxes_in(size, people, rng) if size is not None else []
            request = to_request(picture, PredictOptions(**options, boxes=boxes), max_message_mb, timeout)
            messages.append(Message(request.SerializeToString(), index))
            shares.append(kind.weight / len(kind.pictures))
            total += len(messages[-1].data)
            if total > MOST_MIB * MIB:
                raise InvalidRequest(
                    "--images", f"the pictures take more than {MOST_MIB} MiB, and all are held in memory; give fewer"
                )
    return Messages(tuple(kinds), tuple(messages), np.array(shares) / sum(shares))


def boxes_in(size: tuple[int, int], people: int, rng: np.random.Generator) -> list[Box]:
    """People of a picture.

    Args:
        size: (height, width).
        people: 0: none; 1: the whole picture; more: upright boxes at random places, from 30 to 90 % of its height.
        rng: decides the places.
    """
    height, width = size
    if people == 1:
        return [Box(0, 0, width, height)]
    boxes = []
    for _ in range(people):
        tall = height * rng.uniform(0.3, 0.9)
        wide = min(tall * rng.uniform(0.35, 0.65), width)
        boxes.append(Box(rng.uniform(0, width - wide), rng.uniform(0, height - tall), wide, tall))
    return boxes
