"""The house: who may import whom, what stays out of which package, and that generated code is as generated."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = {
    "poseglass_proto": "proto",
    "poseglass_core": "core",
    "poseglass_models": "models",
    "poseglass_runtime": "runtime",
    "poseglass_training": "training",
    "poseglass_export": "export",
    "poseglass_server": "server",
    "poseglass": "client",
}

MAY_IMPORT = {
    "poseglass_proto": set(),
    "poseglass_core": set(),
    "poseglass_models": set(),
    "poseglass_runtime": {"poseglass_core", "poseglass_models"},
    # `evaluate` measures any predictor: the runtime's, and a server's through the client.
    "poseglass_training": {"poseglass_core", "poseglass_models", "poseglass_runtime", "poseglass"},
    "poseglass_export": {"poseglass_core", "poseglass_models", "poseglass_training", "poseglass_runtime"},
    "poseglass_server": {"poseglass_core", "poseglass_models", "poseglass_proto", "poseglass_runtime"},
    # The command line finds its commands by name; of these only `inspect --layers` reaches into training.
    "poseglass": {"poseglass_core", "poseglass_models", "poseglass_proto", "poseglass_runtime", "poseglass_training"},
}

LAZY = {"poseglass": {"poseglass_runtime", "poseglass_training"}, "poseglass_training": {"poseglass"}}
"""Packages that may be imported inside functions only."""


def imports_of(file: Path) -> list[tuple[str, bool]]:
    """(top-level package, whether at module level) of every import, those for type checking apart."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    inner = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        found += [(name.split(".")[0], id(node) not in inner) for name in names]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package):
    for file in (ROOT / PACKAGES[package] / package).rglob("*.py"):
        for name, at_top in imports_of(file):
            if name in PACKAGES and name != package:
                assert name in MAY_IMPORT[package], f"{file} imports {name}"
                assert not (at_top and name in LAZY.get(package, ())), f"{file} imports {name} at module level"
            if name == "onnxruntime":
                gate = file.name in {"gate.py", "detector_gate.py"} and package == "poseglass_export"
                assert gate or (package, file.name) == ("poseglass_runtime", "engine.py"), f"{file} imports onnxruntime"


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            [
                "poseglass_core." + m
                for m in (
                    *("decode", "detector_manifest", "drawing", "files", "geometry", "manifest", "metrics", "oks"),
                    *("poses", "skeleton"),
                )
            ],
            ["torch", "onnxruntime", "grpc", "onnx", "PIL"],
        ),
        (["poseglass", "poseglass.cli"], ["torch", "onnxruntime", "onnx", "PIL", "matplotlib"]),
        (["poseglass_runtime.predictor", "poseglass_runtime.images"], ["torch", "onnxruntime", "grpc"]),
        (["poseglass_runtime.engine"], ["torch", "grpc", "onnx"]),
        (["poseglass_server.server", "poseglass_server.service", "poseglass_server.commands"], ["torch", "onnx"]),
        (["poseglass_training.annotations", "poseglass_training.evaluation"], ["torch", "onnxruntime", "grpc"]),
    ],
)
def test_imports_stay_light(modules, absent):
    code = f"import sys, {', '.join(modules)}; print(*[m for m in {absent!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_generated_code_is_what_the_contract_generates(tmp_path):
    import google.rpc.status_pb2
    import grpc_tools
    from grpc_tools import protoc

    includes = [
        ROOT / "proto",
        Path(google.rpc.status_pb2.__file__).parents[2],
        Path(grpc_tools.__file__).parent / "_proto",
    ]
    sources = [Path("poseglass_proto/v1/pose.proto"), Path("poseglass_proto/oip/inference.proto")]
    assert {ROOT / "proto" / source for source in sources} == set((ROOT / "proto").rglob("*.proto"))
    outs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    assert protoc.main(["protoc", *(f"-I{folder}" for folder in includes), *outs, *map(str, sources)]) == 0
    for source in sources:
        for ending in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
            name = source.with_name(source.stem + ending)
            fresh = (tmp_path / name).read_text("utf-8")
            assert (ROOT / "proto" / name).read_text("utf-8") == fresh, "run `make proto`"


def test_the_wheel_holds_packages_and_nothing_loose():
    for package, folder in PACKAGES.items():
        inside = {entry.name for entry in (ROOT / folder).iterdir() if entry.name != "__pycache__"}
        assert inside <= {package, "Dockerfile"}, f"{folder}/ must hold exactly one package"
