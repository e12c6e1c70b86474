"""Which videos the command line means, and what their folders are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from poseglass.commands.files import output_names
from poseglass.commands.finding import FileKind, expand, find
from poseglass.errors import InvalidRequest
from poseglass.video.finish import OVERLAY
from poseglass.video.folder import VideoFolder, fingerprint

_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv"),
    *(".3gp", ".3g2", ".ogv", ".mxf", ".y4m", ".h264", ".h265", ".hevc", ".vob", ".dv", ".nut"),
)


VIDEO = FileKind(
    "video",
    _SUFFIXES,
    instead="; a camera is given by its number, and a pipe as -: poseglass video - ... < {argument}",
)


def find_videos(arguments: Sequence[str]) -> list[Path]:
    """The files that arguments name.

    Args:
        arguments: files, whatever their suffix; folders, of which all videos are taken, but not those of subfolders;
            quoted globs, where `**` reaches into subfolders; and `@FILE`, a list with one of these a line, relative to
            the list's folder, in which empty lines and those that begin with # are passed over.

    Returns:
        Each file once, in the order of the arguments, sorted inside a folder or glob.

    Raises:
        InvalidRequest: every argument that names nothing, in one message.
    """
    return find(arguments, _named)


def _named(argument: str) -> list[Path]:
    """What one argument names."""
    if argument.startswith("@") and not Path(argument).exists():
        return _listed(Path(argument[1:]).expanduser())
    return _found(argument)


def _found(argument: str) -> list[Path]:
    """The videos that a file, a folder or a glob names; overlays only where one is named itself."""
    found = expand(argument, VIDEO)
    if found == [Path(argument)]:
        return found
    videos = [path for path in found if not _is_overlay(path)]
    if not videos:
        raise InvalidRequest("", f"{argument}: names nothing but overlays that `poseglass video` has written")
    return videos


def _is_overlay(path: Path) -> bool:
    return path.name == f"{path.parent.name}{OVERLAY}" and bool(VideoFolder(path.parent, path).manifest)


def _listed(path: Path) -> list[Path]:
    """What a list names."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()  # editors of Windows put a mark before the first line
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InvalidRequest("", f"@{path}: the list cannot be read ({reason})") from None
    found: list[Path] = []
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if "://" in entry:
            raise InvalidRequest("", f"@{path}, line {number}: a live source stands alone; start a run for each")
        try:
            found += _found(str(path.parent / Path(entry).expanduser()))
        except InvalidRequest as error:
            raise InvalidRequest("", f"@{path}, line {number}: {error.reason}") from None
    if not found:
        raise InvalidRequest("", f"@{path}: the list names nothing; write one video a line")
    return found


def folder_names(files: Sequence[Path], out: Path) -> dict[Path, str]:
    """A folder in `out` for each file; one that was begun there before keeps its own, whoever has joined it since.

    A file that lies elsewhere now keeps it too, unless it was renamed: where a file has its name, and the one that the
    folder is of is no longer there, they are the same if their content is.

    Args:
        files: the videos.
        out: the folder around them all; it need not exist.
    """
    folders = [VideoFolder(path, path) for path in sorted(out.glob("*")) if path.is_dir()]
    owners = {folder.manifest.get("source", str(folder.path)): folder.name for folder in folders}
    names = {file: owners[real] for file in files if (real := os.path.realpath(file)) in owners}
    left = {
        folder.name.casefold(): folder
        for folder in folders
        if folder.name not in names.values() and not os.path.lexists(folder.manifest.get("source", folder.path))
    }
    taken = {folder.name.casefold() for folder in folders}
    for file, wanted in output_names([file for file in files if file not in names]).items():
        for name in _numbered(wanted if wanted.strip(".") else file.name):  # not "..", which is a folder already
            key = name.casefold()
            if key not in taken or (key in left and _is_of(left[key], file)):
                names[file] = name
                taken.add(key)
                left.pop(key, None)
                break
    return {file: names[file] for file in files}


def _numbered(name: str) -> Iterator[str]:
    """A name, and what to take instead where it is taken."""
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def _is_of(folder: VideoFolder, file: Path) -> bool:
    """Whether a folder is of a video with the same content."""
    known = folder.manifest["of"]["input"]
    try:
        return bool(known.get("bytes") == file.stat().st_size and known == fingerprint(file))
    except (OSError, InvalidRequest):
        return False
