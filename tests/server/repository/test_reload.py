"""A repository behind a server: reloaded, watched, and while requests are in flight."""

from __future__ import annotations

import asyncio
import json
import shutil
import weakref
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_proto.v1 import pose_pb2_grpc
from poseglass_server.admin import is_local
from poseglass_server.catalogue import RepositoryCatalogue
from poseglass_server.repository import Repository

CODE = grpc.StatusCode


def readiness(running: Any, service: str = "poseglass.v1.PoseService") -> str:
    """What the health service says."""
    check = health_pb2_grpc.HealthStub(running.channel).Check
    status = check(health_pb2.HealthCheckRequest(service=service)).status
    return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


def test_reload_answers_with_what_it_did(watched, loader, lay, folder, png, put, reload):
    lay("a", 1)
    with watched() as running:
        assert running.pose.Predict(pb.PredictRequest(image=png)).model.version == 1
        sha256 = lay("a", 2)
        put(folder / "a" / "3" / "model.onnx", b"broken")
        shutil.rmtree(folder / "a" / "1")
        ready, refused, retired = reload(running)
        assert (ready.ref.version, ready.state, ready.is_default) == (2, pb.READY, True)
        assert json.loads(ready.manifest_json)["name"] == "a"
        assert (refused.ref.version, refused.state, refused.kind) == (3, pb.REFUSED, pb.POSE)
        assert "not a model" in refused.reason
        assert (retired.ref.version, retired.state) == (1, pb.RETIRING)
        answer = running.pose.Predict(pb.PredictRequest(image=png))
        assert (answer.model.version, answer.model.sha256) == (2, sha256)
        listed = running.pose.ListModels(pb.ListModelsRequest()).models
        assert [(m.ref.version, m.state) for m in listed] == [(2, pb.READY), (3, pb.REFUSED)]
        assert running.pose.GetModel(pb.GetModelRequest(name="a", version=3)) == refused
        assert running.pose.GetModel(pb.GetModelRequest(name="a")) == running.pose.GetModel(pb.GetModelRequest())


def test_get_model_tells_of_a_broken_file_in_the_place_of_what_serves(watched, loader, lay, folder, put, reload):
    sha256 = lay("a", 1)
    with watched() as running:
        put(folder / "a" / "1" / "model.onnx", b"broken")
        reload(running)
        found = running.pose.GetModel(pb.GetModelRequest(name="a", version=1))
        assert (found.state, found.ref.sha256) == (pb.READY, sha256)
        assert "not a model that can be loaded" in found.reason


def test_a_retired_model_can_still_be_asked_about(watched, loader, lay, folder, put, png, refused, reload):
    lay("a", 1)
    with watched() as running:
        before = running.pose.GetModel(pb.GetModelRequest(name="a", version=1))
        lay("a", 2)
        shutil.rmtree(folder / "a" / "1")
        reload(running)
        after = running.pose.GetModel(pb.GetModelRequest(name="a", version=1))
        assert (after.state, after.ref, after.joints) == (pb.RETIRING, before.ref, before.joints)
        assert after.manifest_json == before.manifest_json
        request = pb.PredictRequest(image=png, model="a", version=1)
        refused(lambda: running.pose.Predict(request), CODE.NOT_FOUND, "version")
        put(folder / "a" / "1" / "model.onnx", b"broken")
        reload(running)
        there = running.pose.GetModel(pb.GetModelRequest(name="a", version=1))
        assert (there.state, there.joints, there.manifest_json) == (pb.REFUSED, before.joints, before.manifest_json)
        assert there.ref != before.ref


def test_requests_in_flight_end_on_the_model_they_began_on(watched, loader, lay, png, eventually, reload):
    old = lay("a", 1, "old")
    with watched() as running:
        network = loader.networks["a/1"]
        gone = weakref.ref(network)
        network.go.clear()
        call = running.pose.Predict.future(pb.PredictRequest(image=png, boxes=[pb.Box(width=9, height=9)]), timeout=30)
        assert network.started.acquire(timeout=20)
        new = lay("a", 1, "new")
        reload(running)
        request = pb.PredictRequest(image=png)
        listed = running.pose.ListModels(pb.ListModelsRequest()).models
        assert [(m.state, m.ref.sha256) for m in listed] == [(pb.READY, new), (pb.RETIRING, old)]
        network.go.set()
        del network
        assert call.result().model.sha256 == old
        assert running.pose.Predict(request).model.sha256 == new
        del call
        eventually(lambda: gone() is None)
        assert len(running.pose.ListModels(pb.ListModelsRequest()).models) == 1


def test_loading_holds_up_nobody(watched, loader, lay, png):
    lay("a", 1)
    with watched() as running:
        lay("a", 2)
        loader.go.clear()
        reloading = pose_pb2_grpc.AdminServiceStub(running.channel).Reload.future(pb.ReloadRequest())
        for _ in range(2):
            assert loader.started.acquire(timeout=20)
        listed = running.pose.ListModels(pb.ListModelsRequest()).models
        assert [(m.ref.version, m.state) for m in listed] == [(1, pb.READY), (2, pb.LOADING)]
        assert running.pose.Predict(pb.PredictRequest(image=png)).model.version == 1
        loader.go.set()
        assert [m.ref.version for m in reloading.result(20).models] == [2]
        assert running.pose.Predict(pb.PredictRequest(image=png)).model.version == 2
        assert running.pose.Predict(pb.PredictRequest(image=png, model="a", version=1)).model.version == 1


