"""The terms of a run of FLAIM: its variants, what a record pays for, and the noise."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from aim_core.arrays import FloatArray
from aim_core.errors import MechanismError
from aim_core.models.junction_tree import check_model_mb
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.participation import Participation
from aim_core.privacy.zcdp import check_alpha

PROPORTION_BITS = 32
"""Published distributions (of a model, of one-way marginals): in units of 2**-PROPORTION_BITS."""

Proportions = NDArray[np.int64]
"""A normalised marginal: flat (n_cells,), every entry >= 0, sum 2**PROPORTION_BITS."""


def to_proportions(values: FloatArray) -> Proportions:
    """Normalise a marginal to whole units, which sum to exactly 2**PROPORTION_BITS.

    Negative cells count as 0; a marginal without any mass is uniform. Cumulative sums are rounded,
    so each entry is off by less than one unit, up to floating point.
    """
    positive = np.maximum(values, 0.0)
    sums = np.cumsum(positive if positive.any() else np.ones_like(positive))
    steps = np.floor(sums / sums[-1] * 2**PROPORTION_BITS + 0.5).astype(np.int64)
    proportions: Proportions = np.diff(steps, prepend=np.int64(0))
    return proportions


class Variant(StrEnum):
    """The methods of docs/federated.md, by the names that users give them."""

    NAIVE = "flaim"
    ORACLE = "augflaim-oracle"
    PRIVATE = "augflaim-private"
    RANDOM = "flaim-random"
    ONEWAY = "oneway"

    @property
    def is_private(self) -> bool:
        """Whether the method is differentially private: the oracle reads exact marginals."""
        return self is not Variant.ORACLE

    @property
    def holders_choose(self) -> bool:
        """Whether holders select cliques, by their local scores."""
        return self in {Variant.NAIVE, Variant.ORACLE, Variant.PRIVATE}

    @property
    def publishes_oneways(self) -> bool:
        """Whether holders measure heterogeneity by public one-way marginals, renewed each round."""
        return self is Variant.PRIVATE


@dataclass(frozen=True)
class FlaimSettings:
    """What decides a run, besides domain, workload and noise. All of it is public.

    `rho` is the zCDP budget, `alpha` the part of it for measuring where holders choose. Each of
    `rounds` rounds, a sampled holder chooses `local_steps` cliques. `max_model_mb` bounds the
    junction tree in units of 2**20 bytes at 8 bytes a cell, and grows with the budget spent.

    Raises MechanismError for values out of range.
    """

    variant: Variant
    rho: Fraction
    participation: Participation
    rounds: int = 10
    local_steps: int = 1
    alpha: Fraction = Fraction(9, 10)
    max_model_mb: float = 80
    seed: int = 0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_model_mb(self.max_model_mb)
        if self.rho <= 0:
            raise MechanismError("the budget rho must be positive")
        if self.rounds < 1 or self.local_steps < 1:
            raise MechanismError("FLAIM needs at least one round and one local step")


class VariantPlan:
    """What one record pays for in each round of a variant at most, whatever is chosen.

    Round 0 measures the one-way marginals, `rounds` rounds follow (docs/federated.md).
    """

    def __init__(self, settings: FlaimSettings, n_oneways: int) -> None:
        self._settings, self._n_oneways = settings, n_oneways

    def oneways_in(self, round_number: int) -> int:
        """Return how many one-way marginals a round measures by itself: all or none.

        The private correction renews them after every round but the last. Where there is nothing
        else to measure, round 0 is the first round's measurement.
        """
        variant, last = self._settings.variant, self._settings.rounds
        is_due = round_number == 0
        if variant.publishes_oneways:
            is_due = round_number < last
        elif variant is Variant.ONEWAY:
            is_due = round_number != 1
        return self._n_oneways if is_due else 0

    def choices_in(self, round_number: int) -> int:
        """Return how many chosen cliques a round measures, by its holder's choice or by lot."""
        has_choices = round_number > 0 and self._settings.variant is not Variant.ONEWAY
        return self._settings.local_steps if has_choices else 0

    def measured_in(self, round_number: int) -> int:
        """Return how many marginals of a round one record is counted in at most."""
        return self.oneways_in(round_number) + self.choices_in(round_number)

    @property
    def n_measured(self) -> int:
        """The marginals of all rounds."""
        return sum(map(self.measured_in, range(self._settings.rounds + 1)))

    @property
    def n_chosen(self) -> int:
        """The holder's choices in all rounds; 0 where holders do not choose."""
        if not self._settings.variant.holders_choose:
            return 0
        return sum(map(self.choices_in, range(self._settings.rounds + 1)))


@dataclass(frozen=True)
class Schedule:
    """The exact budget of a variant: what one record takes part in, at most, and its noise.

    `sigma2` is the variance of every aggregated cell, `selection_epsilon` that of every local
    choice (None where holders do not choose). `n_measured` marginals and `n_chosen` choices cost at
    most rho.
    """

    sigma2: Fraction
    selection_epsilon: Fraction | None
    n_measured: int
    n_chosen: int


def schedule(settings: FlaimSettings, n_oneways: int, noise: Noise) -> Schedule:
    """Split the budget evenly over what all rounds will charge, a fixed number of them.

    Variances are rounded up and epsilons down to 40 bits.

    Raises MechanismError if the budget is too small for this noise.
    """
    plan = VariantPlan(settings, n_oneways)
    n_measured, n_chosen = plan.n_measured, plan.n_chosen
    alpha = settings.alpha if n_chosen else Fraction(1)
    sigma2 = noise.sigma2_for(alpha * settings.rho / n_measured)
    epsilon = None
    if n_chosen:
        epsilon = noise.selection_epsilon_for((1 - alpha) * settings.rho / n_chosen)
    if sigma2 is None or (n_chosen and epsilon is None):
        raise MechanismError(
            f"the budget rho = {float(settings.rho):.3g} is too small for {n_measured} "
            "measurements; raise epsilon or ask for fewer rounds"
        )
    return Schedule(sigma2, epsilon, n_measured, n_chosen)
