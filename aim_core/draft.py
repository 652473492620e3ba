"""Drafting a schema from a table: a start for review, not yet public.

Everything drafted is marked in the file: categories and ranges were read from the data, and a
schema is published, so its owner replaces them by what is publicly known.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import TypeVar

import numpy as np

from aim_core.binned_columns import ContinuousColumn, DateColumn, IntegerColumn
from aim_core.columns import (
    FALSE_TEXTS,
    TRUE_TEXTS,
    BooleanColumn,
    CategoricalColumn,
    Column,
    loose_text,
)
from aim_core.days import UNITS, next_unit, unit_start, unit_starts
from aim_core.errors import SchemaError
from aim_core.schema import Schema
from aim_core.table import read_chunks
from aim_core.texts import (
    MISSING_TEXTS,
    Cells,
    has_leading_zero,
    parse_day,
    parse_integer,
    parse_number,
)
from aim_core.toml_text import toml_text

N_BINS = 32
MAX_CATEGORIES = 100
_MIN_RUNNING = 20
_MAX_DECIMALS = 6

Number = TypeVar("Number", int, float)

_HEADER = """DRAFT SCHEMA - NOT PRIVATE UNTIL REVIEWED.
A schema is public: all parties see it, and it is not protected by differential privacy.
Each entry marked "taken from the data" was read from this table and may reveal a person
(a rare category, an extreme value). Replace it by what is publicly known, for example the code
book's categories or a range that holds for anybody, then remove the mark."""


@dataclass(frozen=True)
class DraftedSchema:
    """A drafted schema, what to review per column, and why columns were left out."""

    schema: Schema
    notes: dict[str, str]
    dropped: dict[str, str]

    def to_toml(self) -> str:
        """Write the draft with its marks as comments; `load_schema` reads it."""
        reasons = [f"{name}: {reason}" for name, reason in self.dropped.items()]
        notes = enumerate(self.notes[column.name] for column in self.schema.columns)
        return toml_text(
            self.schema.to_dict(),
            {
                (): _HEADER,
                ("drop",): "\n".join(["Ignored columns of the table:", *reasons]),
                **{("columns", number): note for number, note in notes},
            },
        )


def draft_schema(
    path: Path | str, bins: int = N_BINS, max_categories: int = MAX_CATEGORIES
) -> DraftedSchema:
    """Infer columns from a table, read in chunks with bounded memory.

    A column of texts with more than `max_categories` different values, a running number and a
    column without values are dropped, with the reason. Raises SchemaError if nothing is left or
    `bins` or `max_categories` is below 1, and TableError as `read_chunks` does.
    """
    if bins < 1 or max_categories < 1:
        raise SchemaError("a draft needs at least 1 bin and 1 category; give larger numbers")
    profiles: dict[str, _Profile] = {}
    for chunk in read_chunks(path):
        for name, cells in chunk.items():
            profiles.setdefault(name, _Profile(name, max_categories)).add(cells)
    columns, notes, dropped = [], {}, {}
    for name, profile in profiles.items():
        reason = profile.reason_to_drop()
        if reason:
            dropped[name] = reason
            continue
        column, note = profile.column(bins)
        columns.append(column)
        notes[name] = note
    if not columns:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
        raise SchemaError(f"no column of {path} can be drafted ({reasons}); write a schema by hand")
    return DraftedSchema(Schema(tuple(columns), tuple(dropped)), notes, dropped)


