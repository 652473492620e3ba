"""Reading a holder's table, larger than memory if need be: CSV or Parquet, chunk by chunk."""

from collections.abc import Collection, Iterator
from pathlib import Path

from aim_core.arrays import CodeTable
from aim_core.errors import TableError
from aim_core.tables.cells import Chunk
from aim_core.tables.files.checks import first_bytes
from aim_core.tables.files.csv_files import csv_chunks
from aim_core.tables.files.parquet_files import PARQUET_MAGIC, parquet_chunks
from aim_core.tables.misfits import Misfits
from aim_core.tables.schema import Schema

N_CHUNK_ROWS = 65_536


def read_chunks(
    path: Path | str, n_rows: int = N_CHUNK_ROWS, skip: Collection[str] = ()
) -> Iterator[Chunk]:
    """Read a table in chunks of at most `n_rows` rows; every cell is a text, or is not there.

    Columns named in `skip` are left out, whatever they hold.

    The format follows from the file's first bytes: Parquet, gzipped CSV, or else CSV (UTF-8,
    commas, a header line). Nothing is guessed about types. Raises TableError for a file that is
    missing, unreadable or not what it seems, for a table without header or rows, for rows of
    another length than the header, and for column names that are empty or occur twice.
    """
    path = Path(path)
    chunks_of = parquet_chunks if _is_parquet(path) else csv_chunks
    empty = True
    for chunk in chunks_of(path, n_rows, skip):
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
    for chunk in read_chunks(path, n_rows, skip=schema.unread):
        codes = schema.encode_collecting(chunk, misfits, first_row)
        first_row += len(codes)
        if not misfits:
            yield codes
    if misfits:
        raise misfits.error()


def _is_parquet(path: Path) -> bool:
    named = path.suffix.lower() in (".parquet", ".pq")
    return named or first_bytes(path).startswith(PARQUET_MAGIC)
