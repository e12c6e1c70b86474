"""Which videos the command line means, and what their folders are called."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from pathlib import Path

from poseglass import checks
from poseglass.commands.files import output_names
from poseglass.errors import InvalidRequest

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv"),
    *(".3gp", ".3g2", ".ogv", ".mxf", ".y4m", ".h264", ".h265", ".hevc", ".vob", ".dv", ".nut"),
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
    found: list[Path] = []
    wrong: list[str] = []
    for argument in arguments:
        try:
            if argument.startswith("@") and not Path(argument).exists():
                found += _listed(Path(argument[1:]).expanduser())
            else:
                found += _named(argument)
        except InvalidRequest as error:
            wrong.append(error.reason)
    if wrong:
        raise InvalidRequest("", "; ".join(wrong))
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.resolve(), path)
    return list(once.values())


def _listed(path: Path) -> list[Path]:
    """What a list names."""
    try:
        lines = path.read_text("utf-8").splitlines()
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
            found += _named(str(path.parent / Path(entry).expanduser()))
        except InvalidRequest as error:
            raise InvalidRequest("", f"@{path}, line {number}: {error.reason}") from None
    if not found:
        raise InvalidRequest("", f"@{path}: the list names nothing; write one video a line")
    return found


def _named(argument: str) -> list[Path]:
    """What one argument names."""
    path = checks.path(argument)
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if _is_video(file))
        if not inside:
            raise InvalidRequest("", f"{argument}: no video in this folder; for subfolders: '{path}/**/*'")
        return inside
    if path.exists():
        raise InvalidRequest(
            "",
            f"{argument}: is a device, a pipe or a socket, not a video file; a camera is given by its number, and a "
            f"pipe as -: poseglass video - ... < {argument}",
        )
    if not glob.has_magic(argument):
        raise InvalidRequest("", f"{argument}: no such file or folder; check the path")
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 (it takes absolute patterns too)
    videos = [match for match in matches if _is_video(match)]
    if not videos:
        what = "matches no video" if matches else "matches nothing"
        raise InvalidRequest("", f"{argument}: {what}; check the pattern")
    return videos


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def folder_names(files: Sequence[Path], out: Path) -> dict[Path, str]:
    """A folder in `out` for each file; one that was begun there before keeps its own, whoever has joined it since.

    Args:
        files: the videos.
        out: the folder around them all; it need not exist.
    """
    owners = {_owner(folder): folder.name for folder in sorted(out.glob("*")) if folder.is_dir()}
    names = {file: owners[str(file.resolve())] for file in files if str(file.resolve()) in owners}
    taken = {name.casefold() for name in owners.values()}
    for file, name in output_names([file for file in files if file not in names]).items():
        free, number = name, 2
        while free.casefold() in taken:
            free, number = f"{name}-{number}", number + 1
        names[file] = free
        taken.add(free.casefold())
    return {file: names[file] for file in files}


def _owner(folder: Path) -> str:
    """Of which video a folder is; the folder itself where it is of none."""
    try:
        return str(json.loads((folder / "manifest.json").read_text("utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return str(folder)
