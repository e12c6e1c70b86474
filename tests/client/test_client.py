"""The client against a real port."""

from __future__ import annotations

import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2

from poseglass import (
    AsyncPoseClient,
    Box,
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    PoseClient,
    PoseglassError,
    Prediction,
    Unavailable,
    Unimplemented,
)


def test_joints_by_name_angles_and_echoes(client, jpeg):
    prediction = client.predict(jpeg, request_id="r7", timestamp_s=0.5)
    assert prediction.image_size == (48, 40)
    assert (prediction.request_id, prediction.timestamp_s) == ("r7", 0.5)
    (pose,) = prediction.poses
    assert pose["right_ankle"].x == pytest.approx(40 / 15)
    assert pose.angle("left_knee") == pytest.approx(180, abs=0.1)  # the fake's joints lie on a line
    assert len(pose) == 14


def test_paths_and_pixels(client, tmp_path, jpeg):
    path = tmp_path / "with space.jpg"
    path.write_bytes(jpeg)
    assert client.predict(path).image_size == client.predict(str(path)).image_size == (48, 40)
    assert client.predict(np.zeros((5, 9, 3), np.uint8)).image_size == (5, 9)
    assert client.predict(np.zeros((5, 9), np.uint8)).image_size == (5, 9)


def test_boxes_joints_thresholds_and_heatmaps(client, jpeg):
    prediction = client.predict(
        jpeg,
        boxes=[Box(0, 0, 10, 12), (5, 6, 10, 12, 30)],
        joints=["neck", "left_hip"],
        heatmaps=True,
        joint_threshold=0.5,
    )
    first, second = prediction.poses
    assert second.box == Box(5, 6, 10, 12, 30)
    assert first.names == ("neck",)  # the hip scores less
    assert first.heatmap_names == ("neck", "left_hip")
    assert first.heatmaps.values.shape == (2, 6, 5)
    assert np.unravel_index(first.heatmaps.values[0].argmax(), (6, 5)) == (2, 3)


def test_the_skeleton_is_fetched_once_a_model(server, client, jpeg):
    for _ in range(3):
        assert client.predict(jpeg).poses[0].skeleton.limbs
    assert server.poses.get_model_calls == 1
    server.poses.sha256 = "b" * 64
    client.predict(jpeg)
    client.predict(jpeg)
    assert server.poses.get_model_calls == 2


def test_a_model_replaced_between_the_calls_is_not_remembered(server, client, jpeg, monkeypatch):
    younger = server.poses.model()
    younger.ref.sha256 = "c" * 64
    monkeypatch.setattr(server.poses, "model", lambda: younger)
    assert client.predict(jpeg).poses
    client.predict(jpeg)
    assert server.poses.get_model_calls == 2


def test_a_late_answer_is_a_deadline_exceeded(server, client, jpeg):
    server.poses.silent.set()
    with pytest.raises(DeadlineExceeded, match="timeout"):
        client.predict(jpeg, timeout=0.2)
    with PoseClient(server.address, timeout=0.2) as hasty, pytest.raises(DeadlineExceeded):
        hasty.predict(jpeg)


def test_nobody_there(nobody):
    with PoseClient(nobody, retries=1) as client:
        for call in (client.health, client.models, client.model):
            with pytest.raises(Unavailable):
                call()
        with pytest.raises(Unavailable):
            list(client.stream([b"x"]))


def test_a_closed_client_says_so(server, jpeg):
    client = PoseClient(server.address)
    with client:
        client.predict(jpeg)
    for call in (lambda: client.predict(jpeg), client.health, lambda: list(client.stream([jpeg]))):
        with pytest.raises(ClientClosed):
            call()
    client.close()  # twice is fine


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"max_message_mb": 0}, "max_message_mb"),
        ({"max_message_mb": 4096}, "max_message_mb"),
        ({"address": ""}, "address"),
        ({"address": 3}, "address"),
        ({"address": "localhost"}, "address"),
        ({"address": "localhost:65536"}, "address"),
        ({"address": "http://localhost:50051"}, "address"),
        ({"address": "::1:50051"}, "address"),
        ({"address": "\udcff:1"}, "address"),
        ({"timeout": "x"}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": 1e10}, "timeout"),
        ({"max_message_mb": "x"}, "max_message_mb"),
        ({"max_message_mb": 1.5}, "max_message_mb"),
        ({"max_message_mb": True}, "max_message_mb"),
    ],
)
def test_settings_that_cannot_be(settings, field):
    for kind in (PoseClient, AsyncPoseClient):
        with pytest.raises(InvalidRequest) as caught:
            kind(**settings)
        assert caught.value.field == field


