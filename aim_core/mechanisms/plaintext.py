"""The plaintext oracle: central AIM over exact marginals, the yardstick for the secure one."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

import numpy as np

from aim_core.arrays import CodeTable, Counts
from aim_core.counts.marginals import count_marginals, project, smallest_superset
from aim_core.counts.scores import multipliers, scores
from aim_core.counts.workload import Workload, maximal_cliques
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.mechanisms.requests import Measure, Select
from aim_core.privacy.participation import Participation


class Sampler(Protocol):
    """Where noise comes from; with dealers, the sum of what all of them deal."""

    def gaussian(self, n: int, sigma2: Fraction) -> Counts:
        """Return (n,) int64 discrete Gaussian noise, in counts."""
        ...

    def gumbel(self, n: int, fraction_bits: int) -> Counts:
        """Return (n,) int64 Gumbel noise, in units of 2**-fraction_bits."""
        ...


class PlaintextOracle:
    """Answers requests as the compute parties would, from marginals in the clear.

    `marginals` are exact flat int64 counts over cliques that contain every clique asked for;
    smaller ones are summed from them once and kept.
    """

    def __init__(
        self,
        domain: Domain,
        marginals: Mapping[Clique, Counts],
        sampler: Sampler,
        fraction_bits: int,
    ) -> None:
        self._domain = domain
        self._sources = tuple(marginals)
        self._marginals = dict(marginals)
        self._sampler = sampler
        self._fraction_bits = fraction_bits

    def __repr__(self) -> str:
        return f"PlaintextOracle({len(self._sources)} marginals)"

    def select(self, request: Select) -> int:
        """Return argmax over candidates of S_r + Gumbel_r, ties to the lowest index.

        Raises WorkloadError for a candidate that the marginals do not cover and MechanismError
        for model counts of the wrong shape.
        """
        factors = multipliers(request.weights, request.selection_epsilon, self._fraction_bits)
        distances = [
            self._distance(clique, model)
            for clique, model in zip(request.candidates, request.model_counts, strict=True)
        ]
        noise = self._sampler.gumbel(len(factors), self._fraction_bits)
        # Python integers: a score may have more than 64 bits, and no noise may wrap.
        noisy = [
            score + int(extra)
            for score, extra in zip(scores(factors, distances, request.biases), noise, strict=True)
        ]
        return noisy.index(max(noisy))

    def measure(self, request: Measure) -> list[Counts]:
        """Return the exact marginals plus fresh noise; WorkloadError as in `select`."""
        exact = [self._marginal(clique) for clique in request.cliques]
        return [counts + self._sampler.gaussian(len(counts), request.sigma2) for counts in exact]

    def _distance(self, clique: Clique, model: Counts) -> int:
        counts = self._marginal(clique)
        if counts.shape != model.shape:
            raise MechanismError(
                f"the model counts of {clique} have shape {model.shape}, not {counts.shape}"
            )
        return int(np.abs(counts - model).sum())

    def _marginal(self, clique: Clique) -> Counts:
        if clique not in self._marginals:
            source = smallest_superset(clique, self._sources, self._domain)
            counts = project(self._marginals[source], self._domain, source, clique)
            self._marginals[clique] = counts
        return self._marginals[clique]


class GrowingOracle:
    """A plaintext oracle whose records join round by round, as `Participation` says.

    `codes` are all rows, (n, d); `owners` (n,) the holder of each, below `n_holders`.
    """

    def __init__(
        self,
        workload: Workload,
        codes: CodeTable,
        owners: CodeTable,
        participation: Participation,
        sampler: Sampler,
        fraction_bits: int,
    ) -> None:
        self._domain, self._cliques = workload.domain, maximal_cliques(workload)
        self._codes, self._owners = codes, owners
        self._participation = participation
        self._sampler, self._fraction_bits = sampler, fraction_bits
        self._present: frozenset[int] = frozenset()
        self._marginals = count_marginals([], self._domain, self._cliques)
        self._oracle = self._of_present()

    def __repr__(self) -> str:
        return f"GrowingOracle({len(self._present)} holders)"

    def select(self, request: Select) -> int:
        """Answer over the records present in the request's round, see `PlaintextOracle.select`."""
        self._enter(request.round)
        return self._oracle.select(request)

    def measure(self, request: Measure) -> list[Counts]:
        """Answer over the records present, see `PlaintextOracle.measure`."""
        self._enter(request.round)
        return self._oracle.measure(request)

    def _enter(self, round_number: int) -> None:
        """Add the records of the holders who have joined since the last request."""
        present = self._participation.present(round_number)
        new = np.isin(self._owners, sorted(present - self._present))
        if not new.any():
            return
        counted = count_marginals([self._codes[new]], self._domain, self._cliques)
        for clique, counts in counted.items():
            self._marginals[clique] += counts
        self._present = present
        self._oracle = self._of_present()

    def _of_present(self) -> PlaintextOracle:
        return PlaintextOracle(self._domain, self._marginals, self._sampler, self._fraction_bits)
