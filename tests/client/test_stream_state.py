"""The order of a stream's pictures and answers, without transport and with a clock of its own."""

from __future__ import annotations

import math

import pytest
from google.rpc import code_pb2, status_pb2

from poseglass import DeadlineExceeded, MessageTooLarge, Overloaded, PoseglassError, ServerError, Unavailable
from poseglass.exchange import Exchange
from poseglass.retrying import Attempts
from poseglass.stream_state import SETTLED, STREAM_GRACE, StreamState
from poseglass_proto.v1 import pose_pb2 as pb


class Driver:
    """Does what a transport would."""

    def __init__(self, monkeypatch, retries=5, seconds=30.0, in_flight=8) -> None:
        self.now = 0.0
        self.exchange = Exchange("127.0.0.1:1")
        monkeypatch.setattr(
            self.exchange, "attempts", lambda deadline: Attempts(retries, deadline, lambda: self.now, lambda: 0.0)
        )
        self.state = StreamState(self.exchange, seconds, in_flight, lambda: self.now)
        self.call = self.state.begin()
        self.timeouts: list[int] = []

    def read(self, *names: str) -> None:
        for name in names:
            self.state.add(pb.PredictRequest(request_id=name, timeout_ms=30_000))

    def send(self) -> str:
        """Ids of all that is due now."""
        sent = ""
        while self.state.due(self.call) == 0:
            request = self.state.take()
            self.timeouts.append(request.timeout_ms)
            sent += request.request_id
        return sent

    def answer(self, names: str, error: status_pb2.Status | None = None) -> None:
        for name in names:
            self.state.received(pb.PredictResponse(request_id=name, error=error))

    def broken(self, error: PoseglassError) -> float | None:
        pause = self.state.broken(error)
        if pause is not None:
            self.now += pause
            self.call = self.state.begin()
        return pause

    def given_out(self) -> list[str]:
        """Ids of the answers that are ready, or the class of the error."""
        given = []
        while (slot := self.state.head()) is not None:
            answer = slot.answer
            given.append(answer.request_id if isinstance(answer, pb.PredictResponse) else type(slot.error()).__name__)
            self.state.done()
        return given


@pytest.fixture
def driver(monkeypatch):
    return Driver(monkeypatch)


@pytest.fixture
def full(status, retry):
    """Makes a RESOURCE_EXHAUSTED status that says when to come back."""
    return lambda seconds: status(code_pb2.RESOURCE_EXHAUSTED, "full", retry(seconds))


AWAY = Unavailable("away")


def test_no_more_is_read_than_may_be_in_flight(monkeypatch):
    driver = Driver(monkeypatch, in_flight=2)
    driver.read("a")
    assert not driver.state.full
    driver.read("b")
    assert driver.state.full
    driver.send()
    driver.answer("a")
    assert driver.state.full  # it has not been dealt with
    assert driver.given_out() == ["a"]
    assert not driver.state.full


def test_what_the_server_has_no_time_for_is_sent_again_and_the_order_is_kept(driver, full):
    driver.read(*"abcd")
    assert driver.send() == "abcd"
    driver.answer("a")
    driver.answer("b", full(0.5))
    driver.answer("cd")
    driver.read("e")
    assert driver.given_out() == ["a"]  # c and d are there, and wait for b
    assert driver.state.due(driver.call) == 0.5  # and e waits too: the server is busy
    driver.now += 0.5
    assert driver.send() == "be"
    assert driver.timeouts == [30_000] * 4 + [29_500, 30_000]
    driver.answer("be")
    assert driver.given_out() == ["b", "c", "d", "e"]


def test_a_picture_that_is_refused_too_often_gets_the_error(monkeypatch, full):
    driver = Driver(monkeypatch, retries=1)
    driver.read("a")
    for _ in range(2):
        driver.send()
        driver.answer("a", full(0.25))
        driver.now += 0.25
    slot = driver.state.head()
    assert isinstance(slot.answer, Overloaded)
    assert "asked 2 times" in str(slot.answer)


