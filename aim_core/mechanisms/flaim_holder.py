"""A data holder's steps in FLAIM: local scores, the choice of cliques, exact local marginals.

All arithmetic between the rows and the noise is in integers, so the sensitivities hold exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from aim_core.arrays import CodeTable, Counts, Indices
from aim_core.counts.marginals import count_marginals
from aim_core.counts.scores import multipliers
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError, TableError
from aim_core.mechanisms.flaim_terms import PROPORTION_BITS, Proportions, to_proportions
from aim_core.mechanisms.plaintext import Sampler
from aim_core.models.measurement import Model

MAX_RECORDS = 2**30
"""Most records of one holder: its scores in units of 2**-PROPORTION_BITS stay below 2**63."""


@dataclass(frozen=True)
class Question:
    """What a holder is asked, in integers: `Choose` of flaim_requests as it arrives.

    `references` are per candidate the model's normalised marginal; `oneways` (AugFLAIM (Private))
    and `truths` (AugFLAIM (Oracle), not private) are what heterogeneity is measured by. At most one
    of the two is given.
    """

    candidates: tuple[Clique, ...]
    weights: tuple[int, ...]
    selection_epsilon: Fraction
    biases: tuple[int, ...]
    n_steps: int
    references: tuple[Proportions, ...]
    oneways: Mapping[Clique, Proportions] | None = None
    truths: Mapping[Clique, Proportions] | None = None


def model_references(model: Model, candidates: Sequence[Clique]) -> tuple[Proportions, ...]:
    """Return the model's normalised marginals, one per candidate."""
    return tuple(to_proportions(marginal) for marginal in model.marginals(candidates))


class FlaimHolder:
    """One holder's rows, (n_k, d) codes in column order.

    Raises TableError for a table without rows or with more than MAX_RECORDS.
    """

    def __init__(self, domain: Domain, codes: CodeTable) -> None:
        if not 0 < len(codes) <= MAX_RECORDS:
            raise TableError(f"a holder has {len(codes)} records; 1 to {MAX_RECORDS} are possible")
        self._domain = domain
        self._codes = codes
        self._sparse: dict[Clique, tuple[Indices, Counts]] = {}

    def __repr__(self) -> str:
        return "FlaimHolder()"

    @property
    def n_records(self) -> int:
        """n_k, fixed for the privacy of single records (see `aim_core.mechanisms.flaim_server`)."""
        return len(self._codes)

    def marginal(self, clique: Clique) -> Counts:
        """Return the exact local marginal, flat (n_cells,) int64. Secret: add noise before use."""
        return count_marginals([self._codes], self._domain, [clique])[clique]

    def distance(self, clique: Clique, reference: Proportions) -> int:
        """Return |M_q(D_k) - n_k reference|_1 in units of 2**-PROPORTION_BITS counts, exact.

        One record more or less, n_k fixed, changes it by at most 2**PROPORTION_BITS. Only the cells
        that the rows touch are visited: all others add up to the rest of n_k.
        """
        cells, counts = self._touched(clique)
        expected = self.n_records * reference[cells]
        excess = np.abs((counts << PROPORTION_BITS) - expected) - expected
        return (self.n_records << PROPORTION_BITS) + int(excess.sum())

    def heterogeneity(self, clique: Clique, question: Question) -> Fraction:
        """Return n_k tau_k(q), how far this holder is from all, in units as `distance`.

        AugFLAIM (Private): the mean over the clique's attributes of the distance to the public
        one-way marginals. AugFLAIM (Oracle): the distance to the exact marginal of all holders.
        One record more or less changes it by at most 2**PROPORTION_BITS.
        """
        if question.truths is not None:
            return Fraction(self.distance(clique, question.truths[clique]))
        if question.oneways is None:
            return Fraction(0)
        distances = [self.distance((name,), question.oneways[name,]) for name in clique]
        return Fraction(sum(distances), len(distances))

    def scores(self, question: Question, fraction_bits: int) -> list[Fraction]:
        """Return per candidate epsilon u_k(q) / (2 Delta), in units of 2**-fraction_bits.

        u_k(q) = w_q (|M_q(D_k) / n_k - M_q(model)|_1 - sqrt(2 / pi) sigma n_q / n_k - tau_k(q)),
        Delta = max w / n_k, twice that with tau [MCM24, sections 4.2 and 4.3]. The factor n_k
        cancels. A record changes a score by at most 2**fraction_bits epsilon / 2.
        """
        has_tau = question.oneways is not None or question.truths is not None
        epsilon = question.selection_epsilon / (2 if has_tau else 1)
        factors = multipliers(question.weights, epsilon, fraction_bits)
        return [
            factor
            * (
                Fraction(self.distance(clique, reference) - (bias << PROPORTION_BITS))
                - self.heterogeneity(clique, question)
            )
            / 2**PROPORTION_BITS
            for factor, clique, reference, bias in zip(
                factors, question.candidates, question.references, question.biases, strict=True
            )
        ]

    def choose(self, question: Question, sampler: Sampler, fraction_bits: int) -> tuple[int, ...]:
        """Choose `n_steps` different candidates, each by the exponential mechanism with epsilon.

        What a step chose is left out of the next ones. A step does not refit the model: the
        marginal that it would use is released once, in the aggregate, and would have to be paid
        for a second time. Raises MechanismError if there are fewer candidates than steps.
        """
        if question.n_steps > len(question.candidates):
            raise MechanismError(
                f"{question.n_steps} local steps among {len(question.candidates)} candidates"
            )
        exact = self.scores(question, fraction_bits)
        chosen: list[int] = []
        for _ in range(question.n_steps):
            noise = sampler.gumbel(len(exact), fraction_bits)
            noisy = [score + int(extra) for score, extra in zip(exact, noise, strict=True)]
            left = [index for index in range(len(exact)) if index not in chosen]
            chosen.append(max(left, key=lambda index: (noisy[index], -index)))
        return tuple(chosen)

    def _touched(self, clique: Clique) -> tuple[Indices, Counts]:
        """Return the cells that rows fall in, and their counts."""
        if clique not in self._sparse:
            positions = self._domain.positions(clique)
            shape = tuple(self._domain.sizes[position] for position in positions)
            columns = tuple(self._codes[:, position].astype(np.int64) for position in positions)
            cells = np.ravel_multi_index(columns, shape)
            self._sparse[clique] = np.unique(cells, return_counts=True)
        return self._sparse[clique]
