"""Values of columns as numbers that can be compared: what is written, and each code's ends."""

from collections.abc import Hashable
from typing import Any, cast

import numpy as np
import pandas as pd

from aim_core.arrays import FloatArray
from aim_core.tables.columns.base import Column, Values
from aim_core.tables.columns.binned import BinnedColumn
from aim_core.tables.columns.listed import CategoricalColumn
from aim_core.tables.columns.temporal import DatetimeColumn

_NUMBERS = ("integer", "continuous", "coded")


def scale_of(column: Column) -> Hashable:
    """Return what a column's numbers are on: columns can be compared where it is equal.

    Numbers with numbers, days with days, moments of one zone with each other, categories that are
    listed in one and the same order.
    """
    if isinstance(column, CategoricalColumn):
        return column.values
    if isinstance(column, DatetimeColumn):
        return column.kind, column.zone
    return "number" if column.kind in _NUMBERS else column.kind


def code_ends(column: Column) -> tuple[FloatArray, FloatArray]:
    """Return (size,) the lowest and the highest number that decoding can give for each code.

    Both are NaN for a code without an order. In bins they can be narrower than the interval: the
    numbers are multiples of a step, have so many decimals, or stay below the bin's right edge.
    """
    pairs = [(np.nan, np.nan) if pair is None else pair for pair in column.intervals()]
    lows, highs = np.array(pairs, dtype=np.float64).T
    own = np.flatnonzero(~np.isnan(lows))
    if isinstance(column, BinnedColumn) and len(own):
        lows[own] = value_numbers(column, column.decode(own, draws_at(0.0)))
        highs[own] = value_numbers(column, column.decode(own, draws_at(1.0)))
    return lows, highs


def value_numbers(column: BinnedColumn[Any], values: "pd.Series[Any]") -> FloatArray:
    """Return (n,) what decoded values of own codes mean as numbers, as they are written."""
    if values.dtype != object:
        return values.to_numpy(dtype=np.float64)
    rows, distinct = pd.factorize(values)
    return np.array([column.number_of(str(value)) for value in distinct])[rows]


class _EndDraws:
    """Draws that all lie at one end of what they are drawn from."""

    def __init__(self, end: float) -> None:
        self._end = end

    def integers(self, lows: Values, highs: Values) -> Values:
        """Return the lowest numbers, or the last ones below the highs."""
        return highs - 1 if self._end else lows

    def random(self, n: int) -> FloatArray:
        """Return (n,) zeros, or numbers just below 1."""
        return np.full(n, np.nextafter(self._end, 0.0))


def draws_at(end: float) -> np.random.Generator:
    """Return a generator for `Column.decode` with which every bin gives its lowest (0) value.

    With 1 it gives the highest one.
    """
    return cast("np.random.Generator", _EndDraws(end))
