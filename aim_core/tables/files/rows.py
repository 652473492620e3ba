"""Rows of texts as columns of cells: names, a first row that is none, numbers in one spelling."""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from aim_core.errors import TableError
from aim_core.tables.cells import Cells, Chunk
from aim_core.tables.files.checks import checked_names
from aim_core.tables.files.headers import check_header
from aim_core.tables.files.spellings import Spelling

_N_BLOCK_ROWS = 256
"""Rows turned into columns at once: few, as Python's garbage collector walks each that stays."""

_N_FIRST_ROWS = 65_536
"""Rows from which it is found how a table is written, whatever the size of the chunks."""

Row = Sequence[str]
Columns = Sequence[list[str]]
FindSpellings = Callable[[Mapping[str, Collection[str]]], Mapping[str, Spelling]]
"""From the different texts of each column in the first rows, how columns spell their numbers."""


def chunks_of_rows(
    path: Path,
    rows: Iterator[Row],
    has_header: bool | None,
    n_rows: int,
    skip: Collection[str],
    find_spellings: FindSpellings,
) -> Iterator[Chunk]:
    """Turn rows into chunks of at most `n_rows`; a blank row is empty.

    A blank row is left out, but for a table of one column, where it is a missing value. Raises
    TableError as `read_chunks` does.
    """
    n_blank, first = _first_row(path, rows)
    if has_header is False:
        names = [f"column_{number}" for number in range(1, len(first) + 1)]
        rows = itertools.chain([()] * n_blank, [first], rows)
    else:
        names = checked_names(path, [name.strip() for name in first])
    full = _full_rows(path, rows, len(names))
    columns = _columns(itertools.islice(full, _N_FIRST_ROWS), len(names))
    if has_header is None:
        check_header(path, first, columns)
    named = zip(names, columns, strict=True)
    spellings = find_spellings({name: dict.fromkeys(column).keys() for name, column in named})
    while any(columns):
        for start in range(0, len(columns[0]), n_rows):
            yield {
                name: _cells(column[start : start + n_rows], spellings.get(name))
                for name, column in zip(names, columns, strict=True)
                if name not in skip
            }
        columns = _columns(itertools.islice(full, n_rows), len(names))


def _first_row(path: Path, rows: Iterator[Row]) -> tuple[int, Row]:
    """Return the first row that is not blank, and how many blank ones come before it."""
    for n_blank, row in enumerate(rows):
        if row:
            return n_blank, row
    raise TableError(f"the table {path} is empty; give a header line and rows")


def _full_rows(path: Path, rows: Iterator[Row], n_columns: int) -> Iterator[Row]:
    """Yield the rows; TableError where one is too short or too long."""
    n_row = 0
    for row in rows:
        if not row and n_columns > 1:
            continue
        n_row += 1
        if row and len(row) != n_columns:
            raise TableError(
                f"row {n_row} of {path} has {len(row)} cells, but the first line has {n_columns}; "
                "correct the row (a cell that holds the separator needs quotes)"
            )
        yield row or ("",)


def _columns(rows: Iterator[Row], n_columns: int) -> Columns:
    """Turn rows into columns, `_N_BLOCK_ROWS` at a time."""
    columns: Columns = [[] for _ in range(n_columns)]
    while block := list(itertools.islice(rows, _N_BLOCK_ROWS)):
        for column, cells in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(cells)
    return columns


def _cells(column: Sequence[str], spelling: Spelling | None) -> Cells:
    cells = Cells.of(column)
    return cells if spelling is None else cells.respelled(spelling.plain)
