"""Cells that the domain rules out, as tables: per clique, and by all that is ruled out together."""

from collections.abc import Sequence

import numpy as np

from aim_core.arrays import BoolArray, Indices
from aim_core.domain import Domain
from aim_core.errors import MechanismError
from aim_core.models.contraction import Axes, spread
from aim_core.models.junction_tree import build_tree, mask_of, positions_of


def allowed_tables(domain: Domain) -> dict[int, BoolArray]:
    """Return, per mask of attributes with structural zeros, which cells are allowed, as a table."""
    tables: dict[int, BoolArray] = {}
    for zeros in domain.zeros:
        mask = mask_of(domain.positions(zeros.clique))
        allowed = np.frombuffer(zeros.allowed, dtype=np.bool_).reshape(domain.shape(zeros.clique))
        tables[mask] = tables[mask] & allowed if mask in tables else allowed
    return tables


def contradiction() -> MechanismError:
    """Make the error of structural zeros that leave no cell of the domain."""
    return MechanismError(
        "no record is possible at all: the constraints contradict each other; remove or relax one "
        "of them"
    )


def forbidden_cells(domain: Domain, leaves: Sequence[Axes]) -> Indices:
    """Return which cells of tables over `leaves`, flat one after another, no record can be in.

    A record keeps clear of all structural zeros at once: this counts what several rule out
    together. It is reckoned in truth values along a junction tree, so nothing underflows. Raises
    MechanismError where no record is possible.
    """
    zeros = allowed_tables(domain)
    if not zeros:
        return np.empty(0, dtype=np.int64)
    cliques, tables = _possible(domain, zeros, leaves)
    if not all(table.any() for table in tables):
        raise contradiction()
    forbidden, start = [], 0
    for leaf in leaves:
        mask = mask_of(leaf)
        index = next(i for i, clique in enumerate(cliques) if mask & ~clique == 0)
        possible = _any_onto(tables[index], cliques[index], mask)
        forbidden.append(np.flatnonzero(~possible) + start)
        start += possible.size
    return np.concatenate(forbidden)


def _possible(
    domain: Domain, zeros: dict[int, BoolArray], leaves: Sequence[Axes]
) -> tuple[Sequence[int], list[BoolArray]]:
    """Return the masks of the leaves' junction tree, and which of their cells a record can have."""
    tree = build_tree(domain.sizes, [mask_of(axes) for axes in leaves])
    axes = [positions_of(clique) for clique in tree.cliques]
    tables = [np.ones([domain.sizes[axis] for axis in own], dtype=np.bool_) for own in axes]
    for mask, allowed in zeros.items():
        index = next(i for i, clique in enumerate(tree.cliques) if mask & ~clique == 0)
        tables[index] &= spread(allowed, positions_of(mask), axes[index])
    upwards = [(edge.child, edge.parent, edge.separator) for edge in reversed(tree.edges)]
    downwards = [(edge.parent, edge.child, edge.separator) for edge in tree.edges]
    for source, target, separator in upwards + downwards:
        message = _any_onto(tables[source], tree.cliques[source], separator)
        tables[target] &= spread(message, positions_of(separator), axes[target])
    return tree.cliques, tables


def _any_onto(table: BoolArray, clique: int, mask: int) -> BoolArray:
    dropped = tuple(i for i, axis in enumerate(positions_of(clique)) if not mask >> axis & 1)
    kept: BoolArray = np.logical_or.reduce(table, axis=dropped)
    return kept