def test_models(client):
    ready, refused = client.models()
    assert (ready.ref.name, ready.state, ready.is_default, ready.licence) == ("fake", "READY", True, "research only")
    assert ready.manifest["evaluation"][0]["pck"] == 61.25
    assert (refused.state, refused.reason, refused.manifest) == ("REFUSED", "no parity", {})
    assert client.model("fake") == client.model() == ready
    with pytest.raises(ModelNotFound, match="horse"):
        client.model("horse")
    for arguments, field in ((("", -1), "version"), (("", "1"), "version"), ((3,), "model")):
        with pytest.raises(InvalidRequest) as caught:
            client.model(*arguments)
        assert caught.value.field == field


def test_reload(server, client):
    with pytest.raises(Unimplemented, match="no model repository"):
        client.reload()
    server.admin.changed = [server.poses.model()]
    assert client.reload() == [client.model()]


def test_health(server, client):
    assert client.health() is True
    server.set_health(False)
    assert client.health() is False


def test_one_client_serves_many_threads(client, jpeg):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.predict(jpeg))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(answer.poses) for answer in answers] == [1] * 8


def test_a_stream_answers_in_order_and_a_bad_picture_fails_alone(client, jpeg, tmp_path):
    good = np.zeros((10, 20, 3), np.uint8)
    images = [jpeg, b"text", good, tmp_path / "gone.jpg", np.zeros(3, np.uint8), jpeg]
    answers = list(client.stream(images, request_id="r"))
    assert [isinstance(a, Prediction) for a in answers] == [True, False, True, False, False, True]
    assert [a.image_size for a in answers if isinstance(a, Prediction)] == [(48, 40), (10, 20), (48, 40)]
    assert answers[1].field == "image.encoded"
    assert answers[1].request_id == "r"
    assert "gone.jpg" in str(answers[3])


def test_pictures_of_a_stream_may_have_options_of_their_own(server, client, jpeg):
    pairs = [(jpeg, {"boxes": [(i, 0, 5, 5)], "timestamp_s": i / 10}) for i in range(3)]
    answers = list(client.stream([*pairs, jpeg], joints=["neck"], timeout=4))
    assert [a.poses[0].box.x for a in answers] == [0, 1, 2, 0]
    assert [a.timestamp_s for a in answers] == [0, 0.1, 0.2, 0]
    assert {a.poses[0].names for a in answers} == {("neck",)}
    assert {request.timeout_ms for request in server.poses.requests} == {4000}


WRONG_ITEMS = [
    3,
    None,
    ("a", {}, {}),
    (b"x", 3),
    (b"x", {"flip": True}),
    (b"x", {"boxes": 3}),
    (b"x", {"model": "\udcff"}),
    "a\0b",
]


def test_an_item_of_a_wrong_type_fails_alone(client, jpeg):
    answers = list(client.stream([jpeg, *WRONG_ITEMS, jpeg]))
    assert [type(answer) for answer in answers] == [Prediction, *[InvalidRequest] * len(WRONG_ITEMS), Prediction]
    assert all(answer.field for answer in answers[1:-1])


def test_a_client_closed_inside_a_stream_says_so(client, jpeg):
    stream = client.stream(iter(lambda: jpeg, None))
    next(stream)
    client.close()
    with pytest.raises(ClientClosed):
        list(stream)


def test_a_client_closed_while_a_call_waits_says_so(server, client, jpeg):
    server.poses.silent.set()
    closing = threading.Timer(0.2, client.close)
    closing.start()
    with pytest.raises(ClientClosed):
        client.predict(jpeg)
    closing.join()


