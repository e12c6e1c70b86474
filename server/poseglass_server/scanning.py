"""What lies in a model repository, as the file system tells it: `NAME/VERSION/model.onnx`."""

from __future__ import annotations

import contextlib
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from poseglass_core.errors import NotSupported
from poseglass_server.entries import Entry, State

MODEL = "model.onnx"
SIDE_CAR = "model.manifest.json"
PIN = "serving"
"""A file beside the versions of a name: the version that serves requests without one, or "newest"."""

HIGHEST_VERSION = 2**32 - 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,9}")
_TEMPORARY = re.compile(r"\..*|.*(~|\.tmp|\.part|\.partial)|lost\+found", re.DOTALL)

Stamp = tuple[tuple[int, ...] | None, ...]
"""Changes whenever a model file or its side-car does; None in the place of a file that is not there."""


class RepositoryError(NotSupported):
    """The directory of a model repository cannot be looked at."""


class Key(NamedTuple):
    """Where a model lies."""

    name: str
    version: int


@dataclass
class Found:
    """What one look at a repository sees.

    Attributes:
        stamps: of the model files.
        pins: name -> the pinned version, 0: none. A name whose pin cannot be read is not among them.
        refusals: what lies there and cannot be a model.
        unread: names, and names with a version, that cannot be looked at now: nothing follows from not seeing them.
    """

    stamps: dict[Key, Stamp] = field(default_factory=dict)
    pins: dict[str, int] = field(default_factory=dict)
    refusals: list[Entry] = field(default_factory=list)
    unread: set[tuple[str] | Key] = field(default_factory=set)

    def keeps(self, key: Key) -> bool:
        """Whether a model that was loaded stays: its file is there, or nobody can tell."""
        return key in self.stamps or key in self.unread or (key.name,) in self.unread

    def refuse(self, name: str, version: int, reason: str) -> None:
        """Note what cannot be a model."""
        self.refusals.append(Entry(printable(name), version, State.REFUSED, printable(reason)))


def scan(folder: Path) -> Found:
    """Look at all of a repository; nothing is opened but pins.

    Raises:
        RepositoryError: its directory cannot be read.
    """
    found = Found()
    try:
        children = _visible(folder)
    except OSError as error:
        raise RepositoryError(
            f"{folder}: cannot be read ({error.strerror}); --models takes a directory that holds NAME/VERSION/{MODEL}"
        ) from None
    for child in children:
        try:
            if child.suffix == ".onnx":
                found.refuse(child.stem, 0, f"{child.name}: is in the wrong place; move it to NAME/VERSION/{MODEL}")
            elif child.is_dir():
                _scan_name(child, found)
        except OSError as error:
            found.unread.add((child.name,))
            found.refuse(child.name, 0, f"{child.name}: cannot be looked at ({error.strerror})")
    return found


def stamp(folder: Path) -> Stamp:
    """Of the model file in the directory of a version, and of its side-car.

    Raises:
        OSError: there is no model file, or it cannot be looked at.
    """
    side_car = None
    with contextlib.suppress(FileNotFoundError):
        side_car = _stamp(folder / SIDE_CAR)
    return _stamp(folder / MODEL), side_car


def _stamp(file: Path) -> tuple[int, ...]:
    seen = file.stat()
    if not stat.S_ISREG(seen.st_mode):  # reading from a pipe would never end
        raise IsADirectoryError(0, "is not a file")
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _scan_name(folder: Path, found: Found) -> None:
    name = folder.name
    if not _NAME.fullmatch(name):
        found.refuse(name, 0, f"{name}: cannot be a model's name; use letters, digits, '.', '_' and '-', at most 64")
        return
    empty = True
    for child in _visible(folder):
        if child.name == PIN:
            continue
        if child.is_dir():
            empty = False
            _scan_version(child, found)
        elif child.suffix == ".onnx":
            empty = False
            found.refuse(name, 0, f"{name}/{child.name}: is in the wrong place; move it to {name}/VERSION/{MODEL}")
    if empty:
        found.refuse(name, 0, f"{name}: has no versions; lay the first one at {name}/1/{MODEL}")
    _read_pin(folder, found)


def _scan_version(folder: Path, found: Found) -> None:
    name, version = folder.parent.name, folder.name
    if not _VERSION.fullmatch(version) or int(version) > HIGHEST_VERSION:
        found.refuse(name, 0, f"{name}/{version}: is no version; name the directory 1, 2, 3 and so on")
        return
    key = Key(name, int(version))
    try:
        found.stamps[key] = stamp(folder)
    except FileNotFoundError:
        found.refuse(*key, f"{name}/{version}: has no {MODEL}; lay the model there under that name")
    except OSError as error:
        found.unread.add(key)
        found.refuse(*key, f"{name}/{version}/{MODEL}: cannot be looked at ({error.strerror})")


def _read_pin(folder: Path, found: Found) -> None:
    name, file = folder.name, folder / PIN
    if not file.exists():
        found.pins[name] = 0
        return
    text = ""
    if file.is_file():
        with file.open("rb") as opened:
            text = opened.read(64).decode("utf-8", "replace").strip()
    if text == "newest":
        found.pins[name] = 0
    elif _VERSION.fullmatch(text):
        found.pins[name] = int(text)
    else:
        found.refuse(
            name, 0, f"{name}/{PIN}: is not followed; it must hold a version, such as 2, or newest, not {text!r}"
        )


def _visible(folder: Path) -> list[Path]:
    """What a directory holds in alphabetical order, less what is hidden, temporary, or the file system's own."""
    return sorted(child for child in folder.iterdir() if not _TEMPORARY.fullmatch(child.name))


def printable(text: str) -> str:
    """A text that any message can carry, whatever bytes a file's name has."""
    return text.encode("utf-8", "replace").decode()[:LONGEST]


LONGEST = 1000
"""Characters of a reason."""
