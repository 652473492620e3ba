"""Reading a holder's table, larger than memory if need be, chunk by chunk."""

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from aim_core.arrays import CodeTable
from aim_core.errors import TableError
from aim_core.tables.cells import Chunk
from aim_core.tables.files.arrow_files import arrow_chunks
from aim_core.tables.files.csv_files import csv_chunks
from aim_core.tables.files.excel_files import excel_chunks
from aim_core.tables.files.formats import TableFormat, TableSource
from aim_core.tables.files.forms import Form, form_of
from aim_core.tables.misfits import Misfits
from aim_core.tables.schema import Schema

N_CHUNK_ROWS = 65_536


def read_chunks(
    source: TableSource | Path | str, n_rows: int = N_CHUNK_ROWS, skip: Collection[str] = ()
) -> Iterator[Chunk]:
    """Read a table in chunks of at most `n_rows` rows; every cell is a text, or is not there.

    Columns named in `skip` are left out, whatever they hold.

    The form follows from the file's first bytes, or else from its name: Parquet, Feather or
    Arrow, Excel, or else text, in gzip or zip too. How a text is written follows from the source's
    format, or else from the first rows where it is clear there; a path is a source without a
    format. Nothing is guessed about types. Raises TableError for a file that is missing, unreadable
    or not what it seems, or of a form that is not read; for a text that might be written in two
    ways; for a table without header or rows; for rows of another length than the header; and for
    column names that occur twice. MissingExtra for an Excel file without the package for it.
    """
    source = TableSource.of(source)
    empty = True
    for chunk in _chunks(source.path, source.format, n_rows, skip):
        empty = False
        yield chunk
    if empty:
        raise TableError(f"the table {source.path} has a header but no rows; give one with rows")


def encoded_chunks(
    source: TableSource | Path | str,
    schema: Schema,
    n_rows: int = N_CHUNK_ROWS,
    notify: Callable[[str], None] | None = None,
) -> Iterator[CodeTable]:
    """Read and code a table in chunks of (at most `n_rows`, n_columns) codes.

    Raises TableError as `read_chunks` does, and at the end of the table if any value did not fit
    the schema: the error counts them over the whole table, and chunks from the first misfit on
    are not yielded. So use no result before the iterator has ended. At that end `notify` is told
    what the schema's rules made fit; it counts rows, so it is for the table's holder only.
    """
    yield from coded_chunks(read_chunks(source, n_rows, skip=schema.unread), schema, notify)


def coded_chunks(
    chunks: Iterable[Chunk], schema: Schema, notify: Callable[[str], None] | None = None
) -> Iterator[CodeTable]:
    """Code the chunks of a table as `encoded_chunks` does."""
    misfits = Misfits()
    first_row = 1
    for chunk in chunks:
        codes = schema.encode_collecting(chunk, misfits, first_row)
        first_row += len(codes)
        if not misfits:
            yield codes
    if misfits:
        raise misfits.error()
    if notify is not None:
        for text in misfits.notices():
            notify(text)


def _chunks(path: Path, known: TableFormat, n_rows: int, skip: Collection[str]) -> Iterator[Chunk]:
    form = form_of(path)
    if form in (Form.PARQUET, Form.ARROW):
        _check_unneeded(path, form, known.given)
        return arrow_chunks(path, form, n_rows, skip)
    if form is Form.EXCEL:
        _check_unneeded(path, form, [name for name in known.given if name != "header"])
        return excel_chunks(path, known.header, n_rows, skip)
    return csv_chunks(path, form, known, n_rows, skip)


def _check_unneeded(path: Path, form: Form, given: list[str]) -> None:
    if given:
        names = ", ".join(f"--{name}" for name in given)
        raise TableError(
            f"the {form.value} file {path} says itself how it is written; leave out {names}"
        )
