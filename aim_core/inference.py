"""Exact inference in NumPy: contractions, calibrated junction trees, marginals and sampling.

Tables are arrays with one axis per attribute; `Axes` names them by column place. Nothing here is
compiled per structure, so a model whose structure changes each round costs only its arithmetic.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aim_core.arrays import FloatArray
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.junction_tree import (
    CellCounts,
    Edge,
    JunctionTree,
    build_tree,
    mask_of,
    places_of,
)
from aim_core.marginals import cell_indices, checked_columns

Axes = tuple[int, ...]

_SAMPLING_BLOCK = 1 << 22  # cells of conditional tables held at once while sampling


def spread(table: FloatArray, axes: Axes, onto: Axes) -> FloatArray:
    """View a table so that it broadcasts against a table with axes `onto` (a superset)."""
    order, shape = _spread_rule(axes, onto, table.shape)
    view: FloatArray = table.transpose(order).reshape(shape)
    return view


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


@dataclass(frozen=True, eq=False)
class TreeModel:
    """A Markov random field with calibrated junction-tree marginals; fits the `Model` protocol.

    `potentials` maps each maximal measured clique to its flat log-potential. `tables` holds, per
    clique of `tree`, the marginal as a table in column order, in counts that sum to `total`.
    """

    domain: Domain
    total: float
    potentials: Mapping[Clique, FloatArray]
    tree: JunctionTree
    tables: tuple[FloatArray, ...]

    @property
    def cliques(self) -> tuple[Clique, ...]:
        """The cliques that carry potentials."""
        return tuple(self.potentials)

    def marginals(self, cliques: Sequence[Clique]) -> list[FloatArray]:
        """Return the model's marginals, flat float64 that sum to `total`, one per clique.

        Work is shared within one call: ask for many at once. Raises WorkloadError for a clique
        that the domain does not have.
        """
        masks = [mask_of(self.domain.positions(self.domain.canonical(c))) for c in cliques]
        queries = _Queries(self)
        # Large sets first: their tables then serve their subsets.
        for mask in sorted(set(masks), key=lambda m: (-m.bit_count(), m)):
            queries.marginal(mask)
        return [_owned(queries.marginal(mask), self.tables) for mask in masks]

    def sample(self, n_rows: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw `(n_rows, d)` codes whose marginals follow the model's up to rounding.

        Clique by clique from the root, the rows with the same codes on the separator share their
        clique's other codes out by the conditional distribution: each configuration gets the floor
        or the ceiling of its expected number (systematic rounding with an offset drawn per group),
        in random order within the group. Compare `synthetic_data(method="round")` of mbi.
        """
        if n_rows < 0:
            raise MechanismError(f"cannot sample {n_rows} rows; ask for 0 or more")
        rows = np.zeros((n_rows, len(self.domain)), dtype=np.int64)
        above = {edge.child: edge.separator for edge in self.tree.edges}
        for place in _parents_first(self.tree) if n_rows else ():
            clique, separator = self.tree.cliques[place], above.get(place, 0)
            _extend_rows(rows, self.tables[place], clique, separator, generator)
        return rows

    def log_density(self, codes: NDArray[np.integer[Any]]) -> FloatArray:
        """Return the natural logarithm of each row's probability, `(n_rows,)`.

        The probability of a row of `(n_rows, d)` codes is the product of the cliques' normalised
        marginals over that of the separators'. It is `-inf` where a clique gives the row's cell no
        mass, or less than double precision holds. Raises TableError for codes outside the domain.
        """
        columns = checked_columns(codes, self.domain)
        density = np.zeros(len(codes))
        for clique, table in zip(self.tree.cliques, self.tables, strict=True):
            density += self._log_probability(columns, places_of(clique), table)
        for edge in self.tree.edges:
            axes, shared = places_of(self.tree.cliques[edge.parent]), places_of(edge.separator)
            table = sum_onto(self.tables[edge.parent], axes, shared)
            below = self._log_probability(columns, shared, table)
            # A separator without mass is in cliques without mass: -inf stands already.
            density -= np.where(np.isneginf(below), 0.0, below)
        return density

    def _log_probability(
        self, columns: Sequence[NDArray[np.int64]], axes: Axes, table: FloatArray
    ) -> FloatArray:
        """Look each row's cell up in a table over `axes`, as a logarithm of a probability."""
        clique = tuple(self.domain.attributes[axis] for axis in axes)
        mass = table.reshape(-1)[cell_indices(columns, self.domain, clique)] / self.total
        with np.errstate(divide="ignore"):
            logs: FloatArray = np.log(mass)
        return logs