def test_concurrent_reloads_share_a_look_that_began_after_them(folder, loader, lay, states):
    lay("a", 1)

    async def ask() -> list[list[tuple[str, int, str]]]:
        catalogue = RepositoryCatalogue(Repository(folder, loader))
        loader.go.clear()
        first = asyncio.create_task(catalogue.reload())
        await asyncio.to_thread(loader.started.acquire)
        lay("a", 2)  # the look that runs has passed by
        others = [asyncio.create_task(catalogue.reload()) for _ in range(5)]
        await asyncio.sleep(0)
        others[0].cancel()  # takes nothing from the rest
        loader.go.set()
        answers = [states(await task) for task in [first, *others[1:]]]
        await catalogue.close()
        return answers

    first, *others = asyncio.run(ask())
    assert first == [("a", 1, "ready")]
    assert others == [[("a", 2, "ready")]] * 4
    assert loader.loaded == ["a/1", "a/2"]


def test_a_watched_directory_needs_nobody_to_ask(watched, loader, lay, folder, png, caplog, eventually):
    caplog.set_level("INFO")
    lay("a", 1)
    with watched(watch=0.02) as running:
        lay("a", 2)
        eventually(lambda: running.pose.Predict(pb.PredictRequest(image=png)).model.version == 2)
        folder.rename(folder.with_name("away"))
        eventually(lambda: "what is loaded is served on" in caplog.text)
        folder.with_name("away").rename(folder)
        shutil.rmtree(folder / "a" / "2")
        eventually(lambda: running.pose.Predict(pb.PredictRequest(image=png)).model.version == 1)
    assert "loaded a version 2" in caplog.text
    assert "retired a version 2" in caplog.text
    assert caplog.text.count("what is loaded is served on") == 1


def test_a_server_without_models_is_alive_and_not_ready(watched, loader, lay, folder, png, refused, put, reload):
    put(folder / "a" / "1" / "model.onnx", b"broken")
    with watched() as running:
        assert readiness(running, "") == "SERVING"
        assert readiness(running) == "NOT_SERVING"
        text = refused(lambda: running.pose.Predict(pb.PredictRequest(image=png)), CODE.UNAVAILABLE)
        assert "no pose model is ready; a version 1: a/1/model.onnx: not a model" in text
        refused(lambda: running.pose.Predict(pb.PredictRequest(image=png, model="a")), CODE.UNAVAILABLE)
        refused(lambda: running.pose.Predict(pb.PredictRequest(image=png, model="b")), CODE.NOT_FOUND)
        refused(lambda: running.pose.GetModel(pb.GetModelRequest()), CODE.UNAVAILABLE)
        assert running.pose.GetModel(pb.GetModelRequest(name="a")).state == pb.REFUSED
        lay("a", 1)
        reload(running)
        assert readiness(running) == "SERVING"
        assert running.pose.Predict(pb.PredictRequest(image=png)).model.name == "a"
        shutil.rmtree(folder / "a")
        reload(running)
        assert readiness(running) == "NOT_SERVING"
        text = refused(lambda: running.pose.Predict(pb.PredictRequest(image=png)), CODE.UNAVAILABLE)
        assert "the repository has none" in text


def test_readiness_waits_for_the_default_model(watched, loader, lay, reload):
    lay("a", 1)
    with watched(default="b") as running:
        assert readiness(running) == "NOT_SERVING"
        lay("b", 1)
        reload(running)
        assert readiness(running) == "SERVING"


def test_a_detector_that_is_refused_is_named_so(watched, loader, lay, folder, png, refused, put, reload):
    lay("a", 1)
    put(folder / "finder" / "1" / "model.onnx", b"broken")
    with watched() as running:
        request = pb.PredictRequest(image=png, detector="finder")
        assert "finder version 1 is not ready" in refused(lambda: running.pose.Predict(request), CODE.UNAVAILABLE)
        lay("finder", 1, kind="detector")
        reload(running)
        assert running.pose.Predict(request).detector.name == "finder"


def test_reload_is_refused_where_it_cannot_be(watched, loader, lay, folder, serving, network, refused, reload):
    with serving(network) as running:
        assert "--models" in refused(lambda: reload(running), CODE.UNIMPLEMENTED)
    lay("a", 1)
    with watched() as running:
        folder.rename(folder.with_name("away"))
        assert "cannot be read" in refused(lambda: reload(running), CODE.FAILED_PRECONDITION)
        assert readiness(running) == "SERVING"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:127.0.0.1:4711", True),
        ("ipv4:127.1.2.3:4711", True),
        ("ipv6:%5B::1%5D:4711", True),
        ("ipv6:[::1]:4711", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:4711", True),
        ("unix:", True),
        ("unix:/run/pose.sock", True),
        ("ipv4:128.0.0.1:4711", False),
        ("ipv4:10.0.0.7:4711", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", False),
        ("ipv6:%5B2001:db8::1%5D:4711", False),
        ("ipv4:127.0.0.1.example.org:4711", False),
        ("", False),
    ],
)
def test_operators_are_told_by_where_they_call_from(peer, expected):
    assert is_local(peer) is expected
