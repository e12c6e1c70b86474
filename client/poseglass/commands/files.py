"""What the files that commands write are called, and the folders that they go into."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from poseglass.errors import InvalidRequest


def output_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for what is written about each file, without suffix, so that no two share one.

    `x` for x.jpg; where that is taken twice, `a-x` and `b-x` for a/x.jpg and b/x.jpg, or `x-jpg` and `x-png` for x.jpg
    and x.png. File systems that ignore case are minded.
    """
    if not files:
        return {}
    real = {file: Path(os.path.realpath(file)) for file in files}  # Path.resolve fails on links that go round
    top = os.path.commonpath([path.parent for path in real.values()])
    inside = {file: path.relative_to(top) for file, path in real.items()}
    ladder: list[Callable[[Path], str]] = [
        lambda file: file.stem,
        lambda file: "-".join(inside[file].with_suffix("").parts),
        lambda file: "-".join([*inside[file].with_suffix("").parts, file.suffix[1:]]),
    ]
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for rung in ladder:
        rest = [file for file in files if file not in names]
        wanted = Counter(rung(file).casefold() for file in rest)
        for file in rest:
            key = rung(file).casefold()
            if wanted[key] == 1 and key not in taken:
                names[file] = rung(file)
                taken.add(key)
    for file in files:
        number = 2
        while file not in names:
            if (name := f"{ladder[-1](file)}-{number}").casefold() not in taken:
                names[file] = name
                taken.add(name.casefold())
            number += 1
    return {file: names[file] for file in files}


def folder(text: str) -> Path:
    """Reads a folder's name from the command line; an empty one (a variable that is not set) is not the current folder.

    Raises:
        typer.BadParameter: it is empty.
    """
    if not text.strip():
        raise typer.BadParameter("is empty; name a folder, or '.' for the current one")
    return Path(text)


def output_folder(path: Path) -> Path:
    """Make a folder to write into, and try that it can be written into, before anything is computed.

    Raises:
        InvalidRequest: it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest("", f"{path}: cannot be made a folder ({error.strerror}); choose another") from None
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InvalidRequest("", f"{path}: cannot be written into ({error.strerror}); choose another") from None
    return path
