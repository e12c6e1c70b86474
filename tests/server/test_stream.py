"""Streams: order, failures that stay alone, bounds."""

from __future__ import annotations

import asyncio
import queue
import threading
import time

import grpc
import pytest
from google.rpc import error_details_pb2

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_server.errors import ShuttingDown
from poseglass_server.limits import Limits
from poseglass_server.stream import answer_in_order

WHOLE = pb.Box(x=0, y=0, width=120, height=80)
CODE = grpc.StatusCode


def test_answers_come_in_order_and_failures_stay_alone(shared_server, png, encode, picture):
    truncated = pb.Image(encoded=encode(picture, "JPEG")[:300])
    requests = [pb.PredictRequest(request_id=f"p{i}", timestamp_s=i / 25, image=png, boxes=[WHOLE]) for i in range(40)]
    requests[3].image.CopyFrom(truncated)
    requests[7].model = "horses"
    requests[11].locate = pb.DETECT
    requests[11].ClearField("boxes")
    requests[12].boxes[0].width = -1
    answers = list(shared_server.pose.PredictStream(iter(requests)))
    assert [answer.request_id for answer in answers] == [request.request_id for request in requests]
    assert [answer.timestamp_s for answer in answers] == [request.timestamp_s for request in requests]
    failed = {i: answer.error for i, answer in enumerate(answers) if answer.HasField("error")}
    assert {i: error.code for i, error in failed.items()} == {
        3: CODE.INVALID_ARGUMENT.value[0],
        7: CODE.NOT_FOUND.value[0],
        11: CODE.FAILED_PRECONDITION.value[0],
        12: CODE.INVALID_ARGUMENT.value[0],
    }
    detail = error_details_pb2.BadRequest()
    assert failed[12].details[0].Unpack(detail)
    assert detail.field_violations[0].field == "boxes[0].width"
    for i, answer in enumerate(answers):
        assert bool(answer.persons) == (i not in failed)


def test_a_frame_that_is_no_message_fails_alone(shared_server, png):
    good = pb.PredictRequest(request_id="good", image=png, boxes=[WHOLE]).SerializeToString()
    call = shared_server.channel.stream_stream("/poseglass.v1.PoseService/PredictStream")
    answers = [pb.PredictResponse.FromString(data) for data in call(iter([good, b"\xff\xff\xff", good]))]
    assert [answer.request_id for answer in answers] == ["good", "", "good"]
    assert [answer.error.code for answer in answers] == [0, CODE.INVALID_ARGUMENT.value[0], 0]
    assert "pose.proto" in answers[1].error.message


def test_an_unknown_failure_stays_alone_too(serving, network, png):
    calls = iter(range(3))
    run = network.run
    network.run = lambda crops: run(crops) if next(calls) != 1 else [][0]
    with serving(network, workers=1) as running:
        requests = [pb.PredictRequest(request_id=f"p{i}", image=png, boxes=[WHOLE]) for i in range(3)]
        answers = list(running.pose.PredictStream(iter(requests)))
    assert [answer.error.code for answer in answers] == [0, CODE.INTERNAL.value[0], 0]
    assert "index" not in answers[1].error.message
    assert "p1" in answers[1].error.message


def test_an_empty_stream_ends(shared_server):
    assert list(shared_server.pose.PredictStream(iter(()))) == []


def test_a_picture_has_its_own_deadline(serving, network, png):
    with serving(network, workers=1) as running:
        network.go.clear()
        inbox: queue.Queue[pb.PredictRequest | None] = queue.Queue()
        answers = running.pose.PredictStream(iter(inbox.get, None))
        for i, timeout in enumerate((0, 50, 0)):
            inbox.put(pb.PredictRequest(request_id=f"p{i}", image=png, boxes=[WHOLE], timeout_ms=timeout))
        assert network.started.acquire(timeout=20)
        time.sleep(0.6)
        network.go.set()
        inbox.put(None)
        codes = [(answer.request_id, answer.error.code) for answer in answers]
        assert codes == [("p0", 0), ("p1", CODE.DEADLINE_EXCEEDED.value[0]), ("p2", 0)]
        assert network.runs == 2


def test_a_stream_in_flight_is_bounded(serving, network, png):
    limits = Limits(stream_in_flight=3)
    arrived = []
    with serving(network, workers=8, parallel=8, most=1, limits=limits) as running:
        network.go.clear()
        requests = (
            arrived.append(i) or pb.PredictRequest(request_id=f"p{i}", image=png, boxes=[WHOLE] * 2) for i in range(12)
        )
        answers = running.pose.PredictStream(requests)
        for _ in range(3 * 2):  # a crop a run, none of them alone
            assert network.started.acquire(timeout=20)
        assert not network.started.acquire(timeout=0.3)
        network.go.set()
        assert [answer.request_id for answer in answers] == [f"p{i}" for i in range(12)]


