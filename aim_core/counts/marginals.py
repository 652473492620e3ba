"""Exact marginals: counted in one pass over coded chunks, and projected by summing."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from aim_core.arrays import CodeTable, Counts, Indices
from aim_core.domain import Clique, Domain
from aim_core.errors import TableError, WorkloadError

Value = TypeVar("Value", bound=np.generic)


def count_marginals(
    chunks: Iterable[CodeTable], domain: Domain, cliques: Sequence[Clique]
) -> dict[Clique, Counts]:
    """Count marginals in one pass; memory is that of the result and one chunk.

    `chunks` are (n_rows, len(domain)) codes in column order. Returns per clique a flat
    (n_cells,) int64 array of counts. Raises TableError for codes outside the domain and
    WorkloadError for cliques that are not in column order.
    """
    counts: dict[Clique, Counts] = {}
    for clique in cliques:
        _check_order(domain, clique)
        counts[clique] = np.zeros(domain.n_cells(clique), dtype=np.int64)
    for chunk in chunks:
        columns = checked_columns(chunk, domain)
        for clique, marginal in counts.items():
            _count_into(marginal, cell_indices(columns, domain, clique))
    return counts


def project(
    values: npt.NDArray[Value], domain: Domain, source: Clique, target: Clique
) -> npt.NDArray[Value]:
    """Sum a marginal down to a smaller clique, in the dtype of the values.

    Unsigned values wrap around, so the sum of shares is a share of the sum. `values` is flat
    (n_cells(source),), the result flat (n_cells(target),). Raises WorkloadError unless both
    cliques are in column order, target lies in source, and the sizes agree.
    """
    _check_order(domain, source)
    _check_order(domain, target)
    if not set(target) <= set(source):
        raise WorkloadError(f"cannot project {source} to {target}: it is not a part of it")
    if values.shape != (domain.n_cells(source),):
        raise WorkloadError(
            f"a marginal over {source} has {domain.n_cells(source)} cells, got {values.shape}"
        )
    axes = tuple(axis for axis, name in enumerate(source) if name not in target)
    table = values.reshape(domain.shape(source))
    total: npt.NDArray[Value] = np.add.reduce(table, axis=axes, dtype=values.dtype)
    return np.ascontiguousarray(total).reshape(-1)


def smallest_superset(target: Clique, cliques: Iterable[Clique], domain: Domain) -> Clique:
    """Choose the clique that a smaller one is summed from: fewest cells, then column order.

    Raises WorkloadError if no clique contains the target.
    """
    containing = [clique for clique in cliques if set(target) <= set(clique)]
    if not containing:
        raise WorkloadError(f"no marginal over {target} can be had: no counted clique contains it")
    return min(containing, key=lambda clique: (domain.n_cells(clique), domain.positions(clique)))


def checked_columns(chunk: CodeTable, domain: Domain) -> list[Indices]:
    """Split (n, len(domain)) codes into int64 columns; TableError for codes outside the domain."""
    if chunk.ndim != 2 or chunk.shape[1] != len(domain):
        raise TableError(f"a chunk of codes must be (n, {len(domain)}), got {chunk.shape}")
    columns = [np.ascontiguousarray(column, dtype=np.int64) for column in chunk.T]
    for name, size, column in zip(domain.attributes, domain.sizes, columns, strict=True):
        if len(column) and (column.min() < 0 or column.max() >= size):
            raise TableError(
                f"column {name!r} has codes outside 0..{size - 1}; encode the table with the "
                "schema that the domain comes from"
            )
    return columns


def cell_indices(columns: Sequence[Indices], domain: Domain, clique: Clique) -> Indices:
    """Return each row's index in a clique's flat marginal, (n,) int64.

    `columns` are those of `checked_columns`. Raises WorkloadError for an unknown attribute.
    """
    indices = np.zeros(len(columns[0]), dtype=np.int64)
    for position in domain.positions(clique):
        indices *= domain.sizes[position]
        indices += columns[position]
    return indices


def _check_order(domain: Domain, clique: Clique) -> None:
    if domain.canonical(clique) != clique:
        raise WorkloadError(f"the clique {clique} is not in column order; use Domain.canonical")


def _count_into(marginal: Counts, indices: Indices) -> None:
    if len(indices) < len(marginal):
        # few rows touch few cells: no second array of all cells
        np.add.at(marginal, indices, 1)
    else:
        marginal += np.bincount(indices, minlength=len(marginal))
