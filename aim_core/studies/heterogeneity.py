"""How much the holders' tables differ from the whole one. Not private: for simulations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aim_core.arrays import CodeTable, Counts, FloatArray
from aim_core.counts.marginals import cell_indices, checked_columns
from aim_core.domain import Clique, Domain
from aim_core.errors import TableError, WorkloadError


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """Per holder the mean total variation over the cliques, (n_holders,) from 0 to 1."""

    per_holder: FloatArray

    @property
    def mean(self) -> float:
        """Mean over the holders, each of the same weight however many rows it has."""
        return float(self.per_holder.mean())

    @property
    def minimum(self) -> float:
        """Least of the holders."""
        return float(self.per_holder.min())

    @property
    def median(self) -> float:
        """Median of the holders."""
        return float(np.median(self.per_holder))

    @property
    def maximum(self) -> float:
        """Largest of the holders."""
        return float(self.per_holder.max())


def heterogeneity(
    codes: CodeTable,
    owners: CodeTable,
    domain: Domain,
    cliques: Sequence[Clique],
) -> Heterogeneity:
    """Measure the total variation between each holder's and all rows' normalised marginals.

    Per holder the mean over the cliques; the paper (Maddock et al. 2024) then takes the unweighted
    mean over the holders. `codes` is (n_rows, len(domain)); `owners` is (n_rows,) in
    [0, n_holders). The work is per row, not per cell. An iid split is not at 0: a holder of few
    rows touches few cells of a large marginal, so compare with the iid split's value.

    Raises TableError for a holder without rows and codes outside the domain, WorkloadError for no
    cliques or unknown attributes.
    """
    columns = checked_columns(codes, domain)
    if not cliques:
        raise WorkloadError("heterogeneity is measured over marginals; name at least one clique")
    if len(owners) != len(codes) or not len(owners) or np.min(owners) < 0:
        raise TableError(
            f"{len(codes)} rows need as many owners, numbered from 0, and at least one; "
            f"got {len(owners)} owners"
        )
    n_rows = np.bincount(owners)
    if np.any(n_rows == 0):
        raise TableError(f"holder {int(np.argmin(n_rows))} has no rows; give each holder some")
    sums = np.zeros(len(n_rows))
    for clique in cliques:
        sums += _total_variations(cell_indices(columns, domain, clique), owners, n_rows)
    return Heterogeneity(sums / len(cliques))


def _total_variations(
    cells: Counts,
    owners: CodeTable,
    n_rows: Counts,
) -> FloatArray:
    """Return each holder's total variation, from its rows' cells: the sum of (p_k - p)+."""
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    n_holders = len(n_rows)
    pairs, n_both = np.unique(cell * n_holders + owners, return_counts=True)
    cell, holder = pairs // n_holders, pairs % n_holders
    excess = n_both / n_rows[holder] - counts[cell] / len(cells)
    # Cells that the holder does not touch have p_k < p: they are not in the sum.
    variations = np.zeros(n_holders)
    np.add.at(variations, holder, np.maximum(excess, 0.0))
    return variations