def test_a_caller_who_leaves_takes_his_work_along(serving, network, png):
    with serving(network, workers=1) as running:
        network.go.clear()
        answers = running.pose.PredictStream(pb.PredictRequest(image=png, boxes=[WHOLE]) for _ in range(8))
        assert network.started.acquire(timeout=20)
        answers.cancel()
        with pytest.raises(grpc.RpcError):
            next(answers)
        running.wait_for_calls(0)
        network.go.set()
        assert running.pose.Predict(pb.PredictRequest(image=png, boxes=[WHOLE])).persons
        assert network.runs == 2


def test_a_reader_that_stands_still_holds_up_itself_only(serving, network, png):
    """Over the same connection, others go on; it is not computed ahead of, and gets everything once it reads."""
    light = pb.PredictRequest(image=png, boxes=[WHOLE])
    outputs = pb.Outputs(heatmaps=True, heatmap_type=pb.FLOAT32)
    heavy = pb.PredictRequest(image=png, outputs=outputs, boxes=[WHOLE] * 50)  # answers of 700 kB
    with serving(network, workers=2) as running:
        unread = running.pose.PredictStream(heavy for _ in range(30))
        for _ in range(5):
            assert running.pose.Predict(light, timeout=20).persons
        assert len(list(running.pose.PredictStream(iter([light] * 20), timeout=20))) == 20
        runs = -1
        while runs != network.runs:  # until it stands still
            runs = network.runs
            time.sleep(0.4)
        assert runs < 30 * 50
        assert running.pose.Predict(light, timeout=20).persons
        assert sum(len(answer.persons) for answer in unread) == 30 * 50


def test_stopping_ends_an_endless_stream_after_what_was_read(serving, network, png):
    inbox: queue.Queue[pb.PredictRequest | None] = queue.Queue()
    with serving(network) as running:
        answers = running.pose.PredictStream(iter(inbox.get, None))
        inbox.put(pb.PredictRequest(request_id="one", image=png, boxes=[WHOLE]))
        assert next(answers).request_id == "one"
        stopped = running.stop(grace=1.0)
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        assert caught.value.code() is CODE.UNAVAILABLE
        assert "shutting down" in caught.value.details()
        stopped.result(20)
        inbox.put(None)


def test_stopping_finishes_what_is_in_flight(serving, network, png):
    with serving(network, workers=2) as running:
        network.go.clear()
        request = pb.PredictRequest(image=png, boxes=[WHOLE])
        single = running.pose.Predict.future(request)
        stream = running.pose.PredictStream(iter([request] * 20))
        running.wait_for_calls(2)
        stopped = running.stop(grace=20)
        refused_by = time.monotonic() + 20
        while time.monotonic() < refused_by:  # until the stop has reached the loop
            try:
                running.pose.Predict(request, timeout=0.2)
            except grpc.RpcError as error:
                if error.code() is CODE.UNAVAILABLE:
                    break
        else:
            pytest.fail("new calls were let in")
        assert not stopped.done()
        threading.Timer(0.1, network.go.set).start()
        assert single.result(20).persons
        assert sum(bool(answer.persons) for answer in stream) == 20
        stopped.result(20)


def test_a_reader_that_fails_ends_the_stream_after_its_answers():
    async def requests():
        yield 1
        yield 2
        raise ValueError("malformed")

    async def answer(request: int) -> int:
        await asyncio.sleep(0.01 / request)  # later ones are done earlier
        return request * 10

    async def write(value: int) -> None:
        written.append(value)

    written: list[int] = []
    with pytest.raises(ValueError, match="malformed"):
        asyncio.run(answer_in_order(requests(), answer, write, 4, asyncio.Event()))
    assert written == [10, 20]


def test_a_slow_writer_is_not_read_ahead_of():
    taken: list[int] = []

    async def requests():
        for i in range(10):
            taken.append(i)
            yield i

    async def answer(request: int) -> int:
        return request

    async def main() -> None:
        stop, stuck = asyncio.Event(), asyncio.Event()

        async def write(value: int) -> None:
            await stuck.wait()

        task = asyncio.create_task(answer_in_order(requests(), answer, write, 2, stop))
        await asyncio.sleep(0.05)
        assert taken == [0, 1]
        stop.set()
        await asyncio.sleep(0.01)
        stuck.set()
        with pytest.raises(ShuttingDown):
            await task
        assert taken == [0, 1]

    asyncio.run(main())
