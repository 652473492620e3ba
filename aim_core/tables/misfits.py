"""Values of a holder's table that do not fit the schema, counted per column."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aim_core.arrays import Codes
from aim_core.errors import TableError
from aim_core.tables.bins import MISFIT
from aim_core.tables.cells import Cells
from aim_core.tables.columns import ABSENT, Column

N_EXAMPLES = 3
_MAX_SHOWN = 40


@dataclass
class _ColumnMisfits:
    column: Column
    n_misfits: int = 0
    n_absent: int = 0
    examples: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        lines = []
        if self.n_misfits:
            lines.append(
                f"  {self.column.name}: {_counted(self.n_misfits, 'value is', 'values are')} not "
                f"{self.column.describe()} ({', '.join(self.examples)})"
            )
        if self.n_absent:
            lines.append(
                f"  {self.column.name}: {_counted(self.n_absent, 'value is', 'values are')} "
                "missing, and the column has no code for that (missing = true gives it one)"
            )
        return lines


class Misfits:
    """Collects what does not fit, over all chunks of a table.

    The text of its error holds example values: it is for the table's holder only.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _ColumnMisfits] = {}

    def __bool__(self) -> bool:
        return bool(self._columns)

    def add(self, column: Column, codes: Codes, cells: Cells, first_row: int) -> None:
        """Count the `MISFIT` and `ABSENT` codes of one column of a chunk.

        `first_row` is the number of the chunk's first row in the table, counted from 1.
        """
        misfits, n_absent = np.flatnonzero(codes == MISFIT), int(np.sum(codes == ABSENT))
        if not len(misfits) and not n_absent:
            return
        entry = self._columns.setdefault(column.name, _ColumnMisfits(column))
        entry.n_misfits += len(misfits)
        entry.n_absent += n_absent
        for index in misfits[: N_EXAMPLES - len(entry.examples)]:
            entry.examples.append(f"row {first_row + index}: {_shown(str(cells.row(index)))}")

    def error(self) -> TableError:
        """Make the error that lists all columns."""
        entries = self._columns.values()
        n_all = sum(entry.n_misfits + entry.n_absent for entry in entries)
        columns = "1 column" if len(entries) == 1 else f"{len(entries)} columns"
        lines = [line for entry in entries for line in entry.lines()]
        return TableError(
            f"the table does not fit the schema: {_counted(n_all, 'value', 'values')} in {columns}"
            "\n" + "\n".join(lines) + "\ncorrect the table, or widen the schema for all holders"
        )


def column_mismatch(expected: Sequence[str], dropped: Sequence[str], found: Sequence[str]) -> str:
    """Say which columns lack or are unknown; the empty text if all is well."""
    known = {*expected, *dropped}
    absent = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in known]
    texts = []
    if absent:
        texts.append(f"the table lacks the schema's {_named(absent)}")
    if unknown:
        texts.append(f"the table has {_named(unknown)} that the schema does not know")
    if not texts:
        return ""
    return (
        "; ".join(texts)
        + "; rename or remove columns in the table, or list those to ignore in the "
        "schema's `drop`"
    )


def _named(names: Sequence[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(repr(name) for name in names)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "...")
