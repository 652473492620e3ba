"""What AIM asks of whoever holds the counts, and what it is answered. All of it is public."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from aim_core.arrays import Counts
from aim_core.domain import Clique


@dataclass(frozen=True, eq=False)
class Select:
    """Ask for the index of a badly modelled candidate, by the exponential mechanism.

    `weights` and `biases` (L1 distance that a measurement's noise alone would leave, whole counts)
    are per candidate; `model_counts` are the model's marginals, systematically rounded: flat
    (n_cells,) int64, every entry >= 0, sum at most y_max. `rho_used` is what the run has spent,
    this request included. `attempt` counts the requests of the round's selection from 1: those
    before were lost.
    """

    round: int
    candidates: tuple[Clique, ...]
    weights: tuple[int, ...]
    selection_epsilon: Fraction
    biases: tuple[int, ...]
    model_counts: tuple[Counts, ...] = field(repr=False)
    rho_used: Fraction
    attempt: int = 1


@dataclass(frozen=True)
class Measure:
    """Ask for marginals, each cell with Gaussian noise of variance `sigma2`.

    Round 0 asks for all one-way marginals. `rho_used` includes this request, `attempt` is as in
    `Select`.
    """

    round: int
    cliques: tuple[Clique, ...]
    sigma2: Fraction
    rho_used: Fraction
    attempt: int = 1


@dataclass(frozen=True)
class Lost:
    """The answer to a request that was charged and will never be answered.

    Whoever held the counts failed after it had paid. The cost stays spent: nobody can prove that
    no noisy value was seen.
    """


Request = Select | Measure
Answer = int | list[Counts] | Lost


class Oracle(Protocol):
    """Whoever holds the counts and answers requests about them, or says that one is lost."""

    def select(self, request: Select) -> int | Lost:
        """Return the index of the selected candidate."""
        ...

    def measure(self, request: Measure) -> list[Counts] | Lost:
        """Return the noisy marginals in the order asked for, flat int64."""
        ...
