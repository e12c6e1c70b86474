"""Formats of result files: a table of names, each with a module that writes and reads it.

A format's module has `write(table, path)`, which writes the whole file or nothing, and `read(path)`, which gives what
is in it; only what `Format.drops` names is lost on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from poseglass.errors import InvalidRequest
from poseglass.video.table import PoseTable
from poseglass_core.skeleton import Skeleton


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: on the command line.
        title: for people.
        suffix: that result files get.
        suffixes: by which files are recognised, in lower case.
        drops: what it cannot hold, of `LOSSES`.
        folder: whether the result is a folder of files.
    """

    name: str
    title: str
    suffix: str
    suffixes: tuple[str, ...]
    drops: tuple[str, ...] = ()
    folder: bool = False

    @property
    def module(self) -> str:
        """Where it is written and read."""
        return f"poseglass.video.formats.{self.name}"


FORMATS = {
    form.name: form
    for form in (
        Format("parquet", "Parquet", ".parquet", (".parquet", ".pq")),
        Format("csv", "CSV", ".csv", (".csv",)),
        Format("jsonl", "JSON Lines", ".jsonl", (".jsonl", ".ndjson")),
        Format(
            "coco",
            "COCO results",
            ".coco.json",
            (".json",),
            ("empty", "presence", "smoothed", "angles", "names", "header"),
        ),
        Format(
            "openpose",
            "OpenPose JSON",
            ".openpose",
            (".openpose",),
            ("times", "boxes", "scores", "presence", "smoothed", "angles", "names", "header"),
            folder=True,
        ),
        Format(
            "sleap",
            "SLEAP analysis HDF5",
            ".analysis.h5",
            (".h5", ".hdf5"),
            ("boxes", "presence", "smoothed", "angles", "order"),
        ),
    )
}
"""Formats by name."""

_Lost = Callable[[PoseTable], bool]

LOSSES: dict[str, tuple[str, _Lost]] = {
    "empty": ("frames without anybody", lambda table: not table.people.all()),
    "times": ("presentation times", lambda table: len(table) > 0),
    "boxes": ("boxes", lambda table: bool(table.people.any())),
    "scores": ("scores of people", lambda table: bool(table.people.any())),
    "presence": ("presence", lambda table: bool((table.presence == table.presence).any())),
    "smoothed": ("smoothed joints", lambda table: table.smoothed is not None),
    "angles": ("joint angles", lambda table: bool(table.skeleton.angles) and len(table) > 0),
    "names": ("names of joints, their limbs and angles", lambda _: True),
    "order": ("who is the most certain of a frame", lambda table: bool((table.person > 0).any())),
    "header": ("the header (source, counts, model, settings)", lambda table: bool(table.header)),
}
"""What a format may lose: in words, and whether a table has any of it."""


def format_of(path: str | Path, name: str = "", field: str = "--format") -> Format:
    """The format of a file.

    Args:
        path: of the file or folder; decides where no name is given.
        name: of a format; empty: by the path's suffix. A folder is one of OpenPose JSON.
        field: what to call `name` in an error.

    Raises:
        InvalidRequest: there is no such format, or the suffix says none; the message lists them.
    """
    if name:
        if name not in FORMATS:
            raise InvalidRequest(field, f"must be one of {', '.join(FORMATS)}, not {name!r}")
        return FORMATS[name]
    path = Path(path)
    if path.is_dir():
        return FORMATS["openpose"]
    for form in FORMATS.values():
        if path.name.lower().endswith(form.suffixes):
            return form
    known = ", ".join(suffix for form in FORMATS.values() for suffix in form.suffixes)
    raise InvalidRequest(
        field,
        f"cannot be told from the name {path.name!r}: end it in one of {known}, or give one of {', '.join(FORMATS)}",
    )


def losses(table: PoseTable, form: Format) -> list[str]:
    """What of this table a format does not hold, in words.

    Args:
        table: to be written.
        form: the format.
    """
    return [words for words, there in (LOSSES[name] for name in form.drops) if there(table)]


def loss_line(form: Format, dropped: Sequence[str]) -> str:
    """What a format dropped, as one line for people."""
    return f"{form.title} does not hold: {', '.join(dropped)}"


def write(table: PoseTable, path: str | Path, format: str = "") -> list[str]:  # noqa: A002 (its name on the command line)
    """Write a result file, whole or not at all.

    Args:
        table: rows of one video.
        path: of the file, or folder where the format is one of folders.
        format: its name; empty: by the path's suffix.

    Returns:
        What the format drops of this table, in words; nothing where all of it is in the file.

    Raises:
        InvalidRequest: there is no such format.
        MissingExtra: a package that it needs is not installed.
        OSError: it cannot be written; what was there is still there.
    """
    path = Path(path)
    form = format_of(path, format)
    import_module(form.module).write(table, path)
    return losses(table, form)


def read(path: str | Path, format: str = "", skeleton: Skeleton | None = None) -> PoseTable:  # noqa: A002
    """Read a result file.

    Args:
        path: of the file or folder.
        format: its name; empty: by the path's suffix.
        skeleton: for formats without names of joints; None: the built-in one with that number of joints.

    Raises:
        InvalidRequest: there is no such file or format, or it cannot be read as one; the message names the file.
        MissingExtra: a package that it needs is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise InvalidRequest("", f"{path}: no such file or folder; check the path")
    form = format_of(path, format)
    if path.is_dir() != form.folder:
        what = "a folder of files, and this is a file" if form.folder else "a file, and this is a folder"
        raise InvalidRequest("", f"{path}: {form.title} is {what}; give another --format")
    module = import_module(form.module)
    try:
        table: PoseTable = module.read(path, skeleton) if "names" in form.drops else module.read(path)
    except InvalidRequest:
        raise
    except (ValueError, KeyError, TypeError, IndexError) as error:  # also what pyarrow and json raise
        what = f"no column or key {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidRequest("", f"{path}: cannot be read as {form.title} ({what})") from None
    except OSError as error:
        raise InvalidRequest("", f"{path}: cannot be read as {form.title} ({error.strerror or error})") from None
    return table
