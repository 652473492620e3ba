"""Tables on the first sheet of an Excel file, row by row."""

import datetime as dt
import itertools
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from aim_core.errors import MissingExtra, TableError
from aim_core.extras import import_optional
from aim_core.tables.cells import Chunk, elapsed_text
from aim_core.tables.files.rows import chunks_of_rows

_MOST_BYTES = 2**32
_MOST_SHARED_BYTES = 2**28
"""Most unpacked bytes of all of a file, and of each part that is held as a whole."""

_SHEETS = "xl/worksheets/"
"""Where the parts lie that are not held as a whole."""

_N_FIRST_ROWS = 100
"""Rows from which the number of columns is found: the first may lack names at its right."""

_NO_CODES = re.compile(r'"[^"]*"|\\.|\[[^]]*\]')
"""Parts of a number format that are no codes for days or hours."""

_BROKEN = (BadZipFile, LookupError, ValueError, TypeError, AttributeError, SyntaxError)
_BROKEN_STREAM = (OSError, EOFError, zlib.error, NotImplementedError)
"""What a broken file makes of the package that reads it; bad XML is a SyntaxError."""


def excel_chunks(
    path: Path, has_header: bool | None, n_rows: int, skip: Collection[str]
) -> Iterator[Chunk]:
    """Read the first sheet of an Excel file; TableError for no table, as `read_chunks` says.

    Numbers, days and times are their plain texts, whatever the sheet shows. MissingExtra without
    the package that reads such files.
    """
    rows = _padded(_without_last_blanks(_rows(path)))
    return chunks_of_rows(path, rows, has_header, n_rows, skip, lambda _columns: {})


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the texts of each row, without the empty ones at its right."""
    try:
        openpyxl = import_optional("openpyxl", "excel")
    except MissingExtra as error:
        raise MissingExtra(
            f"{path}: this is an Excel file; save it as CSV, or install what reads it: "
            "pip install 'distaim[excel]'"
        ) from error
    try:
        _check_size(path)
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            sheet = workbook.worksheets[0]
            # what a file says of its size is not taken on trust
            sheet.reset_dimensions()
            for row in sheet.iter_rows():
                texts = [_text(cell) for cell in row]
                while texts and not texts[-1]:
                    del texts[-1]
                yield texts
        finally:
            workbook.close()
    except (*_BROKEN, *_BROKEN_STREAM) as error:
        raise TableError(
            f"{path}: this is an Excel file, but it cannot be read ({error}); save it again in "
            "Excel, or as CSV"
        ) from error


def _check_size(path: Path) -> None:
    with ZipFile(path) as archive:
        sizes = {each.filename: each.file_size for each in archive.infolist()}
    held = [size for name, size in sizes.items() if not name.startswith(_SHEETS)]
    if sum(sizes.values()) > _MOST_BYTES or max(held, default=0) > _MOST_SHARED_BYTES:
        raise TableError(f"the Excel file {path} is too large to be unpacked; save it as CSV")


def _without_last_blanks(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Leave out the blank rows at the end of a sheet, which are no rows of the table."""
    n_blank = 0
    for row in rows:
        if not row:
            n_blank += 1
            continue
        yield from ([] for _ in range(n_blank))
        n_blank = 0
        yield row


def _padded(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Give all rows but blank ones the number of cells that the longest of the first ones has."""
    first = list(itertools.islice(rows, _N_FIRST_ROWS))
    n_columns = max(map(len, first), default=0)
    for row in itertools.chain(first, rows):
        yield row + [""] * (n_columns - len(row)) if row else row


def _text(cell: Any) -> str:
    """Return a cell's plain text, the empty one if it has no value."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"  # more digits than Excel has are none of the value's own
    if isinstance(value, dt.datetime) and value.time() == dt.time() and not _has_hours(cell):
        return value.date().isoformat()
    if isinstance(value, dt.timedelta):
        return elapsed_text(value // dt.timedelta(microseconds=1) * 1000)
    return str(value)


def _has_hours(cell: Any) -> bool:
    return "h" in _NO_CODES.sub("", cell.number_format).lower()
