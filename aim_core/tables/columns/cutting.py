"""Bins cut at the limits of ranges, so that what is drawn from them lies within the ranges."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aim_core.tables.columns.binned import BinnedColumn
from aim_core.tables.columns.bins import RealBins
from aim_core.tables.columns.numbers import ContinuousColumn, IntegerColumn

Ticks = tuple[int, int]
"""The first and the last of some multiples of a column's grid."""


@dataclass(frozen=True)
class Cut:
    """A code or a part of its bin: its `code` in the cut column, its `share` of all its values.

    `whole` is the code in the column that was cut; a code that is kept as it is has share 1.
    """

    whole: int
    code: int
    share: float


@dataclass(frozen=True)
class _Piece:
    """A part of a bin, from `start` up to but without `end`."""

    whole: int
    start: Fraction
    end: Fraction
    share: float


def cut(
    column: BinnedColumn[Any], codes: Sequence[int], ranges: Sequence[tuple[float, float]]
) -> tuple[BinnedColumn[Any], int, tuple[Cut, ...]]:
    """Cut a column's bins at ranges that include both their ends, on the column's scale.

    Returns the cut column, the number of codes before, and what there is of `codes`, which are kept
    as they are, and of the bins within the ranges, in the order of the codes.
    """
    pieces = _pieces(column, ranges)
    n_listed = column.n_values - column.bins.n_bins
    if not pieces:
        return column, column.size, tuple(Cut(code, code, 1.0) for code in codes)
    edges: list[Fraction] = []
    own: list[Cut] = []
    for piece in pieces:
        if edges and edges[-1] == piece.start:
            edges.pop()
        own.append(Cut(piece.whole, n_listed + len(edges), piece.share))
        edges += [piece.start, piece.end]
    narrow = column.with_edges([*edges, edges[-1] + column.grid])
    shift = narrow.n_values - column.n_values
    kept = [Cut(code, code if code < n_listed else code + shift, 1.0) for code in codes]
    return narrow, column.size, tuple(sorted([*kept, *own], key=lambda part: part.whole))


def _pieces(column: BinnedColumn[Any], ranges: Sequence[tuple[float, float]]) -> list[_Piece]:
    """Return what lies within the ranges of each bin, in order."""
    if not column.bins.n_bins:
        return []
    grid, pieces = column.grid, []
    wanted = _joined([ticks for low, high in ranges if (ticks := _ticks(low, high, grid))])
    n_listed = column.n_values - column.bins.n_bins
    for index, (low, high) in enumerate(column.bins.intervals()):
        whole = n_listed + index
        first, last = _bin_ticks(column, index, low, high)
        if first > last:  # a bin too narrow for the decimals: all of it or nothing
            if any(start <= high and low <= end for start, end in ranges):
                pieces.append(_Piece(whole, _exact(low), _exact(high), 1.0))
            continue
        n_values = _n_drawn(column, first, last)
        for start, end in wanted:
            inside = max(start, first), min(end, last)
            n_inside = _n_drawn(column, *inside) if n_values else inside[1] - inside[0] + 1
            if n_inside > 0:
                share = n_inside / (n_values or last - first + 1)
                pieces.append(_Piece(whole, inside[0] * grid, (inside[1] + 1) * grid, share))
    return pieces


def _ticks(low: float, high: float, grid: Fraction) -> Ticks | None:
    """Return the multiples of the grid within a range, None if there are none."""
    first = -(1 << 80) if low == -math.inf else math.ceil(_exact(low) / grid)
    last = 1 << 80 if high == math.inf else math.floor(_exact(high) / grid)
    return (first, last) if first <= last else None


def _bin_ticks(column: BinnedColumn[Any], index: int, low: float, high: float) -> Ticks:
    """Return the multiples of the grid that a bin holds; the first above the last if none."""
    first, last = math.ceil(_exact(low) / column.grid), math.floor(_exact(high) / column.grid)
    is_open = isinstance(column.bins, RealBins) and index < column.bins.n_bins - 1
    if is_open and last * column.grid == _exact(high):
        last -= 1  # the right edge is in the next bin
    return first, last


def _n_drawn(column: BinnedColumn[Any], first: int, last: int) -> int:
    """Count the multiples of the grid that are drawn: listed values have codes of their own."""
    listed = column.values if isinstance(column, IntegerColumn | ContinuousColumn) else ()
    ticks = [_exact(value) / column.grid for value in listed]
    n_listed = sum(tick.denominator == 1 and first <= tick <= last for tick in ticks)
    return max(0, last - first + 1 - n_listed)


def _joined(ticks: Sequence[Ticks]) -> list[Ticks]:
    """Sort ranges of ticks, and make one of those that overlap or touch."""
    joined: list[Ticks] = []
    for first, last in sorted(ticks):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined


def _exact(number: float) -> Fraction:
    """Return the decimal number that a number is written as."""
    return Fraction(repr(float(number))) if isinstance(number, float) else Fraction(int(number))
