"""Tables in CSV files: UTF-8, commas, a header line, gzipped or not."""

import csv
import gzip
import itertools
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TextIO

from aim_core.errors import TableError
from aim_core.tables.cells import Cells, Chunk
from aim_core.tables.files.checks import checked_names, first_bytes

_N_BLOCK_ROWS = 256
"""Rows turned into columns at once: few, as Python's garbage collector walks each that stays."""

_GZIP_MAGIC = b"\x1f\x8b"


def csv_chunks(path: Path, n_rows: int, skip: Collection[str]) -> Iterator[Chunk]:
    """Read a CSV file in chunks; TableError for what is no table, as `read_chunks` says."""
    try:
        with _opened(path) as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            names = _header(path, reader)
            rows = _full_rows(path, reader, len(names))
            while any(columns := _columns(itertools.islice(rows, n_rows), len(names))):
                named = zip(names, columns, strict=True)
                yield {name: Cells.of(column) for name, column in named if name not in skip}
    except UnicodeDecodeError as error:
        raise TableError(
            f"the table {path} is not UTF-8 text ({error.reason}); convert it to UTF-8"
        ) from error
    except (csv.Error, EOFError, zlib.error, OSError) as error:
        raise TableError(f"cannot read {path} as CSV: {error}; write the file again") from error


def _columns(rows: Iterator[list[str]], n_columns: int) -> list[list[str]]:
    """Turn rows into columns, `_N_BLOCK_ROWS` at a time."""
    columns: list[list[str]] = [[] for _ in range(n_columns)]
    while block := list(itertools.islice(rows, _N_BLOCK_ROWS)):
        for column, cells in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(cells)
    return columns


def _opened(path: Path) -> TextIO:
    if first_bytes(path).startswith(_GZIP_MAGIC):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    header = next((row for row in reader if row), None)
    if header is None:
        raise TableError(f"the table {path} is empty; give a header line and rows")
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise TableError(
                f"the header of {path} has no comma but {name}; write the table with commas"
            )
    return checked_names(path, [name.strip() for name in header])


def _full_rows(path: Path, reader: Iterator[list[str]], n_columns: int) -> Iterator[list[str]]:
    """Yield the rows but for blank lines; TableError where a row is too short or too long."""
    n_row = 0
    for row in reader:
        if not row:
            continue
        n_row += 1
        if len(row) != n_columns:
            raise TableError(
                f"row {n_row} of {path} has {len(row)} cells, but the header has {n_columns}; "
                "correct the row (a cell with a comma needs quotes)"
            )
        yield row