def _owned(table: FloatArray, shared: Sequence[FloatArray]) -> FloatArray:
    """Flatten a table; copy it if it is one of the model's own."""
    flat = np.ascontiguousarray(table).reshape(-1)
    return flat.copy() if any(np.shares_memory(flat, other) for other in shared) else flat


def _parents_first(tree: JunctionTree) -> list[int]:
    children = {edge.child for edge in tree.edges}
    roots = [place for place in range(len(tree.cliques)) if place not in children]
    return roots + [edge.child for edge in tree.edges]


def calibrate(domain: Domain, potentials: Mapping[Clique, FloatArray], total: float) -> TreeModel:
    """Turn log-potentials into a model with calibrated junction-tree marginals.

    Potentials are flat, in column order, on any cliques. Messages go up and down the tree once, in
    log space. Raises MechanismError for potentials that are not finite and WorkloadError for
    cliques that the domain does not have.
    """
    masks = {clique: mask_of(domain.positions(domain.canonical(clique))) for clique in potentials}
    tree = build_tree(domain.sizes, masks.values())
    axes = [places_of(clique) for clique in tree.cliques]
    tables = [np.zeros([domain.sizes[axis] for axis in own]) for own in axes]
    for clique, mask in masks.items():
        if not np.isfinite(potentials[clique]).all():
            raise MechanismError(f"the potential of ({','.join(clique)}) is not finite")
        # Cliques of the tree come largest first: the last that holds the mask is the smallest.
        place = max(i for i, holder in enumerate(tree.cliques) if mask & ~holder == 0)
        own = places_of(mask)
        table = potentials[clique].reshape(domain.shape(clique))
        tables[place] += spread(table, own, axes[place])
    _collect(tree.edges, axes, tables)
    _distribute(tree, axes, tables, total)
    return TreeModel(domain, total, dict(potentials), tree, tuple(tables))


def _collect(edges: Sequence[Edge], axes: Sequence[Axes], tables: list[FloatArray]) -> None:
    """Pass log-messages to the roots; each child's table becomes log P(child | separator)."""
    for edge in reversed(edges):
        child, shared = tables[edge.child], places_of(edge.separator)
        dropped = tuple(i for i, axis in enumerate(axes[edge.child]) if axis not in shared)
        peak = child.max(axis=dropped, keepdims=True)
        child -= peak
        weight = sum_onto(np.exp(child), axes[edge.child], shared)
        message = np.log(weight)
        child -= spread(message, shared, axes[edge.child])
        message += peak.reshape(message.shape)
        tables[edge.parent] += spread(message, shared, axes[edge.parent])


def _distribute(
    tree: JunctionTree, axes: Sequence[Axes], tables: list[FloatArray], total: float
) -> None:
    """Pass marginals down from the roots; each table becomes its clique's marginal, in place."""
    above = {edge.child: edge for edge in tree.edges}
    for place in _parents_first(tree):
        table = tables[place]
        if place not in above:
            table -= table.max()
        np.exp(table, out=table)
        if place in above:
            edge = above[place]
            shared = places_of(edge.separator)
            known = sum_onto(tables[edge.parent], axes[edge.parent], shared)
            table *= spread(known, shared, axes[place])
        table *= total / table.sum()


