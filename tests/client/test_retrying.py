"""Whether, and when, a call is made again."""

from __future__ import annotations

import pytest

from poseglass import InvalidRequest, MessageTooLarge, Overloaded, ServerError, Unavailable
from poseglass.retrying import Attempts


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def attempts(clock, retries=5, seconds=30.0, draw=1.0):
    return Attempts(retries, clock() + seconds, clock, lambda: draw)


def pauses(tries, error, count):
    return [tries.pause(error) for _ in range(count)]


def test_waits_double_up_to_a_bound_and_take_the_whole_range(clock):
    longest = pauses(attempts(clock, None), Unavailable("away"), 7)
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    assert pauses(attempts(clock, None, draw=0.5), Unavailable("away"), 2) == pytest.approx([0.05, 0.1])
    assert pauses(attempts(clock, None, draw=0.0), Unavailable("away"), 2) == [0, 0]


def test_a_busy_server_says_how_long_and_a_little_is_added(clock):
    assert attempts(clock, draw=0.0).pause(Overloaded("full", 4.0)) == 4.0
    assert attempts(clock, draw=1.0).pause(Overloaded("full", 4.0)) == 5.0
    assert attempts(clock, draw=1.0).pause(Overloaded("full", 0.0)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("full"),  # it did not say when
        MessageTooLarge("no"),
        InvalidRequest("boxes", "no"),
        ServerError("no"),
        Unavailable("TLS", transient=False),
    ],
)
def test_what_will_not_change_is_not_asked_again(clock, error):
    said = str(error)
    with pytest.raises(type(error)) as caught:
        attempts(clock, None).pause(error)
    assert caught.value is error
    assert str(error) == said


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_there_are_so_many_retries_and_the_last_error_says_what_was_tried(clock, retries):
    tries = attempts(clock, retries)
    for _ in range(retries):
        clock.now += tries.pause(Overloaded("full", 1.0))
    with pytest.raises(Unavailable) as caught:
        tries.pause(Unavailable("away"))
    if retries:
        assert f"asked {retries + 1} times in {1.25 * retries:.1f} s, RESOURCE_EXHAUSTED before" in str(caught.value)


def test_nothing_is_waited_for_past_the_deadline(clock):
    tries = attempts(clock, None, seconds=10)
    clock.now += tries.pause(Overloaded("full", 4.0))
    assert tries.remaining() == 5.0
    with pytest.raises(Overloaded, match="asked 2 times in 5.0 s"):
        tries.pause(Overloaded("full", 4.0))  # five seconds, and no time for the call itself
    clock.now += 60
    assert tries.remaining() == 0


def test_without_a_bound_it_is_asked_until_the_deadline(clock):
    tries = attempts(clock, None, seconds=60)
    for _ in range(33):
        clock.now += tries.pause(Unavailable("away"))
    assert 0 < tries.remaining() <= 2
    with pytest.raises(Unavailable, match="asked 34 times"):
        tries.pause(Unavailable("away"))
