"""Why a file is not read as a video, in words that help."""

from __future__ import annotations

from pathlib import Path

from poseglass.errors import InvalidRequest


def check_file(path: Path) -> None:
    """Refuse what is no file with something in it, or has a name that FFmpeg does not take.

    Raises:
        InvalidRequest: naming the file.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("", f"{path}: its name is not UTF-8, and FFmpeg takes no other; rename it") from None
    try:
        if not path.is_file():
            what = "is no video file" if path.exists() else "no such file"
            raise InvalidRequest("", f"{path}: {what}; check the path")
        if path.stat().st_size == 0:
            raise InvalidRequest("", f"{path}: is empty (0 bytes); record or copy it again")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InvalidRequest("", f"{path}: cannot be read ({error.strerror})") from None


def why_not_open(path: Path, error: Exception) -> str:
    """What to say of a file that FFmpeg does not open, and what would help."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if not any(start):
        return "holds zeros where a video would begin; copy or record it again"
    if start[4:8] == b"ftyp":
        return (
            "its index is missing, as in an MP4 whose recording was cut off; repair it with a tool such as untrunc, "
            "and record to MKV or fragmented MP4, which can be read up to the break"
        )
    return f"is no video that FFmpeg can open ({said(error)}); check that it plays, or leave it out"


def said(error: Exception) -> str:
    """FFmpeg's own words."""
    return str(getattr(error, "strerror", None) or error)
