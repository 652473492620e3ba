"""Values of a holder's table that do not fit the schema, or were made to, counted per column."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aim_core.errors import TableError
from aim_core.tables.cells import Cells
from aim_core.tables.columns.base import ABSENT, Column, Encoded
from aim_core.tables.columns.bins import MISFIT
from aim_core.tables.constraints import Constraint

N_EXAMPLES = 3
_MAX_SHOWN = 40
_COMMA_NUMBER = re.compile(r"'[+-]?[0-9]+,[0-9]+'")


@dataclass
class _ColumnMisfits:
    column: Column
    n_misfits: int = 0
    n_absent: int = 0
    n_clipped: int = 0
    n_other: int = 0
    examples: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        lines = []
        if self.n_misfits:
            lines.append(
                f"  {self.column.name}: {_counted(self.n_misfits, 'value is', 'values are')} not "
                f"{self.column.describe()} ({', '.join(self.examples)})"
            )
            if any(_COMMA_NUMBER.search(example) for example in self.examples):
                lines.append(
                    "    (if the comma belongs to numbers, say what it means: --decimal comma or "
                    "--thousands comma; in a holder's config under [format])"
                )
        if self.n_absent:
            lines.append(
                f"  {self.column.name}: {_counted(self.n_absent, 'value is', 'values are')} "
                "missing, and the column has no code for that (missing = true gives it one)"
            )
        return lines

    def notices(self) -> list[str]:
        name, lines = self.column.name, []
        if self.n_clipped:
            values = _counted(self.n_clipped, "value was", "values were")
            lines.append(f"column {name}: {values} outside and brought to the nearest bin (`clip`)")
        if self.n_other:
            values = _counted(self.n_other, "value", "values")
            lines.append(f"column {name}: {values} became {self.column.other!r} (`other`)")
        return lines


class Misfits:
    """Collects what does not fit, or was made to fit, over all chunks of a table.

    The text of its error holds example values, and its notices hold counts: both are for the
    table's holder only.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _ColumnMisfits] = {}
        self._broken: dict[Constraint, int] = {}

    def __bool__(self) -> bool:
        return any(entry.n_misfits or entry.n_absent for entry in self._columns.values())

    def notices(self) -> list[str]:
        """Say how many values `clip` and `other` made fit, and which constraints rows break."""
        lines = [line for entry in self._columns.values() for line in entry.notices()]
        for constraint, n_rows in self._broken.items():
            rows = _counted(n_rows, "row breaks", "rows break")
            lines.append(f"{rows} the constraint {constraint.describe()}; counted all the same")
        return lines

    def add(self, column: Column, encoded: Encoded, cells: Cells, first_row: int) -> None:
        """Count what became of one column of a chunk.

        `first_row` is the number of the chunk's first row in the table, counted from 1.
        """
        codes = encoded.codes
        misfits, n_absent = np.flatnonzero(codes == MISFIT), int(np.sum(codes == ABSENT))
        if not (len(misfits) or n_absent or encoded.n_clipped or encoded.n_other):
            return
        entry = self._columns.setdefault(column.name, _ColumnMisfits(column))
        entry.n_misfits += len(misfits)
        entry.n_absent += n_absent
        entry.n_clipped += encoded.n_clipped
        entry.n_other += encoded.n_other
        for index in misfits[: N_EXAMPLES - len(entry.examples)]:
            entry.examples.append(f"row {first_row + index}: {_shown(str(cells.row(index)))}")

    def add_broken(self, constraint: Constraint, n_rows: int) -> None:
        """Count rows of a chunk that break a constraint."""
        if n_rows:
            self._broken[constraint] = self._broken.get(constraint, 0) + n_rows

    def error(self) -> TableError:
        """Make the error that lists all columns."""
        entries = [entry for entry in self._columns.values() if entry.lines()]
        n_all = sum(entry.n_misfits + entry.n_absent for entry in entries)
        columns = "1 column" if len(entries) == 1 else f"{len(entries)} columns"
        lines = [line for entry in entries for line in entry.lines()]
        return TableError(
            f"the table does not fit the schema: {_counted(n_all, 'value', 'values')} in {columns}"
            "\n" + "\n".join(lines) + "\ncorrect the table, or widen the schema for all holders "
            "(`clip` and `other` take in what lies outside)"
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
