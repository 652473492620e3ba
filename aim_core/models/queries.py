"""Marginals of a calibrated junction tree that none of its cliques holds: variable elimination."""

import itertools
from collections.abc import Sequence

import numpy as np

from aim_core.arrays import FloatArray
from aim_core.models.contraction import Contraction, spread, sum_onto
from aim_core.models.junction_tree import CellCounts, JunctionTree, positions_of


class Queries:
    """Variable elimination over a calibrated tree; tables of one batch are kept and shared.

    `tables` are the marginals of the tree's cliques, which sum to `total`; `sizes` are those of all
    attributes.
    """

    def __init__(
        self, sizes: Sequence[int], tree: JunctionTree, tables: Sequence[FloatArray], total: float
    ) -> None:
        self._sizes, self._tree, self._total = sizes, tree, total
        self._cells = CellCounts(sizes)
        self._known: dict[int, FloatArray] = {0: np.array(total)}
        self._known |= dict(zip(tree.cliques, tables, strict=True))
        self._conditionals: dict[tuple[int, int], FloatArray] = {}
        self._beyond = _attributes_beyond(tree)
        self._components = _components(tree)

    def marginal(self, mask: int) -> FloatArray:
        """Return the marginal over a mask, axes in column order."""
        if mask in self._known:
            return self._known[mask]
        holders = [other for other in self._known if mask & ~other == 0]
        if holders:
            holder = min(holders, key=lambda other: (self._cells[other], other))
            table = sum_onto(self._known[holder], positions_of(holder), positions_of(mask))
        else:
            parts = [mask & component for component in self._components if mask & component]
            table = self._independent(parts) if len(parts) > 1 else self._connected(mask)
        self._known[mask] = table
        return table

    def _independent(self, parts: Sequence[int]) -> FloatArray:
        """Multiply marginals over different components of the forest."""
        mask, table = parts[0], self.marginal(parts[0])
        for part in parts[1:]:
            factor = self.marginal(part) * (1.0 / self._total)
            table = self._contract(mask, table, part, factor, mask | part)
            mask |= part
        return table

    def _connected(self, mask: int) -> FloatArray:
        """Eliminate what is not asked for from the subtree that joins the attributes asked for."""
        roots = [i for i, clique in enumerate(self._tree.cliques) if mask & clique]
        plans = [self._factors(root, 0, mask, -1) for root in roots]
        plan = min(plans, key=lambda factors: sum(self._cells[joint] for joint, _ in factors))
        factors = [(joint, self._conditional(joint, given)) for joint, given in plan]
        return self._eliminate(factors, mask)

    def _factors(self, index: int, given: int, mask: int, source: int) -> list[tuple[int, int]]:
        """List the factors P(joint | given), seen from a clique away from `source`.

        Of each clique only what is asked for, and what joins it to the rest, is taken.
        """
        edges = [e for e in self._beyond[index] if e[2] != source and mask & e[1]]
        own = mask & self._tree.cliques[index]
        for separator, _, _ in edges:
            own |= separator
        factors = [(own | given, given)] if own & ~given else []
        for separator, _, neighbour in edges:
            factors += self._factors(neighbour, separator, mask, index)
        return factors

    def _conditional(self, joint: int, given: int) -> FloatArray:
        """Return P(joint | given), 0 where P(given) is; the plain marginal if nothing is given."""
        table = self.marginal(joint)
        if not given:
            return table
        if (joint, given) not in self._conditionals:
            base = spread(self.marginal(given), positions_of(given), positions_of(joint))
            quotient = np.divide(table, base, out=np.zeros_like(table), where=base > 0)
            self._conditionals[joint, given] = quotient
        return self._conditionals[joint, given]

    def _eliminate(self, factors: list[tuple[int, FloatArray]], mask: int) -> FloatArray:
        """Multiply factors and sum onto a mask, pair by pair, the smallest product first."""
        factors = list(factors)
        while len(factors) > 1:
            pairs = itertools.combinations(range(len(factors)), 2)
            i, j = min(pairs, key=lambda pair: self._pair_cost(factors, pair, mask))
            right, left = factors.pop(j), factors.pop(i)
            wanted = mask
            for other, _ in factors:
                wanted |= other
            (left_mask, table), (right_mask, factor) = self._trim(*left, *right, wanted)
            wanted &= left_mask | right_mask
            product = self._contract(left_mask, table, right_mask, factor, wanted)
            factors.append((wanted, product))
        last, table = factors[0]
        return sum_onto(table, positions_of(last), positions_of(mask))

    def _pair_cost(
        self, factors: Sequence[tuple[int, FloatArray]], pair: tuple[int, int], mask: int
    ) -> tuple[int, int, tuple[int, int]]:
        """Rank a pair: how many cells its product adds, then how many cells it forms."""
        left, right = factors[pair[0]][0], factors[pair[1]][0]
        kept = mask
        for index, (other, _) in enumerate(factors):
            kept |= other if index not in pair else 0
        result = self._cells[(left | right) & kept]
        return result - self._cells[left] - self._cells[right], self._cells[left | right], pair

    def _trim(
        self, left: int, table: FloatArray, right: int, factor: FloatArray, wanted: int
    ) -> tuple[tuple[int, FloatArray], tuple[int, FloatArray]]:
        """Sum away from each of two factors what neither the other nor anything else has."""
        own, others = left & (right | wanted), right & (left | wanted)
        table = sum_onto(table, positions_of(left), positions_of(own))
        factor = sum_onto(factor, positions_of(right), positions_of(others))
        return (own, table), (others, factor)

    def _contract(
        self, left: int, table: FloatArray, right: int, factor: FloatArray, wanted: int
    ) -> FloatArray:
        out = positions_of(wanted)
        rule = Contraction(positions_of(left), positions_of(right), out, self._sizes)
        return spread(rule(table, factor), rule.axes, out)


def _attributes_beyond(tree: JunctionTree) -> list[list[tuple[int, int, int]]]:
    """List per clique (separator, attributes only beyond that edge, neighbour)."""
    beside: list[list[tuple[int, int]]] = [[] for _ in tree.cliques]
    for edge in tree.edges:
        beside[edge.parent].append((edge.child, edge.separator))
        beside[edge.child].append((edge.parent, edge.separator))

    def reach(index: int, source: int) -> int:
        mask = tree.cliques[index]
        for neighbour, _ in beside[index]:
            if neighbour != source:
                mask |= reach(neighbour, index)
        return mask

    return [
        [(sep, reach(other, index) & ~tree.cliques[index], other) for other, sep in beside[index]]
        for index in range(len(tree.cliques))
    ]


def _components(tree: JunctionTree) -> list[int]:
    """Return the attributes of each connected part of the forest."""
    parts = dict(enumerate(tree.cliques))
    root = list(range(len(tree.cliques)))
    for edge in tree.edges:
        root[edge.child] = root[edge.parent]
        parts[root[edge.parent]] |= parts.pop(edge.child)
    return list(parts.values())
