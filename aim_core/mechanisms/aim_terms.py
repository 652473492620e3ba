"""The terms of a run of AIM: what decides it, and what it ends with. All of it is public."""

from dataclasses import dataclass
from fractions import Fraction

from aim_core.domain import Clique
from aim_core.errors import MechanismError
from aim_core.models.junction_tree import check_model_mb
from aim_core.models.measurement import Measurement, Model
from aim_core.privacy.participation import EVERYBODY, Participation
from aim_core.privacy.zcdp import check_alpha


@dataclass(frozen=True)
class AimSettings:
    """What decides a run, besides domain, workload and noise. All of it is public.

    `rho` is the whole zCDP budget, `alpha` the part of it for measuring. `rounds` None is AIM's
    adaptive schedule; a number is exactly that many rounds. `max_model_mb` bounds the junction tree
    in units of 2**20 bytes at 8 bytes a cell. `seed` drives nothing that privacy depends on: only
    the offsets of the systematic rounding. `n_max` is the public bound on the number of records,
    `y_max` the largest total of a model marginal that the compute parties accept. `participation`
    says whose records count in a round; by default everybody's, always.

    Raises MechanismError for values out of range.
    """

    rho: Fraction
    n_max: int
    y_max: int
    rounds: int | None = None
    max_model_mb: float = 80
    seed: int = 0
    alpha: Fraction = Fraction(9, 10)
    participation: Participation = EVERYBODY

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_model_mb(self.max_model_mb)
        if self.rho <= 0:
            raise MechanismError("the budget rho must be positive")
        if self.rounds is not None and self.rounds < 1:
            raise MechanismError(f"{self.rounds} rounds were asked for; ask for at least 1")
        if self.n_max < 1 or self.y_max < 1:
            raise MechanismError("the bounds n_max and y_max must be at least 1")


@dataclass(frozen=True)
class RoundRecord:
    """One finished round. `rho_spent` is the run's total after it, `annealed` what came of it."""

    round: int
    clique: Clique
    sigma2: Fraction
    selection_epsilon: Fraction
    rho_spent: Fraction
    annealed: bool
    n_candidates: int


@dataclass(frozen=True)
class AimResult:
    """A finished run. `rho_initial` was spent on the one-way marginals before the first round."""

    model: Model
    rounds: tuple[RoundRecord, ...]
    measurements: tuple[Measurement, ...]
    rho_initial: Fraction
    rho_spent: Fraction
    rho_budget: Fraction