@dataclass
class _Profile:
    """What the pass over a table keeps of one column: few texts, and the limits of numbers."""

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

    def reason_to_drop(self) -> str:
        """Say why the column is of no use; the empty text if it is of use."""
        if not self.n_present:
            return "it has no values"
        if self.integers and self.is_running and self.n_present >= _MIN_RUNNING:
            return "a running number, which says nothing about a row"
        typed = self.integers or self.numbers or self.days
        if not typed and len(self.categories) > self.max_categories:
            return (
                f"more than {self.max_categories} different texts, like names or identifiers "
                "(or numbers among other texts: clean those and draft again)"
            )
        return ""

    def column(self, bins: int) -> tuple[Column, str]:
        """Choose the column's type; returns it with the note for its reviewer."""
        missing = self.n_missing > 0
        seen = "; so is that there are missing values" if missing else ""
        pair = self._boolean_pair()
        if pair:
            note = "boolean; its spellings are taken from the data"
            return BooleanColumn(self.name, missing, *pair), note + seen
        if self.days:
            return self._date(bins, missing), "min and max are taken from the data" + seen
        if self.integers:
            return self._integer(bins, missing), "min and max are taken from the data" + seen
        if self.numbers:
            return self._continuous(bins, missing), "min and max are taken from the data" + seen
        distinct = {loose_text(text): text for text in sorted(self.categories, reverse=True)}
        values = tuple(sorted(distinct.values()))
        return CategoricalColumn(
            self.name, missing, values
        ), "values are taken from the data" + seen

    def _boolean_pair(self) -> tuple[tuple[str], tuple[str]] | None:
        spelled = {loose_text(text).casefold(): text for text in sorted(self.categories)}
        for true, false in zip(TRUE_TEXTS, FALSE_TEXTS, strict=True):
            if set(spelled) == {true, false}:
                return (spelled[true],), (spelled[false],)
        return None

    def _date(self, bins: int, missing: bool) -> DateColumn:
        low, high = self.days or (1, 1)
        unit = next((unit for unit in UNITS if _n_units(low, high, unit, bins) <= bins), UNITS[-1])
        return DateColumn(
            self.name, missing, unit_start(low, unit), next_unit(high, unit) - 1, unit
        )

    def _integer(self, bins: int, missing: bool) -> IntegerColumn:
        low, high = self.integers or (0, 0)
        if high - low < bins:
            return IntegerColumn(self.name, missing, low, high)
        low, high = (int(limit) for limit in _outwards(Decimal(low), Decimal(high), whole=True))
        return IntegerColumn(self.name, missing, low, high, bins)

    def _continuous(self, bins: int, missing: bool) -> ContinuousColumn:
        low, high = (Decimal(str(limit)) for limit in self.numbers or (0, 1))
        low, high = _outwards(low, high, whole=False)
        decimals = self.n_decimals if self.n_decimals <= _MAX_DECIMALS else None
        return ContinuousColumn(
            self.name, missing, float(low), float(high), bins, decimals=decimals
        )


def _limits(limits: list[Number] | None, values: Sequence[Number | None]) -> list[Number] | None:
    """Widen [low, high]; None for ever once a value is None."""
    good = [value for value in values if value is not None]
    if limits is None or len(good) < len(values):
        return None
    every = limits + good
    return [min(every), max(every)] if every else []


def _n_units(low: int, high: int, unit: str, enough: int) -> int:
    """Count calendar units, at most one more than `enough`: there may be millions of days."""
    return sum(1 for _ in itertools.islice(unit_starts(low, high, unit), enough + 1))


def _small(value: int | None) -> int | None:
    return value if value is not None and abs(value) < 2**61 else None


def _n_decimals(text: str) -> int:
    """Count the digits after the point; many for a number with an exponent."""
    return _MAX_DECIMALS + 1 if "e" in text.lower() else len(text.partition(".")[2])


def _outwards(low: Decimal, high: Decimal, *, whole: bool) -> tuple[Decimal, Decimal]:
    """Round a range outwards to limits with about two digits of the range's width."""
    width = (high - low) or abs(high) or Decimal(1)
    unit = Decimal(1).scaleb(width.adjusted() - 1)
    if whole:
        unit = max(unit, Decimal(1))
    nice_low = (low / unit).to_integral_value(ROUND_FLOOR) * unit
    nice_high = (high / unit).to_integral_value(ROUND_CEILING) * unit
    return nice_low, nice_high if nice_high > nice_low else nice_high + unit