class _Queries:
    """Variable elimination over a calibrated tree; tables of one batch are kept and shared."""

    def __init__(self, model: TreeModel) -> None:
        self._model = model
        self._cells = CellCounts(model.domain.sizes)
        self._known: dict[int, FloatArray] = {0: np.array(model.total)}
        self._known |= dict(zip(model.tree.cliques, model.tables, strict=True))
        self._conditionals: dict[tuple[int, int], FloatArray] = {}
        self._beyond = _attributes_beyond(model.tree)
        self._components = _components(model.tree)

    def marginal(self, mask: int) -> FloatArray:
        """Return the marginal over a mask, axes in column order."""
        if mask in self._known:
            return self._known[mask]
        holders = [other for other in self._known if mask & ~other == 0]
        if holders:
            holder = min(holders, key=lambda other: (self._cells[other], other))
            table = sum_onto(self._known[holder], places_of(holder), places_of(mask))
        else:
            parts = [mask & component for component in self._components if mask & component]
            table = self._independent(parts) if len(parts) > 1 else self._connected(mask)
        self._known[mask] = table
        return table

    def _independent(self, parts: Sequence[int]) -> FloatArray:
        """Multiply marginals over different components of the forest."""
        mask, table = parts[0], self.marginal(parts[0])
        for part in parts[1:]:
            factor = self.marginal(part) * (1.0 / self._model.total)
            table = self._contract(mask, table, part, factor, mask | part)
            mask |= part
        return table

    def _connected(self, mask: int) -> FloatArray:
        """Eliminate what is not asked for from the subtree that joins the attributes asked for."""
        roots = [i for i, clique in enumerate(self._model.tree.cliques) if mask & clique]
        plans = [self._factors(root, 0, mask, -1) for root in roots]
        plan = min(plans, key=lambda factors: sum(self._cells[joint] for joint, _ in factors))
        factors = [(joint, self._conditional(joint, given)) for joint, given in plan]
        return self._eliminate(factors, mask)

    def _factors(self, place: int, given: int, mask: int, source: int) -> list[tuple[int, int]]:
        """List the factors P(joint | given), seen from a clique away from `source`.

        Of each clique only what is asked for, and what joins it to the rest, is taken.
        """
        edges = [e for e in self._beyond[place] if e[2] != source and mask & e[1]]
        own = mask & self._model.tree.cliques[place]
        for separator, _, _ in edges:
            own |= separator
        factors = [(own | given, given)] if own & ~given else []
        for separator, _, neighbour in edges:
            factors += self._factors(neighbour, separator, mask, place)
        return factors

    def _conditional(self, joint: int, given: int) -> FloatArray:
        """Return P(joint | given), 0 where P(given) is; the plain marginal if nothing is given."""
        table = self.marginal(joint)
        if not given:
            return table
        if (joint, given) not in self._conditionals:
            base = spread(self.marginal(given), places_of(given), places_of(joint))
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
        return sum_onto(table, places_of(last), places_of(mask))

    def _pair_cost(
        self, factors: Sequence[tuple[int, FloatArray]], pair: tuple[int, int], mask: int
    ) -> tuple[int, int, tuple[int, int]]:
        """Rank a pair: how many cells its product adds, then how many cells it forms."""
        left, right = factors[pair[0]][0], factors[pair[1]][0]
        kept = mask
        for place, (other, _) in enumerate(factors):
            kept |= other if place not in pair else 0
        result = self._cells[(left | right) & kept]
        return result - self._cells[left] - self._cells[right], self._cells[left | right], pair

    def _trim(
        self, left: int, table: FloatArray, right: int, factor: FloatArray, wanted: int
    ) -> tuple[tuple[int, FloatArray], tuple[int, FloatArray]]:
        """Sum away from each of two factors what neither the other nor anything else has."""
        own, others = left & (right | wanted), right & (left | wanted)
        table = sum_onto(table, places_of(left), places_of(own))
        factor = sum_onto(factor, places_of(right), places_of(others))
        return (own, table), (others, factor)

    def _contract(
        self, left: int, table: FloatArray, right: int, factor: FloatArray, wanted: int
    ) -> FloatArray:
        out = places_of(wanted)
        rule = Contraction(places_of(left), places_of(right), out, self._model.domain.sizes)
        return spread(rule(table, factor), rule.axes, out)


