"""How much noise each round of AIM gets: annealed or constant, and at last all that is left."""

from dataclasses import dataclass
from fractions import Fraction

from aim_core.errors import MechanismError
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.privacy.noise_facts import Noise, noise_l1
from aim_core.privacy.zcdp import PrivacyFilter


@dataclass(frozen=True)
class RoundNoise:
    """The noise of one round: a measured cell's variance, and the selection's epsilon."""

    sigma2: Fraction
    selection_epsilon: Fraction

    def rho(self, noise: Noise) -> Fraction:
        """Return the zCDP cost of one selection and one marginal."""
        return noise.measure_rho(self.sigma2) + noise.select_rho(self.selection_epsilon)

    def annealed(self, noise: Noise) -> "RoundNoise":
        """Halve the standard deviation, as far as it is proved, and double the epsilon."""
        return RoundNoise(max(self.sigma2 / 4, noise.sigma2_min), 2 * self.selection_epsilon)


def first_sigma2(settings: AimSettings, n_attributes: int, noise: Noise) -> Fraction:
    """Return the noise variance of the one-way marginals, the largest that a run asks for.

    Every attribute has its one-way marginal. MechanismError for a budget too small for the noise.
    """
    budget = PrivacyFilter(settings.rho)
    return AimSchedule(settings, noise, budget, n_attributes, n_attributes).now.sigma2


class AimSchedule:
    """Decides each round's noise from the budget that is left.

    `now` is the noise of the round that was last prepared; before the first, of the one-way
    marginals. `is_last` says that the round spends all that is left.

    Raises MechanismError for a budget too small for the noise.
    """

    def __init__(
        self,
        settings: AimSettings,
        noise: Noise,
        budget: PrivacyFilter,
        n_attributes: int,
        n_oneways: int,
    ) -> None:
        self._settings, self._noise, self._budget = settings, noise, budget
        if settings.rounds is None:
            n_selects = n_measures = 16 * n_attributes
        else:
            n_selects, n_measures = settings.rounds, settings.rounds + n_oneways
        first = self._least_noise(settings.rho / n_measures, settings.rho / n_selects)
        if first is None:
            raise MechanismError(
                f"the budget rho = {float(settings.rho):.3g} is too small for this noise over "
                f"{n_selects} rounds; raise epsilon or ask for fewer rounds"
            )
        self.now = first
        self.is_last = False
        # only losses leave a last round so little; the parties' bound on the noise is no lower
        self._sigma2_max = 2 * first.sigma2

    def prepare(self, number: int) -> bool:
        """Decide the noise of a round; False if what is left pays for no useful one."""
        remaining = self._budget.remaining
        few_left = remaining < 2 * self.now.rho(self._noise)
        self.is_last = number == self._settings.rounds or few_left
        if self.is_last:
            rest = self._least_noise(remaining, remaining)
            if rest is None or rest.sigma2 > self._sigma2_max:
                return False
            self.now = rest
        return True

    def anneal(self, change: float, n_cells: int) -> bool:
        """Lower the noise if a measurement of `n_cells` moved the model by no more than its noise.

        `change` is how far in L1, in counts. Returns whether the noise was lowered.
        """
        sigma = self._noise.true_sigma(self.now.sigma2)
        is_fixed = self._settings.rounds is not None or self.is_last
        if is_fixed or change > noise_l1(sigma, n_cells):
            return False
        self.now = self.now.annealed(self._noise)
        return True

    def _least_noise(self, for_measuring: Fraction, for_selecting: Fraction) -> RoundNoise | None:
        """Return the least noise that alpha of the one and the rest of the other budget pay for."""
        alpha = self._settings.alpha
        sigma2 = self._noise.sigma2_for(alpha * for_measuring)
        epsilon = self._noise.selection_epsilon_for((1 - alpha) * for_selecting)
        return None if sigma2 is None or epsilon is None else RoundNoise(sigma2, epsilon)
