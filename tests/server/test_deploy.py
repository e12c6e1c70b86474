"""The files in deploy/ and the compose file: what they name exists."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from poseglass_server.commands import serve
from poseglass_server.metrics import Metrics
from poseglass_server.models import Models

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVERS = {name: COMPOSE["services"][name] for name in ("server", "gpu")}
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/poseglass.json").read_text())


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / name).read_text())


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """Names of the server's metrics, as Prometheus stores them."""
    metrics = Metrics()
    metrics.tell_models(lambda: Models([]))
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    return {family.name + suffix for family in metrics.registry.collect() for suffix in suffixes[family.type]}


def expressions() -> list[str]:
    """All that the dashboard asks Prometheus."""
    variables = [
        variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"
    ]
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + variables


def test_the_dashboard_asks_for_metrics_that_there_are(exposed):
    asked = {name for text in expressions() for name in re.findall(r"\b(?:poseglass|process)_\w+", text)}
    assert asked <= exposed
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in exposed if name.startswith("poseglass_")}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    assert ours <= shown, "every metric is on the dashboard"
    for text in expressions():
        assert text.count("(") == text.count(")"), text
        assert "histogram_quantile" not in text or "sum by (le" in text, text


def test_the_dashboard_is_one_that_grafana_takes():
    assert DASHBOARD["schemaVersion"] >= 39
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)
    assert DASHBOARD["uid"] == "poseglass"
    (source,) = load("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")


def test_the_page_says_what_each_metric_is(exposed):
    page = (ROOT / "docs/serving.md").read_text()
    named = {re.sub("_(bucket|sum|count)$", "", name) for name in exposed if name.startswith("poseglass_")}
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_prometheus_looks_where_the_servers_tell():
    (job,) = load("prometheus.yml")["scrape_configs"]
    (places,) = job["dns_sd_configs"]
    assert set(places["names"]) == set(SERVERS)
    for service in SERVERS.values():
        command = " ".join(service["command"]).replace("=", " ")
        assert f"--metrics-port {places['port']}" in command
        assert "--metrics-host 0.0.0.0" in command


def test_what_the_servers_are_told_are_options_of_theirs():
    app = typer.Typer()
    app.command()(serve)
    known = {option for parameter in typer.main.get_command(app).params for option in parameter.opts}
    for service in SERVERS.values():
        first, *options = service["command"]
        assert first == "serve"
        assert {option.split("=")[0] for option in options if option.startswith("--")} <= known


def test_ports_are_of_this_machine_and_all_different():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published) == 4


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_services_get_no_more_than_they_need(name):
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "build" in service or service["image"] == "poseglass" or re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("./deploy"):
            assert (ROOT / source).exists()
            assert volume.endswith(":ro")


def test_the_gpu_image_is_built_with_its_extra():
    service = SERVERS["gpu"]
    dockerfile = (ROOT / "server/Dockerfile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (argument,) = service["build"]["args"].items()
    assert argument == ("EXTRA", "gpu")
    assert set(re.findall(r"^ARG EXTRA=(\w+)$", dockerfile, re.MULTILINE)) == {"cpu"}
    assert "whl)[$EXTRA]" in dockerfile
    assert re.split("[>=]", extras["gpu"][0])[0] == "onnxruntime-gpu[cuda,cudnn]"
    assert extras["gpu"][1:] == extras["cpu"][1:]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "--device=cuda" in service["command"]
