"""What noise does and costs: public facts, the same for whoever makes it."""

import math
from dataclasses import dataclass
from fractions import Fraction

from aim_core.errors import MechanismError
from aim_core.privacy.zcdp import round_down, round_up, sqrt_down


@dataclass(frozen=True)
class Noise:
    """What the oracle's noise does and costs: public facts about how it is made.

    `variance_factor` times sigma2 is the true variance of an opened cell (m / (m - t) with dealers,
    1 with joint or central noise). `gumbel_eta` bounds how far a sampled Gumbel is from a true one,
    in units of its scale. `select_scale` is the noise's width against a single Gumbel, for reports.
    `measure_slack` is what a measurement costs above 1 / (2 sigma2), proved for every sigma2 of at
    least `sigma2_min`; smaller variances are not asked for.
    """

    variance_factor: Fraction = Fraction(1)
    gumbel_eta: Fraction = Fraction(0)
    select_scale: float = 1.0
    measure_slack: Fraction = Fraction(0)
    sigma2_min: Fraction = Fraction(0)

    def measure_rho(self, sigma2: Fraction) -> Fraction:
        """Return the zCDP cost of one marginal; MechanismError below `sigma2_min`."""
        if sigma2 <= 0 or sigma2 < self.sigma2_min:
            raise MechanismError(
                f"the noise has no proof at variance {float(sigma2):g}; "
                f"use at least {float(self.sigma2_min):g}"
            )
        return 1 / (2 * sigma2) + self.measure_slack

    def select_rho(self, selection_epsilon: Fraction) -> Fraction:
        """Return the zCDP cost of one selection, by bounded range (docs/protocol.md)."""
        return (selection_epsilon + 8 * self.gumbel_eta) ** 2 / 8

    def sigma2_for(self, rho: Fraction) -> Fraction | None:
        """Return the least variance at which a marginal costs at most rho, None if none does.

        Rounded up to 40 bits, so that sums of costs do not grow over the rounds.
        """
        left = rho - self.measure_slack
        return max(round_up(1 / (2 * left)), self.sigma2_min) if left > 0 else None

    def selection_epsilon_for(self, rho: Fraction) -> Fraction | None:
        """Return the largest epsilon of a selection that costs at most rho, None if none does.

        Rounded down to 40 bits.
        """
        epsilon = round_down(sqrt_down(8 * rho) - 8 * self.gumbel_eta)
        return epsilon if epsilon > 0 else None

    def true_sigma(self, sigma2: Fraction) -> float:
        """Return the standard deviation that an opened cell really has, in counts."""
        return math.sqrt(self.variance_factor * sigma2)


def noise_l1(sigma: float, n_cells: int) -> float:
    """Return the expected L1 norm of Gaussian noise on a marginal: sqrt(2 / pi) sigma n_cells."""
    return math.sqrt(2 / math.pi) * sigma * n_cells
