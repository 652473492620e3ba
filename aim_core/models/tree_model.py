"""A calibrated junction tree as a model: its marginals, densities, and samples, exact in NumPy."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aim_core.arrays import CodeTable, Counts, FloatArray, Indices
from aim_core.counts.marginals import cell_indices, checked_columns
from aim_core.domain import Clique, Domain, StructuralZeros
from aim_core.errors import MechanismError, TableError
from aim_core.models.contraction import Axes, spread, sum_onto
from aim_core.models.junction_tree import Edge, JunctionTree, build_tree, mask_of, positions_of
from aim_core.models.queries import Queries
from aim_core.models.structural_zeros import allowed_tables, contradiction

_SAMPLING_BLOCK = 1 << 22  # cells of conditional tables held at once while sampling


@dataclass(frozen=True, eq=False)
class TreeModel:
    """A Markov random field with calibrated junction-tree marginals; fits the `Model` protocol.

    `potentials` maps each maximal clique of the fit to its flat log-potential. `tables` holds, per
    clique of `tree`, the marginal as a table in column order, in counts that sum to `total`. The
    domain's structural zeros have mass exactly 0, whatever the potentials say there.
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
        queries = Queries(self.domain.sizes, self.tree, self.tables, self.total)
        # Large sets first: their tables then serve their subsets.
        for mask in sorted(set(masks), key=lambda m: (-m.bit_count(), m)):
            queries.marginal(mask)
        return [_owned(queries.marginal(mask), self.tables) for mask in masks]

    def given(self, where: Mapping[str, Collection[int]]) -> "TreeModel":
        """Return the model of the records whose codes are among those listed, per attribute.

        This is exact conditioning: other codes become structural zeros. The new `total` is the
        expected number of such records. Raises WorkloadError for an unknown attribute, TableError
        for codes outside the domain, MechanismError where the model has no such record.
        """
        model = self
        for attribute, codes in where.items():
            clique, size = (attribute,), self.domain.size_of(attribute)
            allowed = np.zeros(size, dtype=np.bool_)
            for code in codes:
                if not 0 <= code < size:
                    raise TableError(
                        f"{attribute!r} has no code {code}, its codes are 0 to {size - 1}; ask for "
                        "those that the schema gives its values"
                    )
                allowed[code] = True
            expected = float(model.marginals([clique])[0][allowed].sum())
            if not expected > 0.0:
                names = ", ".join(repr(name) for name in where)
                raise MechanismError(
                    f"the model has no record with the values asked for in {names}: constraints "
                    "rule them out, or nothing is left of them; ask for other values"
                )
            zeros = (*model.domain.zeros, StructuralZeros(clique, allowed.tobytes()))
            domain = Domain(self.domain.attributes, self.domain.sizes, zeros)
            model = calibrate(domain, self.potentials, expected)
        return model

    def sample(
        self,
        n_rows: int,
        generator: np.random.Generator,
        where: Mapping[str, Collection[int]] | None = None,
    ) -> CodeTable:
        """Draw `(n_rows, d)` codes whose marginals follow the model's up to rounding.

        With `where`, codes allowed per attribute, all rows are drawn from the model of such
        records (`given`, which also says what is refused); none is drawn and thrown away.

        Clique by clique from the root, the rows with the same codes on the separator share their
        clique's other codes out by the conditional distribution: each configuration gets the floor
        or the ceiling of its expected number (systematic rounding with an offset drawn per group),
        in random order within the group. Compare `synthetic_data(method="round")` of mbi.
        """
        if n_rows < 0:
            raise MechanismError(f"cannot sample {n_rows} rows; ask for 0 or more")
        if where:
            return self.given(where).sample(n_rows, generator)
        rows = np.zeros((n_rows, len(self.domain)), dtype=np.int64)
        above = {edge.child: edge.separator for edge in self.tree.edges}
        for index in _parents_first(self.tree) if n_rows else ():
            clique, separator = self.tree.cliques[index], above.get(index, 0)
            _extend_rows(rows, self.tables[index], clique, separator, generator)
        return rows

    def log_density(self, codes: CodeTable) -> FloatArray:
        """Return the natural logarithm of each row's probability, `(n_rows,)`.

        The probability of a row of `(n_rows, d)` codes is the product of the cliques' normalised
        marginals over that of the separators'. It is `-inf` where a clique gives the row's cell no
        mass, or less than double precision holds. Raises TableError for codes outside the domain.
        """
        columns = checked_columns(codes, self.domain)
        density = np.zeros(len(codes))
        for clique, table in zip(self.tree.cliques, self.tables, strict=True):
            density += self._log_probability(columns, positions_of(clique), table)
        for edge in self.tree.edges:
            axes, shared = (
                positions_of(self.tree.cliques[edge.parent]),
                positions_of(edge.separator),
            )
            table = sum_onto(self.tables[edge.parent], axes, shared)
            below = self._log_probability(columns, shared, table)
            # A separator without mass is in cliques without mass: -inf stands already.
            density -= np.where(np.isneginf(below), 0.0, below)
        return density

    def _log_probability(
        self, columns: Sequence[Indices], axes: Axes, table: FloatArray
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
    roots = [index for index in range(len(tree.cliques)) if index not in children]
    return roots + [edge.child for edge in tree.edges]


def calibrate(domain: Domain, potentials: Mapping[Clique, FloatArray], total: float) -> TreeModel:
    """Turn log-potentials into a model with calibrated junction-tree marginals.

    Potentials are flat, in column order, on any cliques. Messages go up and down the tree once, in
    log space. Raises MechanismError for potentials that are not finite and for structural zeros
    that together leave no cell, WorkloadError for cliques that the domain does not have.
    """
    masks = {clique: mask_of(domain.positions(domain.canonical(clique))) for clique in potentials}
    zeros = allowed_tables(domain)
    tree = build_tree(domain.sizes, [*masks.values(), *zeros])
    axes = [positions_of(clique) for clique in tree.cliques]
    tables = [np.zeros([domain.sizes[axis] for axis in own]) for own in axes]
    for clique, mask in masks.items():
        if not np.isfinite(potentials[clique]).all():
            raise MechanismError(f"the potential of ({','.join(clique)}) is not finite")
        index, own = _smallest_holder(tree, mask), positions_of(mask)
        table = potentials[clique].reshape(domain.shape(clique))
        tables[index] += spread(table, own, axes[index])
    for mask, allowed in zeros.items():
        index, own = _smallest_holder(tree, mask), positions_of(mask)
        tables[index] += spread(np.where(allowed, 0.0, -np.inf), own, axes[index])
    _collect(tree.edges, axes, tables)
    _distribute(tree, axes, tables, total)
    return TreeModel(domain, total, dict(potentials), tree, tuple(tables))


def _smallest_holder(tree: JunctionTree, mask: int) -> int:
    # Cliques of the tree come largest first: the last that holds the mask is the smallest.
    return max(i for i, holder in enumerate(tree.cliques) if mask & ~holder == 0)


def _collect(edges: Sequence[Edge], axes: Sequence[Axes], tables: list[FloatArray]) -> None:
    """Pass log-messages to the roots; each child's table becomes log P(child | separator).

    Where a separator's cell has no mass, all its cells in the child are and stay -inf.
    """
    for edge in reversed(edges):
        child, shared = tables[edge.child], positions_of(edge.separator)
        dropped = tuple(i for i, axis in enumerate(axes[edge.child]) if axis not in shared)
        peak = child.max(axis=dropped, keepdims=True)
        peak[np.isneginf(peak)] = 0.0
        child -= peak
        weight = sum_onto(np.exp(child), axes[edge.child], shared)
        # 1 in place of 0, whose logarithm would make the empty slice undefined
        message = np.log(np.where(weight > 0.0, weight, 1.0))
        child -= spread(message, shared, axes[edge.child])
        message += peak.reshape(message.shape)
        message[weight == 0.0] = -np.inf
        tables[edge.parent] += spread(message, shared, axes[edge.parent])


def _distribute(
    tree: JunctionTree, axes: Sequence[Axes], tables: list[FloatArray], total: float
) -> None:
    """Pass marginals down from the roots; each table becomes its clique's marginal, in place."""
    above = {edge.child: edge for edge in tree.edges}
    for index in _parents_first(tree):
        table = tables[index]
        if index not in above:
            peak = table.max()
            if np.isneginf(peak):
                raise contradiction()
            table -= peak
        np.exp(table, out=table)
        if index in above:
            edge = above[index]
            shared = positions_of(edge.separator)
            known = sum_onto(tables[edge.parent], axes[edge.parent], shared)
            table *= spread(known, shared, axes[index])
        table *= total / table.sum()


def _extend_rows(
    rows: CodeTable,
    table: FloatArray,
    clique: int,
    separator: int,
    generator: np.random.Generator,
) -> None:
    """Draw a clique's attributes outside the separator for all rows, in place."""
    axes, shared = positions_of(clique), positions_of(separator)
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
    codes = _apportion(conditional, present, counts, generator)
    for axis, column in zip(fresh, np.unravel_index(codes, shape), strict=True):
        rows[by_group, axis] = column


def _apportion(
    conditional: FloatArray,
    present: Indices,
    counts: Counts,
    generator: np.random.Generator,
) -> Indices:
    """Return, group by group, the outcomes (columns of `conditional`) of each group's rows.

    An outcome without mass gets no row, as the running sum does not rise there.
    """
    n_outcomes = conditional.shape[1]
    outcomes = []
    step = max(1, _SAMPLING_BLOCK // n_outcomes)
    for start in range(0, len(present), step):
        groups = present[start : start + step]
        size = counts[start : start + step, None].astype(np.float64)
        sums = np.cumsum(conditional[groups], axis=1)
        # Only an underflow gives a group that has rows no mass at all; it is spread evenly.
        sums[sums[:, -1] <= 0] = np.arange(1, n_outcomes + 1)
        # Where the last outcomes have no mass, the sum has to be whole before them.
        early = np.flatnonzero(conditional[groups, -1] == 0.0)
        is_whole = sums[early] == sums[early, -1:]
        sums *= size / sums[:, -1:]
        sums[early] = np.where(is_whole, size[early], sums[early])
        sums[:, -1:] = size
        sums += generator.random(size.shape)
        np.minimum(np.floor(sums, out=sums), size, out=sums)
        numbers = np.diff(sums, axis=1, prepend=0.0).astype(np.int64)
        flat = np.flatnonzero(numbers)
        outcomes.append(np.repeat(flat % n_outcomes, numbers.ravel()[flat]))
    return np.concatenate(outcomes)