def test_a_server_that_comes_back_is_found_by_the_next_call(server, serving, jpeg):
    with PoseClient(server.address, timeout=10, retries=None) as client:
        client.predict(jpeg)
        server.stop()
        for _ in range(2):  # meanwhile the connection is tried again, at longer and longer intervals
            with pytest.raises((Unavailable, DeadlineExceeded)):
                client.health(timeout=0.5)
        serving(before=server)
        assert client.health()
        assert client.predict(jpeg).poses
        assert len(list(client.stream([jpeg, jpeg]))) == 2


def test_a_server_of_another_kind_is_told_from_an_old_one():
    stranger = grpc.server(futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{stranger.add_insecure_port('127.0.0.1:0')}"
    stranger.start()
    with PoseClient(address) as client:
        for call in (client.models, client.health, lambda: list(client.stream([b"x"]))):
            with pytest.raises(Unimplemented, match=f"{address} is not a Poseglass server"):
                call()
    stranger.stop(None).wait()


def test_an_empty_stream_is_empty(client):
    assert list(client.stream([])) == []


def test_a_stream_reads_lazily_within_bounds(client, jpeg):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield jpeg

    stream = client.stream(endless(), in_flight=3)
    assert read == []  # nothing before the first answer is asked for
    for taken in range(1, 6):
        next(stream)
        assert len(read) <= taken - 1 + 3
    stream.close()
    assert len(read) <= 4 + 3


def test_an_answer_does_not_wait_for_the_next_picture(client, jpeg):
    """As with a camera, whose next picture comes when it comes."""
    answered = threading.Event()

    def camera():
        yield jpeg
        assert answered.wait(10)
        yield jpeg

    stream = client.stream(camera())
    assert isinstance(next(stream), Prediction)
    answered.set()
    assert isinstance(next(stream), Prediction)
    assert list(stream) == []


def test_what_the_pictures_raise_is_raised_after_the_answers_before_it(client, jpeg):
    def images():
        yield jpeg
        raise OSError("the camera is gone")

    stream = client.stream(images())
    assert isinstance(next(stream), Prediction)
    with pytest.raises(OSError, match="camera"):
        next(stream)


def test_a_silent_server_ends_the_stream(server, client, jpeg, monkeypatch):
    monkeypatch.setattr("poseglass.stream_state.STREAM_GRACE", 0.1)
    server.poses.silent.set()
    with pytest.raises(DeadlineExceeded, match="silent"):
        list(client.stream([jpeg], timeout=0.2))


def test_a_stream_that_breaks_raises(server, client, jpeg, status):
    server.poses.statuses = [status(code_pb2.INTERNAL, "break the stream")]
    with pytest.raises(PoseglassError, match="break the stream"):
        list(client.stream([jpeg] * 3))


def test_a_stream_that_the_server_ends_early_raises(server, client, jpeg):
    server.poses.stop_after = 2
    stream = client.stream([jpeg] * 5, in_flight=1)
    assert [isinstance(next(stream), Prediction) for _ in range(2)] == [True, True]
    with pytest.raises(PoseglassError, match="ended the stream"):
        next(stream)


def test_a_server_that_goes_away_while_no_picture_is_on_its_way_is_noticed(server, client, jpeg):
    forever = threading.Event()

    def camera():
        yield jpeg
        forever.wait(20)

    stream = client.stream(camera())
    next(stream)
    server.grpc.stop(None).wait()
    with pytest.raises(PoseglassError):
        next(stream)
    forever.set()


def test_stream_settings_are_checked_at_once(client):
    with pytest.raises(TypeError, match="flip"):
        client.stream([], flip=True)
    for wrong in (0, "x", None):
        with pytest.raises(InvalidRequest, match="in_flight"):
            client.stream([], in_flight=wrong)
    for wrong in ("me.jpg", b"data", 3, None):
        with pytest.raises(InvalidRequest, match="images: must be a list"):
            client.stream(wrong)
    with pytest.raises(InvalidRequest):
        client.stream([], timeout=-1)


def test_no_thread_is_left_behind(client, jpeg):
    stream = client.stream(iter(lambda: jpeg, None), in_flight=2)
    next(stream)
    working = [thread for thread in threading.enumerate() if thread.name == "poseglass-stream"]
    assert working
    stream.close()
    for thread in working:
        thread.join(5)
        assert not thread.is_alive()
