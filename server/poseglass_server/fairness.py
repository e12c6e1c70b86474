"""Turns between callers."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items of callers: in the order they came for one caller, in turns between callers; not thread-safe.

    A caller with thirty items waiting gets its next one after everybody else had a turn, not after thirty of its own.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[Hashable, deque[Item]] = OrderedDict()  # the caller whose turn it is stands first
        self._length = 0

    def __len__(self) -> int:
        """Items of all callers."""
        return self._length

    def of(self, caller: Hashable) -> int:
        """Items of a caller."""
        return len(self._lines.get(caller, ()))

    def ahead_of(self, caller: Hashable) -> int:
        """Items that would be taken before one that a caller put in now."""
        own = ahead = self.of(caller)
        turns = own + 1  # of those who stand before the caller until its new item's turn; of those behind, one less
        for other, line in self._lines.items():
            if other == caller:
                turns -= 1
            else:
                ahead += min(len(line), turns)
        return ahead

    def put(self, caller: Hashable, item: Item) -> None:
        """Add an item behind those of the same caller."""
        self._lines.setdefault(caller, deque()).append(item)
        self._length += 1

    def take(self) -> Item:
        """The next item.

        Raises:
            IndexError: there is none.
        """
        if not self._lines:
            raise IndexError("nothing is waiting")
        caller, line = next(iter(self._lines.items()))
        item = line.popleft()
        self._length -= 1
        if line:
            self._lines.move_to_end(caller)
        else:
            del self._lines[caller]
        return item

    def remove(self, caller: Hashable, item: Item) -> bool:
        """Take an item out of its turn.

        Returns:
            Whether it was still there.
        """
        line = self._lines.get(caller)
        if line is None or item not in line:
            return False
        line.remove(item)
        self._length -= 1
        if not line:
            del self._lines[caller]
        return True

    def longest(self) -> Hashable:
        """The caller with the most items; of several the one whose turn comes last.

        Raises:
            IndexError: nothing is waiting.
        """
        if not self._lines:
            raise IndexError("nothing is waiting")
        return max(reversed(self._lines), key=lambda caller: len(self._lines[caller]))

    def last_of(self, caller: Hashable) -> Item:
        """The item that a caller added last; it stays.

        Raises:
            KeyError: the caller has none.
        """
        return self._lines[caller][-1]
