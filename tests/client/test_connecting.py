"""Where servers are, how often they are asked, and for how long."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from google.rpc import code_pb2

from poseglass import AsyncPoseClient, ClientClosed, InvalidRequest, Overloaded, PoseClient, Unavailable
from poseglass.exchange import Exchange
from poseglass.targets import target


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Waits that take no time worth mentioning."""
    monkeypatch.setattr("poseglass.retrying.INITIAL", 0.001)


def predict_sync(address, jpeg, **settings):
    with PoseClient(address, **{"timeout": 10, **settings}) as client:
        return client.predict(jpeg)


def predict_async(address, jpeg, **settings):
    async def main():
        async with AsyncPoseClient(address, **{"timeout": 10, **settings}) as client:
            return await client.predict(jpeg)

    return asyncio.run(main())


@pytest.fixture(params=[predict_sync, predict_async], ids=["sync", "async"])
def predict(request):
    return request.param


@pytest.fixture
def away(status):
    return status(code_pb2.UNAVAILABLE, "restarting")


def test_a_server_that_is_away_is_asked_again(server, predict, jpeg, away):
    server.poses.statuses = [away] * 3
    assert predict(server.address, jpeg + bytes(300 << 10)).poses  # more than gRPC would repeat
    assert len(server.poses.requests) == 4


def test_a_busy_server_is_asked_again_when_it_says_for_the_time_that_is_left(server, predict, jpeg, status, retry):
    server.poses.statuses = [status(code_pb2.RESOURCE_EXHAUSTED, "full", retry(0.5))]
    assert predict(server.address, jpeg, timeout=10).poses
    first, second = server.poses.timeouts
    assert 0 < first < 10.2  # gRPC sends it rounded up
    assert 0 < second < 9.7


def test_no_wait_is_longer_than_the_timeout(server, predict, jpeg, away, status, retry):
    server.poses.statuses = [away, status(code_pb2.RESOURCE_EXHAUSTED, "full", retry(0.9)), away]
    with pytest.raises(Overloaded, match="asked 2 times in .* s, UNAVAILABLE before") as caught:
        predict(server.address, jpeg, timeout=0.8)
    assert caught.value.retry_after == 0.9
    assert len(server.poses.requests) == 2


@pytest.mark.parametrize("retries", [0, 2])
def test_so_many_retries_and_no_more(server, predict, jpeg, away, retries):
    server.poses.statuses = [away] * 10
    with pytest.raises(Unavailable, match="restarting"):
        predict(server.address, jpeg, retries=retries)
    assert len(server.poses.requests) == 1 + retries


def test_closing_ends_the_wait(server, jpeg, status, retry):
    server.poses.statuses = [status(code_pb2.RESOURCE_EXHAUSTED, "full", retry(0.9))] * 9
    client = PoseClient(server.address, timeout=1000, retries=None)
    closing = threading.Timer(0.2, client.close)
    closing.start()
    with pytest.raises(ClientClosed):
        client.predict(jpeg)
    closing.join()
    assert len(server.poses.requests) == 1


@pytest.mark.parametrize(
    ("given", "uri", "loopback"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051", True),
        ("localhost:0", "localhost:0", True),
        ("[::1]:50051", "[::1]:50051", True),
        ("pose-1.example.org:65535", "pose-1.example.org:65535", False),
        ("dns:///poses:50051", "dns:///poses:50051", False),
        ("dns:///localhost:50051", "dns:///localhost:50051", True),
        ("dns://1.1.1.1/poses:50051", "dns://1.1.1.1/poses:50051", False),
        ("127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2", True),
        ("ipv4:127.0.0.1:1, 10.0.0.1:2", "ipv4:127.0.0.1:1,10.0.0.1:2", False),
        ("[::1]:1,[fe80::1]:2", "ipv6:[::1]:1,[fe80::1]:2", False),
        ("ipv6:[::1]:1", "ipv6:[::1]:1", True),
    ],
)
def test_addresses(given, uri, loopback):
    found = target(given)
    assert (found.text, found.uri, found.loopback) == (given, uri, loopback)
    PoseClient(given).close()


@pytest.mark.parametrize(
    "given",
    [
        "dns:///poses",
        "dns:////poses:1",
        "a:1,b:2",
        "127.0.0.1:1,",
        "127.0.0.1:1,127.0.0.2",
        "127.0.0.1:1,[::1]:2",
        "ipv6:127.0.0.1:1",
        "ipv4:poses:1",
        "unix:/tmp/poses",
        "127.0.0.1:99999",
    ],
)
def test_what_is_no_address(given):
    with pytest.raises(InvalidRequest) as caught:
        PoseClient(given)
    assert caught.value.field == "address"


def test_a_name_is_looked_up(server, jpeg):
    assert predict_sync(f"dns:///localhost:{server.address.partition(':')[2]}", jpeg).poses


def test_calls_go_round_several_servers_and_around_one_that_is_gone(serving, jpeg):
    servers = [serving(), serving()]
    with PoseClient(",".join(server.address for server in servers), timeout=10) as client:
        for _ in range(1000):
            client.predict(jpeg)
            if all(server.poses.requests for server in servers):
                break
        else:
            pytest.fail("one server got all calls")
        gone, stays = servers
        gone.stop()
        before = len(stays.poses.requests)
        for _ in range(5):
            assert client.predict(jpeg).poses
        assert len(stays.poses.requests) == before + 5


def test_keepalive():
    def ping(**settings):
        return dict(Exchange("127.0.0.1:1", **settings).channel_options()).get("grpc.keepalive_time_ms")

    assert ping() == 60_000
    assert ping(keepalive=120) == 120_000
    assert ping(keepalive=None) is None
    for wrong in (0, 1, "x"):
        with pytest.raises(InvalidRequest, match="keepalive"):
            ping(keepalive=wrong)


def test_settings_that_cannot_be():
    for settings in ({"retries": -1}, {"retries": 1.5}, {"tls": "yes"}, {"server_name": 3}, {"insecure": 1}):
        with pytest.raises(InvalidRequest) as caught:
            PoseClient(**settings)
        assert [caught.value.field] == list(settings)
    with pytest.raises(TypeError, match="retry"):
        PoseClient(retry=3)


def test_a_server_that_takes_its_time_to_shake_hands_is_waited_for(server):
    """Half a second was once all that connecting might take, which a distant server cannot keep."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        late = threading.Thread(target=forward_late, args=(listener, server.address), daemon=True)
        late.start()
        with PoseClient(f"127.0.0.1:{listener.getsockname()[1]}", timeout=10, retries=0) as client:
            assert client.health()


def forward_late(listener: socket.socket, address: str) -> None:
    """Answer one connection after a while, with what a server says."""
    inside, _ = listener.accept()
    time.sleep(0.7)
    host, port = address.split(":")
    outside = socket.create_connection((host, int(port)))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()

    threading.Thread(target=pump, args=(inside, outside), daemon=True).start()
    pump(outside, inside)
