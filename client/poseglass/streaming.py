"""One stream of pictures, with threads: one reads pictures, one talks to the server, the caller's takes the answers.

gRPC adds a fourth, which sends what `_requests` gives it. All meet under one lock, around a `StreamState`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from poseglass.errors import PoseglassError
from poseglass.exchange import StreamItem
from poseglass.statuses import from_rpc_error
from poseglass.stream_state import LAST_WORDS, Slot, StreamState, ended, left
from poseglass_proto.v1 import pose_pb2 as pb


class Stream:
    """Sends pictures, over one call after another where they break, and gives out their answers in order.

    Args:
        images: read in a thread of its own.
        build: picture -> request; its PoseglassErrors take the picture's place.
        call: begins `PredictStream` with requests.
        state: of the stream.
        address: of the server.
    """

    def __init__(
        self,
        images: Iterable[StreamItem],
        build: Callable[[StreamItem], pb.PredictRequest],
        call: Callable[[Iterator[pb.PredictRequest]], Any],
        state: StreamState,
        address: str,
    ) -> None:
        self._images, self._build, self._begin = images, build, call
        self._state, self._address = state, address
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._call: Any = None

    def answers(self) -> Iterator[Slot]:
        """One a picture, in order.

        Raises:
            PoseglassError: the stream broke and cannot be mended. And whatever `images` raises.
        """
        for work in (self._read, self._converse):
            thread = threading.Thread(target=self._guarded, args=(work,), name="poseglass-stream", daemon=True)
            self._threads.append(thread)
            thread.start()
        while (slot := self._next()) is not None:
            yield slot
            with self._changed:
                self._state.done()
                self._changed.notify_all()

    def _next(self) -> Slot | None:
        """The oldest picture with its answer; None: there are no more."""
        state = self._state
        with self._changed:
            while (slot := state.head()) is None and not state.finished:
                patience = state.patience()
                if patience <= 0:
                    raise state.silent()
                self._changed.wait(_seconds(patience))
            return slot

    def fail(self, error: BaseException) -> None:
        """End the stream: `error` is raised after the answers that are there. One that is over stays as it is."""
        with self._changed:
            if self._state.over:
                return
            self._state.fail(error)
            self._changed.notify_all()
        if self._call is not None:
            self._call.cancel()

    def stop(self) -> None:
        """Read, send and receive no more."""
        self.fail(left())
        if self._state.finished:  # the server should not take this for a caller who left
            for thread in self._threads:
                thread.join(LAST_WORDS)

    def _guarded(self, work: Callable[[], None]) -> None:
        """What a thread raises is raised in the caller's."""
        try:
            work()
        except BaseException as error:
            self.fail(error)

    def _read(self) -> None:
        state, end = self._state, None
        try:
            images = iter(self._images)
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: state.over or not state.full)
                    if state.over:
                        return
                try:
                    image = next(images)
                except StopIteration:
                    break
                request = self._request(image)
                with self._changed:
                    state.add(request)
                    self._changed.notify_all()
        except BaseException as error:  # the caller's own: it is raised in the caller's thread, after the answers
            end = error
        with self._changed:
            state.end(end)
            self._changed.notify_all()

    def _request(self, image: StreamItem) -> pb.PredictRequest | PoseglassError:
        try:
            return self._build(image)
        except PoseglassError as error:
            return error

    def _converse(self) -> None:
        """Call after call, until all is answered or the stream cannot be mended."""
        pause: float | None = 0.0
        while pause is not None:
            with self._changed:
                if self._changed.wait_for(lambda: self._state.over, pause):
                    return
            error = self._talk()
            with self._changed:
                pause = self._state.broken(error)
                self._changed.notify_all()

    def _talk(self) -> PoseglassError:
        """One call; why it ended."""
        with self._changed:
            number = self._state.begin()
        try:
            self._call = call = self._begin(self._requests(number))
            if self._state.over:  # it was left while the call began
                call.cancel()
            for response in call:
                with self._changed:
                    self._state.received(response)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            return from_rpc_error(error, self._address)
        return ended()

    def _requests(self, number: int) -> Iterator[pb.PredictRequest]:
        """For gRPC to iterate, in a thread of its own."""
        while True:
            with self._changed:
                while wait := self._state.due(number):
                    self._changed.wait(_seconds(wait))
                if wait is None:
                    return
                request = self._state.take()
                self._changed.notify_all()  # from now on there is a time to wait for its answer
            yield request


def _seconds(wait: float) -> float | None:
    """As a condition takes it."""
    return None if wait == math.inf else min(wait, threading.TIMEOUT_MAX)
