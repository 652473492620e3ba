"""Values drawn within bins, brought into the order that constraints ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aim_core.arrays import Codes, Indices
from aim_core.tables.columns.base import Column
from aim_core.tables.columns.binned import BinnedColumn
from aim_core.tables.columns.comparing import code_ends, draws_at, value_numbers
from aim_core.tables.constraints import Order

_N_REDRAWS = 100

SeriesByName = dict[str, "pd.Series[Any]"]


def keep_orders(
    orders: Sequence[Order],
    columns: Mapping[str, Column],
    codes: Mapping[str, Codes],
    series: SeriesByName,
    generator: np.random.Generator,
) -> None:
    """Draw decoded values again, in place, where they break an order that their codes allow.

    `series` are all columns' decoded values, of (n_rows,) `codes`. Columns that orders join are
    drawn anew together until they are in order, which is the distribution of draws that are. After
    many tries the first are set to their bins' lowest values and the last to the highest: where
    only the ends of bins are in order, that is what is left. Should even that not do, for three
    columns or more whose bins' edges differ, the row becomes a copy of another row.
    """
    n_rows = len(next(iter(codes.values())))
    lost = np.zeros(n_rows, dtype=np.bool_)
    for group in _joined(orders):
        lost[_Group(group, columns, codes, series).put_in_order(generator)] = True
    if lost.any() and not lost.all():
        others = generator.choice(np.flatnonzero(~lost), int(lost.sum()))
        for values in series.values():
            values[lost] = values.iloc[others].array


def _joined(orders: Sequence[Order]) -> list[list[Order]]:
    """Put orders that share columns, directly or through others, together."""
    groups: list[list[Order]] = []
    for order in orders:
        touching = [g for g in groups if any(set(order.columns) & set(o.columns) for o in g)]
        groups = [group for group in groups if group not in touching]
        groups.append([*(o for group in touching for o in group), order])
    return groups


class _Group:
    """Orders that share columns, and the numbers that these columns' values mean."""

    def __init__(
        self,
        orders: Sequence[Order],
        columns: Mapping[str, Column],
        codes: Mapping[str, Codes],
        series: SeriesByName,
    ) -> None:
        self._orders, self._columns, self._codes = orders, columns, codes
        self._series = series
        names = dict.fromkeys(name for order in orders for name in order.columns)
        ends = {name: code_ends(columns[name]) for name in names}
        self._lows = {name: ends[name][0][codes[name]] for name in names}
        highs = {name: ends[name][1][codes[name]] for name in names}
        self._numbers = {name: lows.copy() for name, lows in self._lows.items()}
        self._can_hold = [
            ~order.broken(self._lows[order.left], highs[order.right]) for order in orders
        ]
        every_row = np.arange(len(next(iter(codes.values()))))
        for name in names:
            self._read(name, every_row)

    def put_in_order(self, generator: np.random.Generator) -> Indices:
        """Draw until all is in order; return the rows that could not be brought into it."""
        rows = self._broken(np.arange(len(self._can_hold[0])))
        for attempt in range(2 * _N_REDRAWS):
            if not len(rows):
                break
            for name in self._numbers:
                self._draw(name, rows, self._source(name, attempt, generator))
            rows = self._broken(rows)
        return rows

    def _source(
        self, name: str, attempt: int, generator: np.random.Generator
    ) -> np.random.Generator:
        if attempt < _N_REDRAWS:
            return generator
        if all(order.right != name for order in self._orders):
            return draws_at(0.0)
        return draws_at(1.0) if all(order.left != name for order in self._orders) else generator

    def _broken(self, rows: Indices) -> Indices:
        """Keep the rows that break an order that their codes could keep."""
        broken = np.zeros(len(rows), dtype=np.bool_)
        for order, can_hold in zip(self._orders, self._can_hold, strict=True):
            left, right = self._numbers[order.left][rows], self._numbers[order.right][rows]
            broken |= order.broken(left, right) & can_hold[rows]
        return rows[broken]

    def _draw(self, name: str, rows: Indices, generator: np.random.Generator) -> None:
        if isinstance(self._columns[name], BinnedColumn):
            drawn = self._columns[name].decode(self._codes[name][rows], generator)
            self._series[name].iloc[rows] = drawn.array
            self._read(name, rows)

    def _read(self, name: str, rows: Indices) -> None:
        column = self._columns[name]
        if isinstance(column, BinnedColumn):
            own = rows[~np.isnan(self._lows[name][rows])]
            self._numbers[name][own] = value_numbers(column, self._series[name].iloc[own])
