"""CSV: columns as in `flat`, nothing where a value is not known; the header in a JSON file beside it."""

from __future__ import annotations

import json
from pathlib import Path

from poseglass.pictures import write_file
from poseglass.video.formats.flat import from_columns, parse_about, to_about
from poseglass.video.formats.parquet import to_arrow
from poseglass.video.table import PoseTable
from poseglass.video.whole import package, whole_file


def header_path(path: Path) -> Path:
    """The file beside a CSV file that holds its skeleton and header."""
    return path.with_name(f"{path.name}.header.json")


def write(table: PoseTable, path: Path) -> None:
    """Write both files; numbers have as many digits as bring back the same float."""
    writer = package("pyarrow.csv", "writing CSV")
    with whole_file(path) as temporary:
        writer.write_csv(to_arrow(table), temporary)
    write_file(header_path(path), json.dumps(to_about(table), indent=1).encode())


def read(path: Path) -> PoseTable:
    """Read it; without the file beside it the joints are known by the columns' names, and there is no header."""
    reader, arrow = package("pyarrow.csv", "reading CSV"), package("pyarrow", "reading CSV")
    names = path.open(encoding="utf-8").readline().rstrip("\n").replace('"', "").split(",")
    types = {name: arrow.float64() for name in names if name not in ("frame", "person", "track")}
    found = reader.read_csv(path, convert_options=reader.ConvertOptions(column_types=types))
    columns = {name: found[name].to_numpy() for name in found.column_names}
    beside = header_path(path)
    return from_columns(columns, parse_about(beside.read_bytes()) if beside.is_file() else None)
