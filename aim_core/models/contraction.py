"""Contractions of tables: product and sum, as transposed views and batched matrix products.

Tables are arrays with one axis per attribute; `Axes` names them by column position. Nothing here is
compiled per structure, so a model whose structure changes each round costs only its arithmetic.
"""

import functools
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from aim_core.arrays import FloatArray
from aim_core.models.junction_tree import CellCounts, mask_of

Axes = tuple[int, ...]
"""The attributes of a table's axes, by column position."""

Value = TypeVar("Value", bound=np.generic)


def spread(table: npt.NDArray[Value], axes: Axes, onto: Axes) -> npt.NDArray[Value]:
    """View a table so that it broadcasts against a table with axes `onto` (a superset)."""
    order, shape = _spread_rule(axes, onto, table.shape)
    return table.transpose(order).reshape(shape)


@functools.lru_cache(maxsize=1 << 14)
def _spread_rule(axes: Axes, onto: Axes, shape: tuple[int, ...]) -> tuple[Axes, tuple[int, ...]]:
    """Return the order to transpose to and the shape to view as, for `spread`."""
    order = tuple(axes.index(axis) for axis in onto if axis in axes)
    wide = tuple(shape[axes.index(axis)] if axis in axes else 1 for axis in onto)
    return order, wide


def sum_onto(table: FloatArray, axes: Axes, keep: Axes) -> FloatArray:
    """Sum a table onto the axes in `keep`, which stay in their order.

    Neighbouring axes are merged first, and the sums run as matrix products with ones where NumPy's
    own reduction is slow (short last axes).
    """
    sums, kept_shape = _sum_rule(axes, keep, table.shape)
    for size, after in sums:
        table = _sum_middle(table.reshape(-1, size, after))
    return table.reshape(kept_shape)


@functools.lru_cache(maxsize=1 << 14)
def _sum_rule(
    axes: Axes, keep: Axes, shape: tuple[int, ...]
) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Return, for `sum_onto`, (cells to sum, cells after them) in turn, and the last shape."""
    runs: list[list[int]] = []  # [is kept, size] of each run of neighbouring axes
    for size, axis in zip(shape, axes, strict=True):
        is_kept = int(axis in keep)
        if runs and runs[-1][0] == is_kept:
            runs[-1][1] *= size
        else:
            runs.append([is_kept, size])
    sums = []
    while any(not is_kept for is_kept, _ in runs):
        last_dropped = max(i for i, run in enumerate(runs) if not run[0])
        sums.append((runs[last_dropped][1], math.prod(run[1] for run in runs[last_dropped + 1 :])))
        del runs[last_dropped]
    return sums, tuple(n for n, axis in zip(shape, axes, strict=True) if axis in keep)


def _sum_middle(table: FloatArray) -> FloatArray:
    """Sum an array (before, size, after) over its middle axis."""
    before, size, after = table.shape
    ones = np.ones(size)
    sums: FloatArray
    if after == 1:
        sums = table.reshape(before, size) @ ones
    elif before == 1:
        sums = ones @ table.reshape(size, after)
    else:
        sums = np.add.reduce(table, axis=1) if after >= 16 else np.matmul(ones, table)
    return sums


class Contraction:
    """Product of two tables, summed over the axes that are not wanted: one batched matmul.

    `axes` is the order of the result's axes: the order asked for when nothing is summed, else
    (axes of both, axes of the left, axes of the right). Every axis in only one operand has to be
    wanted: sum it away before. Calling it costs the cells of the union of the axes.
    """

    def __init__(self, left: Axes, right: Axes, wanted: Axes, sizes: Sequence[int]) -> None:
        cells = CellCounts(sizes)
        larger = left if cells[mask_of(left)] >= cells[mask_of(right)] else right
        both = tuple(axis for axis in larger if axis in left and axis in right)
        batch = tuple(axis for axis in both if axis in wanted)
        inner = tuple(axis for axis in both if axis not in wanted)
        rows = tuple(axis for axis in left if axis not in both)
        columns = tuple(axis for axis in right if axis not in both)
        self._left, self._right = left, right
        self._is_product = not inner
        self.axes = tuple(wanted) if self._is_product else batch + rows + columns
        self._shape = tuple(sizes[axis] for axis in self.axes)
        n_batch, n_inner = cells[mask_of(batch)], cells[mask_of(inner)]
        n_rows, n_columns = cells[mask_of(rows)], cells[mask_of(columns)]
        self._left_layout = _layout(left, batch, rows, inner, (n_batch, n_rows, n_inner))
        self._right_layout = _layout(right, batch, columns, inner, (n_batch, n_columns, n_inner))
        # Without rows and columns a matmul would be one short dot product per batch cell.
        self._is_dot = n_rows * n_columns == 1

    def __call__(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Contract two tables whose axes are those given at construction."""
        if self._is_product:
            product: FloatArray = spread(left, self._left, self.axes) * spread(
                right, self._right, self.axes
            )
            return product
        rows = _arranged(left, *self._left_layout)
        columns = _arranged(right, *self._right_layout)
        summed: FloatArray
        if self._is_dot:
            summed = np.einsum("bri,bci->b", rows, columns)
        else:
            summed = np.matmul(rows, columns.swapaxes(1, 2))
        return summed.reshape(self._shape)


_Layout = tuple[Axes, tuple[int, int, int], bool]


def _layout(
    axes: Axes, batch: Axes, own: Axes, inner: Axes, shape: tuple[int, int, int]
) -> _Layout:
    """Find how to bring a table to (batch, own, inner) with the least copying."""
    n_batch, n_own, n_inner = shape
    if axes == batch + inner + own:
        return tuple(range(len(axes))), (n_batch, n_inner, n_own), True
    order = tuple(axes.index(axis) for axis in batch + own + inner)
    return order, shape, False


def _arranged(
    table: FloatArray, order: Axes, shape: tuple[int, int, int], is_swapped: bool
) -> FloatArray:
    arranged = table.transpose(order).reshape(shape)
    return arranged.swapaxes(1, 2) if is_swapped else arranged
