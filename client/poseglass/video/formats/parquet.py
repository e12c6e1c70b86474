"""Parquet: the default. Columns as in `flat`, their meaning in each field's metadata, the header in the schema's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseglass.video.formats.flat import describe, from_columns, parse_about, to_about, to_columns
from poseglass.video.table import PoseTable
from poseglass.video.whole import package, whole_file

KEY = b"poseglass"
"""Of the header in the schema's metadata: JSON with `format`, `skeleton` and `header`."""

ROWS = 10_000
"""Of a row group, which is what is in memory twice while it is written."""


def to_arrow(table: PoseTable) -> Any:
    """A `pyarrow.Table`; what is NaN in the table is null.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    arrow = package("pyarrow", "writing Parquet")
    columns = to_columns(table)
    arrays = [_array(arrow, values) for values in columns.values()]
    fields = [
        arrow.field(name, array.type, metadata={"description": describe(name)})
        for name, array in zip(columns, arrays, strict=True)
    ]
    about = json.dumps(to_about(table)).encode()
    return arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, metadata={KEY: about}))


def _array(arrow: Any, values: NDArray[Any]) -> Any:
    """An Arrow array of numbers; `arrow.array` would import pandas, only to see that they are none of its."""
    values = np.ascontiguousarray(values)
    known = ~np.isnan(values) if values.dtype.kind == "f" else None
    bits = None if known is None or known.all() else arrow.py_buffer(np.packbits(known, bitorder="little"))
    return arrow.Array.from_buffers(arrow.from_numpy_dtype(values.dtype), len(values), [bits, arrow.py_buffer(values)])


def write(table: PoseTable, path: Path) -> None:
    """Write the file."""
    parquet = package("pyarrow.parquet", "writing Parquet")
    schema = to_arrow(table.select(slice(0, 0))).schema
    floats = [field.name for field in schema if field.type in ("float", "double")]
    # Bytes of equal weight side by side: joints that move compress to little more than half.
    packing = {
        "use_byte_stream_split": floats,
        "use_dictionary": [name for name in schema.names if name not in floats],
        "compression": "zstd",
    }
    with whole_file(path) as temporary, parquet.ParquetWriter(temporary, schema, **packing) as writer:
        for begin in range(0, len(table), ROWS):
            writer.write_table(to_arrow(table.select(slice(begin, begin + ROWS))))


def read(path: Path) -> PoseTable:
    """Read the file; one of other origin too, if its columns are named as ours."""
    parquet = package("pyarrow.parquet", "reading Parquet")
    with path.open("rb") as file:  # pyarrow would take a path for a data set, and its folders' names for columns
        # Without threads, as Arrow's may outlive the interpreter and abort it when it ends (apache/arrow#34314).
        found = parquet.ParquetFile(file, pre_buffer=False).read(use_threads=False)
    about = (found.schema.metadata or {}).get(KEY)
    columns = {name: found[name].to_numpy() for name in found.column_names}
    return from_columns(columns, None if about is None else parse_about(about))