def _attributes_beyond(tree: JunctionTree) -> list[list[tuple[int, int, int]]]:
    """List per clique (separator, attributes only beyond that edge, neighbour)."""
    beside: list[list[tuple[int, int]]] = [[] for _ in tree.cliques]
    for edge in tree.edges:
        beside[edge.parent].append((edge.child, edge.separator))
        beside[edge.child].append((edge.parent, edge.separator))

    def reach(place: int, source: int) -> int:
        mask = tree.cliques[place]
        for neighbour, _ in beside[place]:
            if neighbour != source:
                mask |= reach(neighbour, place)
        return mask

    return [
        [(sep, reach(other, place) & ~tree.cliques[place], other) for other, sep in beside[place]]
        for place in range(len(tree.cliques))
    ]


def _components(tree: JunctionTree) -> list[int]:
    """Return the attributes of each connected part of the forest."""
    parts = dict(enumerate(tree.cliques))
    root = list(range(len(tree.cliques)))
    for edge in tree.edges:
        root[edge.child] = root[edge.parent]
        parts[root[edge.parent]] |= parts.pop(edge.child)
    return list(parts.values())


def _extend_rows(
    rows: NDArray[np.int64],
    table: FloatArray,
    clique: int,
    separator: int,
    generator: np.random.Generator,
) -> None:
    """Draw a clique's attributes outside the separator for all rows, in place."""
    axes, shared = places_of(clique), places_of(separator)
    fresh = tuple(axis for axis in axes if axis not in shared)
    shape = [table.shape[axes.index(axis)] for axis in fresh]
    order = [axes.index(axis) for axis in shared + fresh]
    n_fresh = int(np.prod(shape, dtype=np.int64))
    conditional = table.transpose(order).reshape(-1, n_fresh)
    group = np.zeros(len(rows), dtype=np.int64)
    for axis in shared:
        group = group * table.shape[axes.index(axis)] + rows[:, axis]
    shuffled = generator.permutation(len(rows))
    by_group = shuffled[np.argsort(group[shuffled], kind="stable")]
    present, counts = np.unique(group, return_counts=True)
    codes = _share_out(conditional, present, counts, generator)
    for axis, column in zip(fresh, np.unravel_index(codes, shape), strict=True):
        rows[by_group, axis] = column


def _share_out(
    conditional: FloatArray,
    present: NDArray[np.int64],
    counts: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return, group by group, the outcomes (columns of `conditional`) of each group's rows."""
    n_outcomes = conditional.shape[1]
    outcomes = []
    step = max(1, _SAMPLING_BLOCK // n_outcomes)
    for start in range(0, len(present), step):
        size = counts[start : start + step, None].astype(np.float64)
        sums = np.cumsum(conditional[present[start : start + step]], axis=1)
        # A group that the model gives no mass at all is spread evenly.
        sums[sums[:, -1] <= 0] = np.arange(1, n_outcomes + 1)
        sums *= size / sums[:, -1:]
        sums[:, -1:] = size
        sums += generator.random(size.shape)
        np.minimum(np.floor(sums, out=sums), size, out=sums)
        numbers = np.diff(sums, axis=1, prepend=0.0).astype(np.int64)
        flat = np.flatnonzero(numbers)
        outcomes.append(np.repeat(flat % n_outcomes, numbers.ravel()[flat]))
    return np.concatenate(outcomes)
