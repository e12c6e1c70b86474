"""Result files and folders that are whole or not there, and the packages that write them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from poseglass.errors import MissingExtra


def package(name: str, what: str) -> Any:
    """A package of the extra, imported late.

    Args:
        name: of the module, such as "pyarrow.parquet".
        what: it is for, to begin an error with, such as "reading Parquet".

    Raises:
        MissingExtra: it is not installed.
    """
    top = name.partition(".")[0]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != top:
            raise
        raise MissingExtra(f"{what} ({top})", "video") from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside the file, which becomes the file when all went well.

    Args:
        path: of the file; its folder exists.

    Yields:
        Where to write; the name ends as the file's does, for writers that go by it.

    Raises:
        OSError: it cannot be written; it is what the error names, and what was there is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside the folder, which takes its place when all went well.

    Args:
        path: of the folder; the one around it exists.

    Yields:
        The folder to write into, empty.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    before = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        # A folder cannot be renamed onto one with something in it.
        if path.exists():
            path.replace(before)
        try:
            temporary.replace(path)
        except OSError:
            if before.exists():
                before.replace(path)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if path.exists():
            shutil.rmtree(before, ignore_errors=True)
