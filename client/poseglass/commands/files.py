"""Which pictures the command line means, and what the files it writes for them are called."""

from __future__ import annotations

import glob
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from poseglass import checks
from poseglass.errors import InvalidRequest

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def find_pictures(arguments: Sequence[str]) -> list[Path]:
    """The files that arguments name: files as they are; a folder's pictures (not its subfolders'); a glob's pictures.

    Args:
        arguments: paths; what does not exist as it stands and holds `*`, `?` or `[` is a glob, where `**` reaches into
            subfolders.

    Returns:
        Each file once, in the order of the arguments, sorted inside a folder or glob.

    Raises:
        InvalidRequest: every argument that names nothing, in one message.
    """
    found: list[Path] = []
    wrong: list[str] = []
    for argument in arguments:
        try:
            path = checks.path(argument)
        except InvalidRequest as error:
            wrong.append(error.reason)
            continue
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if _is_picture(file))
            if not inside:
                wrong.append(f"{argument}: no picture ({_known()}) in this folder; for subfolders: '{path}/**/*'")
            found += inside
        elif path.is_file():
            found.append(path)
        elif path.exists():
            wrong.append(f"{argument}: is a device, a pipe or a socket, not a picture file")
        elif glob.has_magic(argument):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 (it takes absolute patterns too)
            pictures = [match for match in matches if _is_picture(match)]
            if not pictures:
                what = f"matches no picture ({_known()})" if matches else "matches nothing"
                wrong.append(f"{argument}: {what}; check the pattern")
            found += pictures
        else:
            wrong.append(f"{argument}: no such file or folder; check the path")
    if wrong:
        raise InvalidRequest("", "; ".join(wrong))
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.resolve(), path)
    return list(once.values())


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _known() -> str:
    return ", ".join(SUFFIXES)


def output_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for what is written about each file, without suffix, so that no two share one.

    `x` for x.jpg; where that is taken twice, `a-x` and `b-x` for a/x.jpg and b/x.jpg, or `x-jpg` and `x-png` for x.jpg
    and x.png. File systems that ignore case are minded.
    """
    if not files:
        return {}
    top = os.path.commonpath([file.resolve().parent for file in files])
    inside = {file: file.resolve().relative_to(top) for file in files}
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
