"""Writing a table to a file, in the form that the file's name says."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from aim_core.errors import TableError
from aim_core.tables.cells import Cells, Chunk


def check_table_name(path: Path) -> None:
    """Refuse the name of a table to be written; TableError if no form ends so, or it is there."""
    if path.suffix.lower() not in _WRITERS:
        raise TableError(
            f"{path} does not say the form of the table; give it a name that ends in "
            f"{', '.join(_WRITERS)}"
        )
    if path.exists():
        raise TableError(f"{path} exists; nothing is overwritten, name a new file")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table to a new file: CSV, JSON (a list of records) or Parquet, as its name says.

    TableError as `check_table_name` says.
    """
    check_table_name(path)
    _WRITERS[path.suffix.lower()](table, path)


def write_csv(table: pd.DataFrame, target: Path | TextIO) -> None:
    """Write a table as CSV: UTF-8, commas, a header line, the same bytes on every system."""
    table.to_csv(target, index=False, lineterminator="\n", encoding="utf-8")


def _write_json(table: pd.DataFrame, path: Path) -> None:
    table.to_json(path, orient="records", date_format="iso", force_ascii=False, indent=1)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write Parquet; a column of numbers and texts has no type there but text."""
    plain = table.copy()
    for name, series in table.items():
        if series.dtype == object and series.dropna().map(type).nunique() > 1:
            plain[name] = series.map(str, na_action="ignore")
    plain.to_parquet(path, index=False)


def write_cells(chunks: Iterable[Chunk], path: Path) -> None:
    """Write the chunks of a table as Parquet, its cells as the texts that they are."""
    tables = [
        pa.table({name: _arrow_texts(cells) for name, cells in chunk.items()}) for chunk in chunks
    ]
    pq.write_table(pa.concat_tables(tables), path)


def _arrow_texts(cells: Cells) -> pa.Array:
    indices = pa.array(cells.indices, mask=cells.indices < 0)
    texts = pa.array(cells.texts, pa.large_string())
    return pa.DictionaryArray.from_arrays(indices, texts).dictionary_decode()


_WRITERS: Mapping[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": write_csv,
    ".json": _write_json,
    ".parquet": _write_parquet,
}
"""Writes a table in the form of a name's ending."""
