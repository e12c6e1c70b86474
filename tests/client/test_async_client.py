"""The client for asyncio against a real port."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from google.rpc import code_pb2

from poseglass import (
    AsyncPoseClient,
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    PoseglassError,
    Prediction,
    Unavailable,
)


def asked(server, use, **settings):
    """What `use(client)` gives, in an event loop of its own."""

    async def main():
        address = server if isinstance(server, str) else server.address
        async with AsyncPoseClient(address, **settings) as client:
            return await use(client)

    return asyncio.run(main())


async def collect(stream):
    return [answer async for answer in stream]


def test_predict(server, jpeg):
    async def use(client):
        return await asyncio.gather(*[client.predict(jpeg, request_id=str(i)) for i in range(5)])

    answers = asked(server, use)
    assert [a.request_id for a in answers] == ["0", "1", "2", "3", "4"]
    assert all(len(a.poses[0]) == 14 for a in answers)


def test_errors_are_the_same(server, jpeg, bad):
    server.poses.statuses = [bad(("boxes", "too many"))]

    async def use(client):
        with pytest.raises(InvalidRequest) as caught:
            await client.predict(jpeg)
        assert caught.value.field == "boxes"
        with pytest.raises(InvalidRequest, match="cannot be read"):
            await client.predict("gone.jpg")
        with pytest.raises(ModelNotFound):
            await client.model("horse")
        server.poses.silent.set()
        with pytest.raises(DeadlineExceeded):
            await client.predict(jpeg, timeout=0.2)

    asked(server, use)


def test_nobody_there(nobody, jpeg):
    async def use(client):
        for call in (client.health(), client.predict(jpeg), collect(client.stream([jpeg]))):
            with pytest.raises(Unavailable):
                await call

    asked(nobody, use, retries=1)


def test_models_health_and_closing(server):
    async def use(client):
        assert [m.ref.name for m in await client.models()] == ["fake", "broken"]
        assert (await client.model()).is_default
        server.admin.changed = [server.poses.model()]
        assert await client.reload() == [await client.model()]
        assert await client.health() is True
        server.set_health(False)
        assert await client.health() is False
        await client.close()
        with pytest.raises(ClientClosed):
            await client.health()

    asked(server, use)


def test_a_client_may_be_made_outside_of_a_loop_and_the_skeleton_is_fetched_once(server, jpeg):
    client = AsyncPoseClient(server.address)

    async def main():
        async with client:
            await client.predict(jpeg)
            await client.predict(jpeg)

    asyncio.run(main())
    assert server.poses.get_model_calls == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_answers_in_order_and_a_bad_picture_fails_alone(server, jpeg, asynchronous):
    images = [jpeg, b"text", (np.zeros((10, 20, 3), np.uint8), {"joints": ["neck"]}), "gone.jpg", jpeg]

    async def each():
        for image in images:
            await asyncio.sleep(0)
            yield image

    answers = asked(server, lambda client: collect(client.stream(each() if asynchronous else images, in_flight=2)))
    assert [isinstance(a, Prediction) for a in answers] == [True, False, True, False, True]
    assert answers[1].field == "image.encoded"
    assert answers[2].poses[0].names == ("neck",)


def test_a_stream_reads_lazily_within_bounds_and_ends_when_left(server, jpeg):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield jpeg

    async def use(client):
        stream = client.stream(endless(), in_flight=3)
        for taken in range(1, 6):
            await anext(stream)
            assert len(read) <= taken - 1 + 3
        await stream.aclose()
        count = len(read)
        await asyncio.sleep(0.05)
        assert len(read) == count

    asked(server, use)


def test_what_the_pictures_raise_is_raised_after_the_answers_before_it(server, jpeg):
    async def camera():
        yield jpeg
        raise OSError("the camera is gone")

    async def use(client):
        stream = client.stream(camera())
        assert isinstance(await anext(stream), Prediction)
        with pytest.raises(OSError, match="camera"):
            await anext(stream)

    asked(server, use)


def test_a_silent_server_ends_the_stream(server, jpeg, monkeypatch):
    monkeypatch.setattr("poseglass.stream_state.STREAM_GRACE", 0.1)
    server.poses.silent.set()

    async def use(client):
        with pytest.raises(DeadlineExceeded, match="silent"):
            await collect(client.stream([jpeg], timeout=0.2))

    asked(server, use)


def test_a_stream_that_breaks_raises(server, jpeg, status):
    server.poses.statuses = [status(code_pb2.INTERNAL, "break the stream")] * 9

    async def use(client):
        # grpc.aio may lose the server's own words where they cross a picture on its way (grpc/grpc#36066): then it is
        # asked again.
        with pytest.raises(PoseglassError, match=r"break the stream|ended the stream"):
            await collect(client.stream([jpeg] * 3))

    asked(server, use, retries=1)


def test_a_stream_that_the_server_ends_early_raises(server, jpeg):
    server.poses.stop_after = 2

    async def use(client):
        stream = client.stream([jpeg] * 5, in_flight=1)
        await anext(stream)
        await anext(stream)
        with pytest.raises(PoseglassError, match="ended the stream"):
            await anext(stream)

    asked(server, use)


def test_a_cancelled_task_is_cancelled_and_the_client_goes_on(server, jpeg):
    async def use(client):
        server.poses.silent.set()
        task = asyncio.create_task(client.predict(jpeg))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.poses.silent.clear()
        assert (await client.predict(jpeg)).poses

    asked(server, use)


def test_an_item_of_a_wrong_type_fails_alone(server, jpeg):
    wrong = [3, None, ("a", {}, {}), (b"x", 3), (b"x", {"flip": True}), (b"x", {"boxes": 3})]
    answers = asked(server, lambda client: collect(client.stream([jpeg, *wrong, jpeg])))
    assert [type(answer) for answer in answers] == [Prediction, *[InvalidRequest] * len(wrong), Prediction]


def test_a_client_closed_inside_a_stream_or_a_call_says_so(server, jpeg):
    async def use(client):
        stream = client.stream(iter(lambda: jpeg, None))
        await anext(stream)
        server.poses.silent.set()
        waiting = [asyncio.create_task(client.predict(jpeg)), asyncio.create_task(collect(client.stream([jpeg])))]
        await asyncio.sleep(0.1)
        await client.close()
        for call in (collect(stream), *waiting):
            with pytest.raises(ClientClosed):
                await call

    asked(server, use)


@pytest.mark.parametrize("who", ["client", "server"])
def test_an_end_while_no_picture_is_on_its_way_is_noticed(server, jpeg, who):
    async def camera():
        yield jpeg
        await asyncio.sleep(20)

    async def use(client):
        stream = client.stream(camera())
        assert isinstance(await anext(stream), Prediction)
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.1)
        await (client.close() if who == "client" else asyncio.to_thread(server.grpc.stop, None))
        with pytest.raises(ClientClosed if who == "client" else PoseglassError):
            await waiting

    asked(server, use)
