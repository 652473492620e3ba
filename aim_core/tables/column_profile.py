"""What one pass over a table learns of a column, in bounded memory."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aim_core.tables.cells import Cells
from aim_core.tables.columns.bins import Number
from aim_core.tables.parsing import (
    MISSING_TEXTS,
    has_leading_zero,
    parse_day,
    parse_integer,
    parse_number,
)

MAX_DECIMALS = 6
"""Most decimals that are counted."""


@dataclass
class ColumnProfile:
    """What the pass over a table keeps of one column: few texts, and the limits of numbers.

    `integers`, `numbers` and `days` are [lowest, highest] while every value so far is one, empty
    before the first, and None for ever once a value is none.
    """

    name: str
    max_categories: int
    n_present: int = 0
    n_missing: int = 0
    n_decimals: int = 0
    categories: set[str] = field(default_factory=set)
    integers: list[int] | None = field(default_factory=list)
    numbers: list[float] | None = field(default_factory=list)
    days: list[int] | None = field(default_factory=list)
    running: int | None = None
    is_running: bool = True

    def add(self, cells: Cells) -> None:
        """Take in one chunk of the column."""
        present = [text for text in cells.stripped if text not in MISSING_TEXTS]
        blank = np.array([text in MISSING_TEXTS for text in cells.stripped] + [True], dtype=bool)
        n_missing = int(np.sum(blank[cells.indices]))
        self.n_missing += n_missing
        self.n_present += len(cells) - n_missing
        if len(self.categories) <= self.max_categories:
            room = self.max_categories + 1 - len(self.categories)
            new = (text for text in present if text not in self.categories)
            self.categories.update(itertools.islice(new, room))
        self._add_numbers(present, len(cells))
        self.days = _limits(self.days, [parse_day(text) for text in present])

    def _add_numbers(self, present: list[str], n_rows: int) -> None:
        if any(has_leading_zero(text) for text in present):
            self.integers = self.numbers = None
        if self.integers is not None:
            values = [_small(parse_integer(text)) for text in present]
            self.is_running &= len(values) == n_rows and self._follows(values)
            self.integers = _limits(self.integers, values)
        if self.numbers is not None:
            floats = [parse_number(text) for text in present]
            self.numbers = _limits(self.numbers, [x if abs(x) < 1e299 else None for x in floats])
            self.n_decimals = max([self.n_decimals, *map(_n_decimals, present)])

    def _follows(self, values: list[int | None]) -> bool:
        """Tell whether the values count on from the last chunk, one by one."""
        first = values[0] if self.running is None else self.running + 1
        self.running = values[-1]
        return first is not None and values == list(range(first, first + len(values)))


def _limits(limits: list[Number] | None, values: Sequence[Number | None]) -> list[Number] | None:
    """Widen [low, high]; None for ever once a value is None."""
    good = [value for value in values if value is not None]
    if limits is None or len(good) < len(values):
        return None
    every = limits + good
    return [min(every), max(every)] if every else []


def _small(value: int | None) -> int | None:
    return value if value is not None and abs(value) < 2**61 else None


def _n_decimals(text: str) -> int:
    """Count the digits after the point; many for a number with an exponent."""
    return MAX_DECIMALS + 1 if "e" in text.lower() else len(text.partition(".")[2])
