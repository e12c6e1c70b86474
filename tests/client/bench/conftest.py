"""An event loop without waiting, and rows made by hand."""

from __future__ import annotations

import asyncio
import math
import selectors

import pytest

from poseglass.bench.records import Answer, Records


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waits take no time: the clock jumps to whatever is due next."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        if timeout is None:
            raise AssertionError("everybody waits, and nothing is due")
        self._loop.now += timeout
        return super().select(0)


@pytest.fixture
def virtual():
    """Runs a coroutine in virtual time, from 0."""

    def run(coroutine):
        loop = VirtualLoop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.close()

    return run


@pytest.fixture
def table_of():
    """Makes a Table of (at, done, code) or (at, done, code, Answer's other fields) rows; measuring begins at 0."""

    def make(*rows):
        records = Records(0.0)
        for at, done, code, *more in rows:
            options = dict(more[0]) if more else {}
            sent, kind = options.pop("sent", at), options.pop("kind", 0)
            if code == "OK":
                options = {"people": 1, "origin": ("fake", 3, "a" * 64, "FakeProvider"), **options}
            records.add(kind, at, sent, done, Answer(code, **options))
        return records.table()

    return make


@pytest.fixture
def same():
    """Compares numbers as figures have them: to a thousandth."""

    def close(value, wanted):
        return math.isclose(value, wanted, abs_tol=6e-4)

    return close
