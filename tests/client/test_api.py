"""The public names, and how little importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import poseglass
import poseglass.errors

EXPORTED = [
    "AsyncPoseClient",
    "Box",
    "Cancelled",
    "ClientClosed",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Heatmaps",
    "InvalidRequest",
    "Joint",
    "LocalPredictor",
    "Locate",
    "MessageTooLarge",
    "MissingExtra",
    "ModelInfo",
    "ModelNotFound",
    "ModelRef",
    "Overloaded",
    "PermissionDenied",
    "Pose",
    "PoseClient",
    "PoseTable",
    "PoseglassError",
    "PredictOptions",
    "Prediction",
    "Results",
    "ServerError",
    "Skeleton",
    "Timings",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "__version__",
    "contact_sheet",
    "draw_poses",
    "heatmap_sheet",
    "load",
    "overlay_heatmap",
    "read_picture",
    "save_picture",
]


def test_exported_names_are_these_and_no_others():
    assert sorted(poseglass.__all__) == sorted(EXPORTED)
    assert dir(poseglass) == sorted(EXPORTED)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_exported_name_is_there(name):
    assert getattr(poseglass, name) is not None


def test_every_error_is_exported():
    errors = {
        name
        for name, value in vars(poseglass.errors).items()
        if isinstance(value, type) and issubclass(value, poseglass.PoseglassError)
    }
    assert errors <= set(poseglass.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="PoseKlient"):
        poseglass.PoseKlient  # noqa: B018


HEAVY = (
    "torch",
    "onnxruntime",
    "onnx",
    "typer",
    "rich",
    "PIL",
    "matplotlib",
    "av",
    "pyarrow",
    "pandas",
    "h5py",
    "poseglass_runtime",
    "poseglass_training",
)


def loaded_after(code: str, modules: tuple[str, ...]) -> list[str]:
    script = f"{code}\nimport sys\nprint(*[m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[-2].split()


def test_importing_everything_loads_nothing_heavy():
    assert loaded_after(f"from poseglass import {', '.join(EXPORTED)}", HEAVY) == []


def test_importing_the_package_alone_loads_next_to_nothing():
    assert loaded_after("import poseglass", ("numpy", "cv2", "grpc", *HEAVY)) == []


def test_help_loads_no_command():
    code = "from poseglass.cli import app\ntry: app(['--help'], prog_name='poseglass')\nexcept SystemExit: pass"
    commands = ("poseglass.commands", "poseglass_server", "poseglass_export", "numpy", "cv2", "grpc")
    heavy = tuple(name for name in HEAVY if name not in ("typer", "rich"))
    assert loaded_after(code, (*commands, *heavy)) == []
