"""Conditions on columns in their own terms: values, lists of values, ranges from low to high."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta

import numpy as np
import pandas as pd

from aim_core.arrays import Codes, FloatArray, Indices
from aim_core.errors import TableError
from aim_core.tables.cells import Cells, frame_cells
from aim_core.tables.columns.base import ABSENT, Column
from aim_core.tables.columns.binned import BinnedColumn
from aim_core.tables.columns.bins import MISFIT
from aim_core.tables.columns.cutting import Cut, cut
from aim_core.tables.columns.listed import BooleanColumn, CategoricalColumn, CodedColumn
from aim_core.tables.parsing import parse_number
from aim_core.tables.sampled.frames import spelled
from aim_core.tables.schema import Schema

_TIMELIKE = (date, time, timedelta, np.datetime64, np.timedelta64)


@dataclass(frozen=True)
class Condition:
    """What is asked of one column: the codes of `parts`, written by `column`.

    `column` is the schema's own where only whole codes are asked for; else its bins are cut where
    what is asked for begins and ends. `n_codes` is the number of the schema's codes.
    """

    column: Column
    n_codes: int
    parts: tuple[Cut, ...]

    @property
    def weights(self) -> FloatArray:
        """(n_codes,) which share of each code's values is asked for."""
        weights = np.zeros(self.n_codes)
        for part in self.parts:
            weights[part.whole] += part.share
        return np.minimum(weights, 1.0)

    @property
    def wholes(self) -> Indices:
        """(n_parts,) the schema's code of each part."""
        return np.array([part.whole for part in self.parts], dtype=np.int64)

    @property
    def codes(self) -> Indices:
        """(n_parts,) each part's code in `column`."""
        return np.array([part.code for part in self.parts], dtype=np.int64)

    def narrowed(self, codes: Codes, generator: np.random.Generator) -> Codes:
        """Draw one part of each of (n,) codes that are asked for; return its code in `column`."""
        result = np.zeros_like(codes)
        for whole, group in itertools.groupby(self.parts, lambda part: part.whole):
            parts, rows = list(group), np.flatnonzero(codes == whole)
            shares = np.array([part.share for part in parts])
            drawn = generator.choice(len(parts), len(rows), p=shares / shares.sum())
            result[rows] = np.array([part.code for part in parts], dtype=codes.dtype)[drawn]
        return result


def conditions(where: Mapping[str, object], schema: Schema) -> dict[str, Condition]:
    """Return what is asked of each column that `where` names.

    What is asked is a value, a list of values of which a record has one, or a range, a tuple (low,
    high) with both ends in it, of which None is none; ranges may stand in lists too. Values are
    those of the table, as they are written in it or as Python has them; None is a missing value.

    Raises TableError for an unknown column, for what is no value of its column, and for a range in
    a column without an order or without a value in the range.
    """
    columns = {column.name: column for column in schema.columns}
    unknown = [name for name in where if name not in columns]
    if unknown:
        raise TableError(
            f"the schema has no column {unknown[0]!r} to ask for; it has: {', '.join(columns)}"
        )
    return {name: _condition(columns[name], asked) for name, asked in where.items()}


def every_value(column: Column) -> Condition:
    """Return the condition that asks for nothing."""
    return _of_codes(column, range(column.size))


def _condition(column: Column, asked: object) -> Condition:
    items = list(asked) if isinstance(asked, list | set | frozenset) else [asked]
    codes: set[int] = set()
    ranges: list[tuple[float, float]] = []
    for item in items:
        if isinstance(item, tuple):
            ends = _ends(column, item)
            codes.update(_codes_within(column, *ends))
            ranges.append(ends)
        elif (code := _code(column, item)) in _bins_of(column):
            number = _number(column, item)
            ranges.append((number, number))
        else:
            codes.add(code)
    condition = _of_codes(column, sorted(codes))
    if isinstance(column, BinnedColumn) and ranges:
        condition = Condition(*cut(column, sorted(codes), ranges))
    if not condition.parts:
        steps = ""
        if isinstance(column, BinnedColumn) and column.bins.n_bins:
            steps = f" in steps of {float(column.grid):g}"
        raise TableError(
            f"column {column.name!r}: nothing lies in {asked!r}; ask for {column.describe()}{steps}"
        )
    return condition


def _of_codes(column: Column, codes: Sequence[int]) -> Condition:
    return Condition(column, column.size, tuple(Cut(code, code, 1.0) for code in codes))


def _bins_of(column: Column) -> range:
    """Return the codes of the column's bins."""
    if not isinstance(column, BinnedColumn):
        return range(0)
    return range(column.n_values - column.bins.n_bins, column.n_values)


def _code(column: Column, value: object) -> int:
    """Return the code of a value; TableError if it is none of the column."""
    text = _text(column, value)
    encoded = column.encode(Cells.of([text]))
    code, is_brought_in = int(encoded.codes[0]), encoded.n_clipped > 0
    if code == ABSENT:
        raise TableError(f"column {column.name!r} has no missing values; ask for others")
    if code == MISFIT or is_brought_in or (encoded.n_other and text != column.other):
        raise TableError(
            f"column {column.name!r}: {value!r} is not {column.describe()}; ask for such a value"
        )
    return code


def _ends(column: Column, pair: tuple[object, ...]) -> tuple[float, float]:
    """Return a range's ends on the column's scale; TableError if it is none."""
    if len(pair) != 2 or all(interval is None for interval in column.intervals()):
        raise TableError(
            f"column {column.name!r}: {pair!r} is no range (low, high) in a column with an order; "
            "give values that the column has, several of them as a list"
        )
    low = -math.inf if pair[0] is None else _number(column, pair[0])
    high = math.inf if pair[1] is None else _number(column, pair[1])
    if not low <= high:
        raise TableError(
            f"column {column.name!r}: a range needs two values like {column.describe()}, the lower "
            f"one first; {pair!r} is none"
        )
    return low, high


def _codes_within(column: Column, low: float, high: float) -> list[int]:
    """Return the codes of single values within a range; bins are cut instead."""
    return [
        code
        for code, interval in enumerate(column.intervals())
        if code not in _bins_of(column) and interval and low <= interval[0] <= high
    ]


def _number(column: Column, value: object) -> float:
    """Return what a value is on the column's scale; NaN if it is nothing there."""
    text = _text(column, value)
    if isinstance(column, CategoricalColumn):
        return _code(column, value)
    if text is None or not isinstance(column, BinnedColumn | CodedColumn):
        return math.nan
    return column.number_of(text) if isinstance(column, BinnedColumn) else parse_number(text)


def _text(column: Column, value: object) -> str | None:
    """Write a value as the table has it, None for a missing one."""
    if isinstance(column, BooleanColumn) and isinstance(value, bool | np.bool_):
        return (column.true if value else column.false)[0]
    text = value if isinstance(value, str) else _plain_text(value)
    if text is None or not isinstance(value, _TIMELIKE):
        return text if text is None else text.strip()
    return spelled(column, text)


def _plain_text(value: object) -> str | None:
    return frame_cells(pd.DataFrame({"value": [value]}))["value"].row(0)
