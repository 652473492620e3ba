"""How far a synthetic table is from the real one, over a workload. Not private: for the owner."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aim_core.domain import Clique
from aim_core.errors import TableError
from aim_core.marginals import count_marginals, project, smallest_superset
from aim_core.workload import Workload


@dataclass(frozen=True)
class WorkloadErrors:
    """Per workload clique the L1 distance between normalised marginals, from 0 to 2.

    The total variation distance is half of it.
    """

    l1: dict[Clique, float]

    @property
    def tv(self) -> dict[Clique, float]:
        """Total variation distance per clique, from 0 to 1."""
        return {clique: value / 2 for clique, value in self.l1.items()}

    @property
    def mean_l1(self) -> float:
        """Mean over the workload: the paper's average workload error."""
        return sum(self.l1.values()) / len(self.l1)

    @property
    def mean_tv(self) -> float:
        """Half of `mean_l1`."""
        return self.mean_l1 / 2


def workload_errors(
    real: Mapping[Clique, npt.NDArray[np.int64]],
    synthetic_codes: npt.NDArray[np.integer[Any]],
    workload: Workload,
) -> WorkloadErrors:
    """Compare the marginals of a real and a synthetic table, each divided by its own total.

    `real` are exact flat counts over cliques that cover the workload; `synthetic_codes` is the
    synthetic table, (n_rows, len(domain)) in column order. One marginal at a time is held.

    Raises TableError if either table is empty or has codes outside the domain, and WorkloadError
    for a workload clique that `real` does not cover.
    """
    domain = workload.domain
    l1: dict[Clique, float] = {}
    for clique in workload.cliques:
        source = clique if clique in real else smallest_superset(clique, real, domain)
        counts = project(real[source], domain, source, clique)
        synthetic = count_marginals([synthetic_codes], domain, [clique])[clique]
        l1[clique] = float(np.abs(_normalised(counts) - _normalised(synthetic)).sum())
    return WorkloadErrors(l1)


def _normalised(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    total = int(counts.sum())
    if total == 0:
        raise TableError("a table without rows cannot be compared; give both tables rows")
    return counts / total
