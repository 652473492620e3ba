"""Reading a holder's table, larger than memory if need be: CSV or Parquet, chunk by chunk."""

import csv
import gzip
import itertools
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from aim_core.arrays import CodeTable
from aim_core.errors import TableError
from aim_core.schema import Schema
from aim_core.texts import Cells, Chunk
from aim_core.violations import Misfits

N_CHUNK_ROWS = 65_536
_N_BLOCK_ROWS = 256
_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"


def read_chunks(path: Path | str, n_rows: int = N_CHUNK_ROWS) -> Iterator[Chunk]:
    """Read a table in chunks of at most `n_rows` rows; every cell is a text, or is not there.

    The format follows from the file's first bytes: Parquet, gzipped CSV, or else CSV (UTF-8,
    commas, a header line). Nothing is guessed about types. Raises TableError for a file that is
    missing, unreadable or not what it seems, for a table without header or rows, for rows of
    another length than the header, and for column names that are empty or occur twice.
    """
    path = Path(path)
    chunks = _parquet_chunks(path, n_rows) if _is_parquet(path) else _csv_chunks(path, n_rows)
    empty = True
    for chunk in chunks:
        empty = False
        yield chunk
    if empty:
        raise TableError(f"the table {path} has a header but no rows; give a table with rows")


def encoded_chunks(
    path: Path | str, schema: Schema, n_rows: int = N_CHUNK_ROWS
) -> Iterator[CodeTable]:
    """Read and code a table in chunks of (at most `n_rows`, n_columns) codes.

    Raises TableError as `read_chunks` does, and at the end of the table if any value did not fit
    the schema: the error counts them over the whole table, and chunks from the first misfit on
    are not yielded. So use no result before the iterator has ended.
    """
    misfits = Misfits()
    first_row = 1
    for chunk in read_chunks(path, n_rows):
        codes = schema.encode_collecting(chunk, misfits, first_row)
        first_row += len(codes)
        if not misfits:
            yield codes
    if misfits:
        raise misfits.error()


def _is_parquet(path: Path) -> bool:
    named = path.suffix.lower() in (".parquet", ".pq")
    return named or _first_bytes(path).startswith(_PARQUET_MAGIC)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise TableError(
            f"cannot read the table {path}: {error.strerror}; check the path and its permissions"
        ) from error


@contextmanager
def _parquet_file(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with _opened_parquet(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"cannot read {path} as Parquet: {error}; write the file again, or give CSV"
        ) from error


def _opened_parquet(path: Path) -> pq.ParquetFile:
    _first_bytes(path)
    return pq.ParquetFile(path)


def _parquet_chunks(path: Path, n_rows: int) -> Iterator[Chunk]:
    with _parquet_file(path) as file:
        names = _checked_names(path, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=n_rows):
            columns = zip(names, batch.columns, strict=True)
            yield {name: Cells.of_arrow(column, name) for name, column in columns}


def _csv_chunks(path: Path, n_rows: int) -> Iterator[Chunk]:
    with _csv_rows(path) as (names, rows):
        while any(columns := _columns(itertools.islice(rows, n_rows), len(names))):
            yield {name: Cells.of(column) for name, column in zip(names, columns, strict=True)}


def _columns(rows: Iterator[list[str]], n_columns: int) -> list[list[str]]:
    """Turn rows into columns, few at a time: the collector walks every list that stays."""
    columns: list[list[str]] = [[] for _ in range(n_columns)]
    while block := list(itertools.islice(rows, _N_BLOCK_ROWS)):
        for column, cells in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(cells)
    return columns


@contextmanager
def _csv_rows(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """Open a CSV file as its column names and its rows, all of the header's length."""
    try:
        with _opened_csv(path) as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            names = _header(path, reader)
            yield names, _full_rows(path, reader, len(names))
    except UnicodeDecodeError as error:
        raise TableError(
            f"the table {path} is not UTF-8 text ({error.reason}); convert it to UTF-8"
        ) from error
    except (csv.Error, EOFError, zlib.error, OSError) as error:
        raise TableError(f"cannot read {path} as CSV: {error}; write the file again") from error


def _opened_csv(path: Path) -> TextIO:
    if _first_bytes(path).startswith(_GZIP_MAGIC):
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
    return _checked_names(path, [name.strip() for name in header])


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


def _checked_names(path: Path, names: Sequence[str]) -> list[str]:
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise TableError(f"the table {path} has two columns {repeated[0]!r}; rename one of them")
    if "" in names or not names:
        raise TableError(f"a column of the table {path} has no name; name every column")
    return list(names)
