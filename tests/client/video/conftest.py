"""Videos of people made of colours, for tests of everything between a file and its rows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def blobs() -> ModuleType:
    """`blobs.py` beside this file."""
    pytest.importorskip("av")
    if "blobs" not in sys.modules:
        spec = importlib.util.spec_from_file_location("blobs", Path(__file__).with_name("blobs.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules["blobs"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["blobs"])
    return sys.modules["blobs"]
