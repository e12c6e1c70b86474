"""`poseglass doctor`. Imports little at the top: it must run where the rest does not."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated

import typer

import poseglass_models
from poseglass.cli import FAILED
from poseglass.commands.console import print_table, stdout

if TYPE_CHECKING:
    from poseglass_runtime.detector import DetectorEngine
    from poseglass_runtime.engine import Engine

BASE = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health.v1.health_pb2",
    "protobuf": "google.protobuf",
    "jsonschema": "jsonschema",
    "typer": "typer",
    "rich": "rich",
}
"""Distribution -> module that shows it works: what nothing works without."""

EXTRAS = {
    "cpu": {"onnxruntime": "onnxruntime", "pillow": "PIL.Image", "grpcio-reflection": "grpc_reflection.v1alpha"},
    "training": {"torch": "torch", "matplotlib": "matplotlib"},
    "export": {"onnx": "onnx", "onnxscript": "onnxscript"},
}
"""The same for each extra."""

REINSTALL = "pip install --force-reinstall poseglass"

WHAT_FOR = {"cpu": "predict in-process and serve", "training": "train and evaluate", "export": "export to ONNX"}


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: of the thing.
        state: "ok", "absent" (not installed, and needed only for more) or "broken".
        detail: what was found.
        remedy: what to do where it is not ok.
    """

    name: str
    state: str
    detail: str
    remedy: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False) -> None:
    """Check this installation: versions, extras, what can compute, whether the shipped models load.

    Exit code 1 where something is broken. An extra that is not installed is not.
    """
    checks = list(examine())
    broken = [check for check in checks if check.state == "broken"]
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        marks = {"ok": "ok", "absent": "--", "broken": "!!"}
        rows = [(marks[check.state], check.name, check.detail, check.remedy) for check in checks]
        print_table(stdout(), ("", "what", "found", "to do"), rows)
        typer.echo(f"{len(broken)} broken" if broken else "nothing broken")
    if broken:
        raise typer.Exit(FAILED)


def examine() -> Iterator[Check]:
    """Every check, in the order in which one thing needs another."""
    yield Check("Python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield Check("poseglass", "ok", version("poseglass"))
    for distribution, module in BASE.items():
        yield _package(distribution, module, REINSTALL)
    usable: dict[str, bool] = {}
    for extra, packages in EXTRAS.items():
        todo = f'pip install "poseglass[{extra}]"'
        found = [_package(name, module, todo) for name, module in packages.items()]
        yield from found
        usable[extra] = all(check.state == "ok" for check in found) and (extra != "export" or all(usable.values()))
        if usable[extra]:
            yield Check(f"extra [{extra}]", "ok", f"can {WHAT_FOR[extra]}")
        else:
            yield Check(f"extra [{extra}]", "absent", f"needed to {WHAT_FOR[extra]}", todo)
    if usable["cpu"]:
        todo = "reinstall onnxruntime: keep one of onnxruntime and onnxruntime-gpu, not both"
        yield _guarded("compute", _devices, todo)
        yield from _shipped()


def _shipped() -> Iterator[Check]:
    """Whether the shipped models are there, and load."""
    names = poseglass_models.names()
    if not names:
        yield Check("shipped models", "broken", "none is there", REINSTALL)
    for name in names:
        yield _guarded(f"model {name}", partial(_model, name), REINSTALL)
    detector = poseglass_models.detector()
    if detector is None:
        yield Check("shipped detector", "absent", "needed to find everybody in a picture", "name one: --detector FILE")
    else:
        yield _guarded(f"detector {detector}", partial(_detector, detector), REINSTALL)


def _package(distribution: str, module: str, remedy: str) -> Check:
    """Whether a package is there, and really loads."""
    found = ""
    for name in _alternatives(distribution):
        try:
            found = f"{name} {version(name)}" if name != distribution else version(name)
            break
        except PackageNotFoundError:
            continue
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        state = "broken" if found or distribution in BASE else "absent"
        return Check(distribution, state, f"{error.name} is not installed", remedy)
    except Exception as error:  # a package can fail to load in any way: a missing libGL, a half-done upgrade
        return Check(distribution, "broken", f"{found or 'installed'}, but does not load ({error})", remedy)
    return Check(distribution, "ok", found or "installed")


def _alternatives(distribution: str) -> list[str]:
    """Distributions that give the same module."""
    others = {
        "onnxruntime": ["onnxruntime-gpu"],
        "opencv-python-headless": ["opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"],
    }
    return [distribution, *others.get(distribution, [])]


def _devices() -> str:
    from poseglass_runtime.engine import describe_devices

    found = describe_devices()
    return f"{', '.join(found['providers'])}; {found['threads']} threads, from {found['threads_from']}"


def _model(name: str) -> str:
    from poseglass.local import load

    return _loaded(load(name, "cpu"))


def _detector(name: str) -> str:
    from poseglass.local import load_detector

    return _loaded(load_detector(name, "cpu"))


def _loaded(engine: Engine | DetectorEngine) -> str:
    size = engine.manifest.input_size
    return f"version {engine.ref.version}, {size[1]} x {size[0]}, loads and runs on {engine.provider}"


def _guarded(name: str, look: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, "ok", look())
    except Exception as error:  # whatever goes wrong here is what the doctor is asked about
        return Check(name, "broken", f"{type(error).__name__}: {error}", remedy)