def test_what_a_broken_call_left_unanswered_goes_into_the_next(driver):
    driver.read(*"abc")
    driver.send()
    driver.answer("a")
    old = driver.call
    assert driver.broken(AWAY) == 0
    assert driver.state.due(old) is None
    driver.read("d")
    assert driver.send() == "bcd"
    driver.answer("bcd")
    assert driver.given_out() == ["a", "b", "c", "d"]


def test_only_breaks_without_an_answer_in_between_are_counted(monkeypatch):
    driver = Driver(monkeypatch, retries=2)
    driver.read(*"ab")
    for _ in range(2):
        driver.send()
        assert driver.broken(AWAY) is not None
    driver.send()
    driver.answer("a")
    for _ in range(2):
        assert driver.broken(AWAY) is not None
        driver.send()
    assert driver.broken(Unavailable("away at last")) is None
    assert driver.state.over


def test_a_stream_that_cannot_be_mended_raises_after_the_answers_before(monkeypatch):
    driver = Driver(monkeypatch, retries=0)
    driver.read(*"ab")
    driver.send()
    driver.answer("a")
    assert driver.broken(AWAY) is None
    slot = driver.state.head()
    assert slot.answer.request_id == "a"
    driver.state.done()
    with pytest.raises(Unavailable):
        driver.state.head()


def test_a_call_that_lasted_has_worked_though_nothing_was_sent(monkeypatch):
    driver = Driver(monkeypatch, retries=1)
    for _ in range(5):
        driver.now += SETTLED + 1
        assert driver.broken(AWAY) is not None
    assert driver.broken(AWAY) is None


def test_a_picture_whose_time_is_over_before_it_can_be_sent_again_fails_alone(driver):
    driver.read(*"a")
    driver.send()
    driver.now += 29
    driver.read(*"b")
    driver.send()
    driver.broken(AWAY)
    assert driver.state.patience() == pytest.approx(1)
    driver.now += 1
    slot = driver.state.head()
    assert isinstance(slot.answer, DeadlineExceeded)
    assert "away" in str(slot.answer)
    driver.state.done()
    assert driver.send() == "b"
    assert driver.timeouts[-1] == 29_000


def test_a_message_over_the_limit_is_found_by_sending_one_at_a_time(driver):
    driver.read(*"abc")
    driver.send()
    assert driver.broken(MessageTooLarge("too large")) == 0
    assert driver.send() == "a"
    assert driver.state.due(driver.call) == math.inf
    driver.answer("a")
    assert driver.send() == "b"
    assert driver.broken(MessageTooLarge("too large")) == 0
    driver.read("d")
    assert driver.send() == "cd"
    driver.answer("cd")
    assert driver.given_out() == ["a", "MessageTooLarge", "c", "d"]


def test_patience_begins_with_the_first_time_a_picture_is_sent(driver):
    driver.read("a")
    driver.now += 100
    assert driver.state.patience() == math.inf
    driver.send()
    driver.now += 10
    assert driver.state.patience() == 20 + STREAM_GRACE
    assert "30 s" in str(driver.state.silent())


def test_errors_say_which_picture_they_are_of(driver):
    driver.read("a")
    driver.state.add(ServerError("cannot be made"))
    driver.send()
    driver.answer("a")
    driver.state.done()
    assert driver.state.head().error().index == 1


def test_the_end(driver):
    driver.read("a")
    driver.state.end(OSError("the camera is gone"))
    driver.send()
    assert not driver.state.over
    driver.answer("a")
    assert driver.state.over
    assert driver.state.due(driver.call) is None
    assert driver.broken(ServerError("too late to matter")) is None
    driver.state.done()
    with pytest.raises(OSError, match="camera"):
        driver.state.head()
    assert driver.state.finished


def test_an_answer_to_nothing_ends_the_stream(driver):
    driver.answer("x")
    with pytest.raises(ServerError):
        driver.state.head()
