"""A model as a product of tables: all marginals of it by one pass inside-out and one pass back.

Tables as large as a junction-tree clique are not kept, and mostly not even formed.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aim_core.arrays import FloatArray
from aim_core.models.contraction import Axes, Contraction, spread, sum_onto
from aim_core.models.junction_tree import CellCounts, mask_of


@dataclass(frozen=True)
class _Pairing:
    """Contract two tables of the network, and how to pass the derivative back to each."""

    left: int
    right: int
    inside: Contraction
    to_left: Contraction
    to_right: Contraction


class FactorNetwork:
    """Non-negative tables whose product is the model, with an order to contract them in.

    Sum-product inside and outside: the sum over everything is formed by pairwise contractions, and
    its derivative by a table, times the table, is that table's marginal. Each pass back costs two
    contractions per contraction.
    """

    def __init__(self, sizes: Sequence[int], leaves: Sequence[Axes], order: Sequence[int]) -> None:
        self._leaves = [tuple(axes) for axes in leaves]
        self._sizes = tuple(sizes)
        uses = [sum(axis in axes for axes in self._leaves) for axis in range(len(sizes))]
        # An axis that one table alone has is summed away first.
        self._axes = [tuple(axis for axis in axes if uses[axis] > 1) for axes in self._leaves]
        self._pairings: list[_Pairing] = []
        active = dict(enumerate(self._axes))
        for axis in order:
            while sum(axis in axes for axes in active.values()) > 1:
                self._contract_cheapest(active, axis)

    def _contract_cheapest(self, active: dict[int, Axes], axis: int) -> None:
        """Contract, of the tables with this axis, the two with the fewest cells together."""
        cells = CellCounts(self._sizes)
        masks = {node: mask_of(axes) for node, axes in active.items()}
        holders = [node for node in active if axis in active[node]]
        left, right = min(
            itertools.combinations(holders, 2),
            key=lambda pair: (cells[masks[pair[0]] | masks[pair[1]]], pair),
        )
        others = 0
        for node, mask in masks.items():
            others |= 0 if node in (left, right) else mask
        if cells[masks[left]] < cells[masks[right]]:
            left, right = right, left
        both = active[left] + tuple(a for a in active[right] if a not in active[left])
        wanted = tuple(a for a in both if others >> a & 1)
        inside = Contraction(active[left], active[right], wanted, self._sizes)
        to_left = Contraction(inside.axes, active[right], active[left], self._sizes)
        to_right = Contraction(inside.axes, active[left], active[right], self._sizes)
        self._pairings.append(_Pairing(left, right, inside, to_left, to_right))
        self._axes.append(inside.axes)
        del active[left], active[right]
        active[len(self._axes) - 1] = inside.axes

    def beliefs(
        self, tables: Sequence[FloatArray], total: float, out: Sequence[FloatArray]
    ) -> bool:
        """Write each table's marginal (summing to `total`) to `out`; False if all mass underflows.

        Tables have their leaf's axes; only their ratios matter.
        """
        values = [
            table if own == kept else sum_onto(table, own, kept)
            for table, own, kept in zip(tables, self._leaves, self._axes, strict=False)
        ]
        for pairing in self._pairings:
            value = pairing.inside(values[pairing.left], values[pairing.right])
            peak = value.max()
            if not 0.0 < peak < np.inf:
                return False
            value *= 1.0 / peak
            values.append(value)
        derivatives = self._derivatives(values)
        for i, own in enumerate(self._leaves):
            derivative, axes = derivatives[i]
            np.multiply(tables[i], spread(derivative, axes, own), out=out[i])
            mass = out[i].sum()
            if not 0.0 < mass < np.inf:
                return False
            scale = total / mass
            if not scale < np.inf:
                return False
            np.multiply(out[i], scale, out=out[i])
        return True

    def _derivatives(self, values: Sequence[FloatArray]) -> list[tuple[FloatArray, Axes]]:
        """Return the derivative of the total mass by each table, up to a factor, and its axes."""
        one: tuple[FloatArray, Axes] = (np.array(1.0), ())
        derivatives = [one] * len(values)
        n_leaves = len(self._leaves)
        for number in reversed(range(len(self._pairings))):
            pairing = self._pairings[number]
            above, axes = derivatives[n_leaves + number]
            if axes != pairing.inside.axes:
                above = spread(above, axes, pairing.inside.axes)
            for node, rule, factor in (
                (pairing.left, pairing.to_left, values[pairing.right]),
                (pairing.right, pairing.to_right, values[pairing.left]),
            ):
                derivative = rule(above, factor)
                peak = derivative.max()
                if peak > 0.0:
                    derivative *= 1.0 / peak
                derivatives[node] = (derivative, rule.axes)
        return derivatives
