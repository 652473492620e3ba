"""Whether the first row of a table has the names of its columns, or is data already."""

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from aim_core.errors import TableError
from aim_core.tables.files.formats import option
from aim_core.tables.parsing import MISSING_TEXTS

_NUMBER = re.compile(r"[+-]?(?=[.,]?[0-9])[0-9.,]*(?:[eE][+-]?[0-9]{1,3})?")
_MOMENT = re.compile(r"[0-9]{1,4}(?:[-/.:T ][0-9]{1,6})+(?:Z|[+-][0-9:]{4,6})?")

_N_COMPARED_ROWS = 1000


class _Sign(Enum):
    """What one cell of a first row speaks for: a name, a value of its type, one seen below."""

    NAME = 0
    NOTHING = 1
    TYPED = 2
    AGAIN = 3


def check_header(path: Path, first: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """Raise TableError if the first row looks like data; then --header or --no-header has to say.

    It looks so if every cell could stand below, and one of them does, or all are numbers or dates
    above such. An empty cell before 0, 1, 2, .. has names: those that pandas gives.
    """
    if list(first) == ["", *map(str, range(len(first) - 1))] and len(first) > 1:
        return
    signs = {
        _sign(cell.strip(), [below.strip() for below in column[:_N_COMPARED_ROWS]])
        for cell, column in zip(first, columns, strict=True)
        if cell.strip() not in MISSING_TEXTS
    }
    if signs == {_Sign.TYPED} or (_Sign.AGAIN in signs and _Sign.NAME not in signs):
        raise TableError(
            f"the first row of {path} looks like data, not like names of columns; say "
            f"{option('no-header')} if it is data, and --header if it has the names"
        )


def _sign(cell: str, column: Sequence[str]) -> _Sign:
    below = [text for text in column if text not in MISSING_TEXTS]
    if not below:
        return _Sign.NOTHING
    kind = _kind(cell)
    is_typed = 2 * sum(_kind(text) == kind for text in below) > len(below)
    if kind:
        return _Sign.TYPED if is_typed else _Sign.NAME
    if cell in below:
        return _Sign.AGAIN
    # a text among repeated ones would be one of them, among names of persons it says nothing
    return _Sign.NOTHING if is_typed and 2 * len(set(below)) > len(below) else _Sign.NAME


def _kind(text: str) -> str:
    if _NUMBER.fullmatch(text):
        return "number"
    return "moment" if _MOMENT.fullmatch(text) else ""
