"""What one pass over a table learns of a column, in bounded memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from aim_core.tables.cells import Cells
from aim_core.tables.columns.bins import Number
from aim_core.tables.parsing import (
    MISSING_TEXTS,
    has_leading_zero,
    parse_integer,
    parse_number,
)

MAX_TEXTS = 20_000
"""Most different texts that are counted; of more, a sample is, and what many rows have."""

NO_VALUES = frozenset(
    {".", "?", "-", "--", "*", "N", "n.a.", "N.A.", "unknown", "Unknown", "missing", "Missing"}
    | {"0000-00-00", "00.00.0000", "00/00/0000"}
)
"""Texts that stand for no value where all others are numbers, days or times."""


@dataclass
class ColumnProfile:
    """What the pass over a table keeps of one column: counted texts, and the limits of numbers.

    `counts` says how many rows have each text; of more than `MAX_TEXTS` different ones a sample by
    their hashes stays, with those that many rows have, and `is_complete` is false. `odd` counts
    texts that are no numbers. `integers` and `numbers` are [lowest, highest], empty before the
    first; `integers` is None for ever once a number is none.
    """

    name: str
    n_present: int = 0
    n_missing: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    is_complete: bool = True
    integers: list[int] | None = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    running: int | None = None
    is_running: bool = True
    _one_in: int = 1

    def add(self, cells: Cells) -> None:
        """Take in one chunk of the column."""
        texts = cells.stripped
        rows = np.bincount(cells.indices[cells.indices >= 0], minlength=len(texts)).tolist()
        present = {t: n for t, n in zip(texts, rows, strict=True) if t not in MISSING_TEXTS}
        n_present = sum(present.values())
        self.n_present += n_present
        self.n_missing += len(cells) - n_present
        self._count(present)
        valued = [text for text in present if text not in NO_VALUES]
        self._add_numbers(valued, present, len(cells))

    @property
    def n_odd(self) -> int:
        """Rows whose text is neither a number nor one of `NO_VALUES`."""
        return self.odd.total()

    def _count(self, present: dict[str, int]) -> None:
        for text, n in present.items():
            self.counts[text] += n
        while len(self.counts) > MAX_TEXTS:
            self.is_complete = False
            self._one_in *= 2
            least = self.n_present // 40
            self.counts = Counter(
                {
                    text: n
                    for text, n in self.counts.items()
                    if n > least or crc32(text.encode("utf-8", "replace")) % self._one_in == 0
                }
            )
            if self._one_in > 1 << 32:
                break

    def _add_numbers(self, valued: list[str], present: dict[str, int], n_rows: int) -> None:
        numbers = [text for text in valued if is_number(text)]
        for text in valued:
            if not is_number(text) and (text in self.odd or len(self.odd) < MAX_TEXTS):
                self.odd[text] += present[text]
        found = [parse_number(text) for text in numbers]
        self.numbers = _limits(self.numbers, found) or []
        if self.integers is not None:
            values = [_small(parse_integer(text)) for text in numbers]
            follows = len(values) == len(present) == n_rows and self._follows(values)
            self.is_running &= follows
            self.integers = _limits(self.integers, values)

    def _follows(self, values: list[int | None]) -> bool:
        """Tell whether the values count on from the last chunk, one by one."""
        first = values[0] if self.running is None else self.running + 1
        self.running = values[-1]
        return first is not None and values == list(range(first, first + len(values)))


def is_number(text: str) -> bool:
    """Tell whether a text is a number that a column of numbers can hold; a postal code is none."""
    return not has_leading_zero(text) and abs(parse_number(text)) < 1e15


def _limits(limits: list[Number] | None, values: Sequence[Number | None]) -> list[Number] | None:
    """Widen [low, high]; None for ever once a value is None."""
    good = [value for value in values if value is not None]
    if limits is None or len(good) < len(values):
        return None
    every = limits + good
    return [min(every), max(every)] if every else []


def _small(value: int | None) -> int | None:
    return value if value is not None and abs(value) < 2**61 else None
