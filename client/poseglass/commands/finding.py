"""Which files the command line means."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poseglass import checks
from poseglass.errors import InvalidRequest


@dataclass(frozen=True)
class FileKind:
    """Files that a command works on.

    Attributes:
        name: what one is called in messages.
        suffixes: in lower case; what tells them from other files in folders and globs.
        known: the suffixes in messages; empty where there are too many.
        instead: said of a device, a pipe or a socket; `{argument}` in it stands for what was given.
    """

    name: str
    suffixes: tuple[str, ...]
    known: str = ""
    instead: str = ""

    def has(self, path: Path) -> bool:
        """Whether a path is such a file, by its suffix; a link to nothing is one too, so that it is missed aloud."""
        return path.suffix.lower() in self.suffixes and (path.is_file() or (path.is_symlink() and not path.exists()))


_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

PICTURE = FileKind("picture", _SUFFIXES, f" ({', '.join(_SUFFIXES)})")


def find_pictures(arguments: Sequence[str]) -> list[Path]:
    """The picture files that arguments name, as `find` and `expand` do it."""
    return find(arguments, lambda argument: expand(argument, PICTURE))


def find(arguments: Sequence[str], files_of: Callable[[str], list[Path]]) -> list[Path]:
    """The files that arguments name.

    Args:
        arguments: of the command line.
        files_of: the files of one of them; raises InvalidRequest where it names nothing.

    Returns:
        Each file once, in the order of the arguments.

    Raises:
        InvalidRequest: every argument that names nothing, in one message.
    """
    found: list[Path] = []
    wrong: list[str] = []
    for argument in arguments:
        try:
            found += files_of(argument)
        except InvalidRequest as error:
            wrong.append(error.reason)
    if wrong:
        raise InvalidRequest("", "; ".join(wrong))
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(Path(os.path.realpath(path)), path)  # Path.resolve fails on links that go round
    return list(once.values())


def expand(argument: str, kind: FileKind) -> list[Path]:
    """The files that one argument names, sorted.

    Args:
        argument: a file, whatever its suffix; a folder, of which all files of the kind are taken, but not those of
            subfolders; or, where nothing exists under this name and it holds `*`, `?` or `[`, a glob, where `**`
            reaches into subfolders.
        kind: what is looked for.

    Raises:
        InvalidRequest: it names nothing.
    """
    path = checks.path(argument)
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if kind.has(file))
        if not inside:
            what = f"no {kind.name}{kind.known} in this folder"
            raise InvalidRequest("", f"{argument}: {what}; for subfolders: '{path}/**/*'")
        return inside
    if path.exists():
        what = f"is a device, a pipe or a socket, not a {kind.name} file"
        raise InvalidRequest("", f"{argument}: {what}{kind.instead.format(argument=argument)}")
    if not glob.has_magic(argument):
        raise InvalidRequest("", f"{argument}: no such file or folder; check the path")
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 (it takes absolute patterns too)
    fitting = [match for match in matches if kind.has(match)]
    if not fitting:
        what = f"matches no {kind.name}{kind.known}" if matches else "matches nothing"
        raise InvalidRequest("", f"{argument}: {what}; check the pattern")
    return fitting
