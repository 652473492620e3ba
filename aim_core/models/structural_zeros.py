"""Cells that the domain rules out, as tables: per clique, and as far as cliques rule out others'."""

from collections.abc import Sequence

import numpy as np

from aim_core.arrays import BoolArray, Indices
from aim_core.domain import Domain
from aim_core.models.contraction import Axes, spread
from aim_core.models.junction_tree import mask_of

SharedAxes = tuple[tuple[int, ...], list[tuple[int, Axes]]]
"""The shape over some axes, and who has these: (table's number, its other axes by place) each."""


def allowed_tables(domain: Domain) -> dict[int, BoolArray]:
    """Return, per mask of attributes with structural zeros, which cells are allowed, as a table."""
    tables: dict[int, BoolArray] = {}
    for zeros in domain.zeros:
        mask = mask_of(domain.positions(zeros.clique))
        allowed = np.frombuffer(zeros.allowed, dtype=np.bool_).reshape(domain.shape(zeros.clique))
        tables[mask] = tables[mask] & allowed if mask in tables else allowed
    return tables


def forbidden_cells(
    domain: Domain, leaves: Sequence[Axes], starts: Indices, shared: Sequence[SharedAxes]
) -> Indices:
    """Return which cells of tables over `leaves`, flat one after another, no record can be in.

    `starts` is where each table begins, `shared` what several have in common. A slice that one
    leaf rules out is ruled out in all that share its axes, until nothing changes. What leaves rule
    out in a circle may be missed, so some cells may be empty besides those returned.
    """
    zeros = allowed_tables(domain)
    if not zeros:
        return np.empty(0, dtype=np.int64)
    tables = [np.ones([domain.sizes[axis] for axis in axes], dtype=np.bool_) for axes in leaves]
    for axes, table in zip(leaves, tables, strict=True):
        for mask, allowed in zeros.items():
            if mask & ~mask_of(axes) == 0:
                table &= spread(allowed, tuple(a for a in axes if mask >> a & 1), axes)
    while _narrow(tables, shared):
        pass
    return np.concatenate(
        [
            np.flatnonzero(~table) + start
            for table, start in zip(tables, starts, strict=False)
        ]
    )


def _narrow(tables: Sequence[BoolArray], shared: Sequence[SharedAxes]) -> bool:
    """Rule out in each table what another that shares axes with it leaves no cell; any change?"""
    n_before = sum(int(np.count_nonzero(table)) for table in tables)
    for shape, members in shared:
        common = np.ones(shape, dtype=np.bool_)
        for i, dropped in members:
            common &= tables[i].any(axis=dropped)
        for i, dropped in members:
            tables[i][...] &= np.expand_dims(common, dropped)
    return sum(int(np.count_nonzero(table)) for table in tables) < n_before
