"""Which character separates the cells of a text table."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from aim_core.errors import TableError
from aim_core.tables.files.formats import option

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_EXCEL_LINE = re.compile(r"sep=(.)\r?\n?")
"""A first line by which Excel is told the separator; it is no row."""


def announced_separator(line: str) -> str | None:
    """Return the separator that a file's first line announces for Excel, None if it does not."""
    match = _EXCEL_LINE.fullmatch(line)
    return match[1] if match else None


def found_separator(path: Path, lines: Sequence[str]) -> str:
    """Find what separates the cells of a table's first lines, cells in quotes respected.

    Clear is the only one of comma, semicolon, tab and vertical bar that divides the first row, or
    the only one that divides all rows into equally many cells. A first row that none divides is a
    table of one column, which may have commas. TableError where it is not clear.
    """
    rows = {separator: _rows(lines, separator) for separator in _NAMES}
    dividing = [separator for separator in _NAMES if len(rows[separator][0]) > 1]
    if len(dividing) == 1:
        return dividing[0]
    if not dividing:
        below = [each for each in _NAMES if _n_cells(rows[each][1:]) not in (None, 1)]
        if not below:
            return ","
        names = " or ".join(_NAMES[each] for each in below)
        raise TableError(
            f"the first row of {path} is one cell, but {names} divide the rows below; correct the "
            f"first row, or say what separates cells with {option('separator')}"
        )
    even = [separator for separator in dividing if _n_cells(rows[separator]) is not None]
    if len(even) == 1:
        return even[0]
    names = ", ".join(_NAMES[each] for each in even or dividing)
    raise TableError(
        f"several characters could separate the cells of {path}: {names}; say which with "
        f"{option('separator')}, such as --separator semicolon"
    )


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Divide lines into rows, without blank ones; one that a quote has swallowed counts as well."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    return [row for row in reader if row] or [[]]


def _n_cells(rows: Sequence[Sequence[str]]) -> int | None:
    """Return the number of cells that all rows have, None if they differ or there are none.

    None also if a cell has half of a pair of quotes: then the rows were cut within a cell.
    """
    if any(cell.count('"') % 2 for row in rows for cell in row):
        return None
    numbers = {len(row) for row in rows}
    return numbers.pop() if len(numbers) == 1 else None
