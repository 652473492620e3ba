"""How far a synthetic table or a model is from the real table. Not private: for the owner."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aim_core.arrays import CodeTable, Counts, FloatArray
from aim_core.counts.marginals import count_marginals, project, smallest_superset
from aim_core.counts.workload import Workload, ordered
from aim_core.domain import Clique, Domain
from aim_core.errors import TableError
from aim_core.models.measurement import Model

UNIFORM_WEIGHT = 1e-9
"""Part of the uniform distribution in the density that `negative_log_likelihood` scores."""

N_OUTSIDE = 64
MAX_OUTSIDE_CELLS = 1_000_000


@dataclass(frozen=True)
class WorkloadErrors:
    """Per workload clique the L1 distance between normalised marginals, from 0 to 2.

    The total variation distance is half of it. `weights` are the cliques' in the workload.
    """

    l1: dict[Clique, float]
    weights: dict[Clique, int]

    @property
    def tv(self) -> dict[Clique, float]:
        """Total variation distance per clique, from 0 to 1."""
        return {clique: value / 2 for clique, value in self.l1.items()}

    @property
    def mean_l1(self) -> float:
        """Mean over the workload, each clique with its weight.

        It is the paper's average workload error, but for its divisor: McKenna et al. divide the
        weighted sum by the number of cliques, this by the sum of their weights, so that it stays
        between 0 and 2. Where all weights are 1 the two are the same.
        """
        weighted = sum(self.weights[clique] * value for clique, value in self.l1.items())
        return weighted / sum(self.weights.values())

    @property
    def mean_tv(self) -> float:
        """Half of `mean_l1`."""
        return self.mean_l1 / 2


def workload_errors(
    real: Mapping[Clique, Counts],
    synthetic_codes: CodeTable,
    workload: Workload,
) -> WorkloadErrors:
    """Compare the marginals of a real and a synthetic table, each divided by its own total.

    `real` are exact flat counts over cliques that cover the workload; `synthetic_codes` is the
    synthetic table, (n_rows, len(domain)) in column order. One marginal at a time is held.

    Raises TableError if either table is empty or has codes outside the domain, and WorkloadError
    for a workload clique that `real` does not cover.
    """
    l1 = marginal_errors(real, synthetic_codes, workload.domain, workload.cliques)
    return WorkloadErrors(l1, dict(zip(workload.cliques, workload.clique_weights, strict=True)))


def marginal_errors(
    real: Mapping[Clique, Counts],
    synthetic_codes: CodeTable,
    domain: Domain,
    cliques: Sequence[Clique],
) -> dict[Clique, float]:
    """Return per clique the L1 distance of normalised marginals; see `workload_errors`."""
    l1: dict[Clique, float] = {}
    for clique in cliques:
        source = clique if clique in real else smallest_superset(clique, real, domain)
        counts = project(real[source], domain, source, clique)
        synthetic = count_marginals([synthetic_codes], domain, [clique])[clique]
        l1[clique] = float(np.abs(_normalised(counts) - _normalised(synthetic)).sum())
    return l1


def triples_outside(workload: Workload, seed: int = 0) -> tuple[Clique, ...]:
    """Choose 3-way marginals that no clique of the workload contains, to see what it generalises.

    All of them, or 64 drawn from the public seed where there are more. Marginals of more than a
    million cells are left out.
    """
    domain = workload.domain
    inside = {part for clique in workload.cliques for part in itertools.combinations(clique, 3)}
    triples = [
        triple
        for triple in itertools.combinations(domain.attributes, 3)
        if triple not in inside and domain.n_cells(triple) <= MAX_OUTSIDE_CELLS
    ]
    if len(triples) > N_OUTSIDE:
        drawn = np.random.default_rng(seed).choice(len(triples), N_OUTSIDE, replace=False)
        triples = [triples[index] for index in drawn]
    return ordered(domain, triples)


def negative_log_likelihood(model: Model, codes: CodeTable) -> float:
    """Return the mean over rows of -ln P(row), in nats; `codes` is (n_rows, d), best held out.

    P is the model mixed with a weight of 1e-9 of the uniform distribution over the domain: still
    a distribution, so values of different models compare. A row that the model rules out costs
    ln(1e9) + ln(cells of the whole domain) instead of infinity; a row that the model gives at
    least the uniform probability changes by at most 1e-9.

    Raises TableError for no rows or codes outside the domain.
    """
    if not len(codes):
        raise TableError("the likelihood of a table without rows says nothing; give it rows")
    uniform = -sum(math.log(size) for size in model.domain.sizes)
    density = np.logaddexp(
        model.log_density(codes) + math.log1p(-UNIFORM_WEIGHT), uniform + math.log(UNIFORM_WEIGHT)
    )
    return -float(density.mean())


def _normalised(counts: Counts) -> FloatArray:
    total = int(counts.sum())
    if total == 0:
        raise TableError("a table without rows cannot be compared; give both tables rows")
    return counts / total
