"""One stream of pictures: a sender that reads ahead within bounds, and answers with a time limit.

Three threads meet here: gRPC's, which iterates `Sender.requests`; one that receives; and the caller's, which walks
through `Sender.slots`, one slot a picture, in order, and takes an answer for each slot that was sent.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from poseglass import exchange
from poseglass.errors import DeadlineExceeded, PoseglassError, ServerError, from_rpc_error
from poseglass.exchange import StreamItem
from poseglass_proto.v1 import pose_pb2 as pb


@dataclass(frozen=True)
class Pending:
    """A picture that was sent: its request, and when (`time.monotonic`)."""

    request: pb.PredictRequest
    sent: float


class _End:
    """No slot comes after this one; `error` is what the caller's iterable raised, or what broke the stream."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Sender:
    """Reads pictures and makes requests of them, at most `in_flight` ahead of what is done.

    Args:
        images: read in gRPC's thread.
        build: picture -> request; its PoseglassErrors take the picture's place.
        in_flight: slots that may wait.
    """

    def __init__(
        self, images: Iterable[StreamItem], build: Callable[[StreamItem], pb.PredictRequest], in_flight: int
    ) -> None:
        self._images, self._build = images, build
        self._free = threading.Semaphore(in_flight)
        self._slots: queue.SimpleQueue[Pending | PoseglassError | _End] = queue.SimpleQueue()
        self._stopped = False

    def requests(self) -> Iterator[pb.PredictRequest]:
        """For gRPC to iterate."""
        try:
            images = iter(self._images)
            while True:
                self._free.acquire()
                if self._stopped:
                    return
                try:
                    image = next(images)
                except StopIteration:
                    break
                try:
                    request = self._build(image)
                except PoseglassError as error:
                    self._slots.put(error)
                    continue
                self._slots.put(Pending(request, time.monotonic()))
                yield request
        except GeneratorExit:
            raise
        except BaseException as error:  # the caller's own: it is raised in the caller's thread
            self._slots.put(_End(error))
        else:
            self._slots.put(_End())

    def slots(self) -> Iterator[Pending | PoseglassError]:
        """One a picture, in order.

        Raises:
            PoseglassError: the stream broke while no answer was due. And whatever the caller's iterable raises.
        """
        while not isinstance(slot := self._slots.get(), _End):
            yield slot
        if slot.error is not None:
            raise slot.error

    def done(self) -> None:
        """A slot was dealt with: one more picture may be read."""
        self._free.release()

    def wake(self, error: PoseglassError) -> None:
        """The call is over: nothing will be sent any more, so nobody should wait for another slot.

        After a good end this comes behind the sender's own end, and is never seen.
        """
        self._slots.put(_End(error))

    def stop(self) -> None:
        """Read no more pictures."""
        self._stopped = True
        self._free.release()


class Answers:
    """Receives in a thread, so that the wait for an answer can have an end.

    Args:
        call: of `PredictStream`.
        sender: woken when the call is over.
        address: of the server.
    """

    def __init__(self, call: Any, sender: Sender, address: str) -> None:
        self._call, self._address = call, address
        self._received: queue.SimpleQueue[pb.PredictResponse | PoseglassError] = queue.SimpleQueue()
        threading.Thread(target=self._receive, args=(sender,), name="poseglass-stream", daemon=True).start()

    def _receive(self, sender: Sender) -> None:
        end: PoseglassError = ended()
        try:
            for response in self._call:
                self._received.put(response)
        except grpc.RpcError as error:
            end = from_rpc_error(error, self._address)
        self._received.put(end)
        sender.wake(end)

    def next(self, slot: Pending, seconds: float) -> pb.PredictResponse:
        """The answer to a picture.

        Raises:
            DeadlineExceeded: the server is silent.
            PoseglassError: the stream broke.
        """
        patience = slot.sent + seconds + exchange.STREAM_GRACE - time.monotonic()
        try:
            answer = self._received.get(timeout=max(patience, 0))
        except queue.Empty:
            raise silent(self._address, seconds) from None
        if isinstance(answer, PoseglassError):
            raise answer
        return answer

    def cancel(self) -> None:
        """Give the call up, where it is not over."""
        self._call.cancel()


def silent(address: str, seconds: float) -> DeadlineExceeded:
    """The error for a stream on which no answer comes."""
    return DeadlineExceeded(f"the server at {address} is silent for longer than the timeout of {seconds:g} s")


def ended() -> ServerError:
    """The error for a stream that was over too early."""
    return ServerError("the server ended the stream before it had answered every picture")
