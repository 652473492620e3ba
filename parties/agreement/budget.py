"""What (epsilon, delta) pay for: a run's zCDP budget, less what inexact noise costs."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from aim_core.counts.workload import Workload, closure
from aim_core.errors import MechanismError
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.zcdp import check_budget, rho_from_epsilon_delta
from mpc.noise.sources import NoiseCosts
from parties.agreement.terms import Terms


@dataclass(frozen=True)
class Draws:
    """Bounds on what a run draws noise for: measured marginals, and candidates of selections."""

    marginals: int
    candidates: int


@dataclass(frozen=True)
class Budget:
    """What (epsilon, delta) pay for with one kind of noise.

    `rho` is the mechanism's zCDP budget. `distance` bounds the statistical distance from the ideal
    noise over a whole run, `per_marginal` and `per_candidate` are what a measured marginal and a
    scored candidate take of it; `delta_reserved` is the part of delta that it costs.
    """

    rho: Fraction
    delta_reserved: Fraction
    distance: Fraction
    per_marginal: Fraction
    per_candidate: Fraction


def noise_terms(costs: NoiseCosts) -> Noise:
    """Say in the mechanism's terms what a noise source costs."""
    return Noise(
        variance_factor=costs.variance_factor,
        gumbel_eta=costs.gumbel_eta,
        select_scale=costs.select_scale,
        measure_slack=costs.measure_slack,
        sigma2_min=costs.sigma2_min,
    )


def run_budget(terms: Terms, workload: Workload) -> Budget:
    """Return the budget of a run of AIM; MechanismError as in `budget`."""
    n_candidates = len(closure(workload))

    def draws_at(epsilon: Fraction) -> Draws:
        return _run_draws(terms, len(workload.domain), n_candidates, epsilon)

    epsilon, delta = terms.epsilon.value, terms.delta.value
    _check_affordable(epsilon, delta, terms.costs, draws_at)
    return budget(epsilon, delta, terms.costs, draws_at(epsilon))


def _run_draws(terms: Terms, n_attributes: int, n_candidates: int, epsilon: Fraction) -> Draws:
    """Return what a run with this epsilon, and otherwise these terms, draws noise for at most.

    It is bounded by what a run can pay for, also if requests are lost and made again: no
    measurement has more than twice the first one's variance, and a selection costs at least
    1 - alpha of what is left while that still pays for such a measurement.
    """
    alpha = terms.alpha
    scheduled = (16 * n_attributes if terms.rounds is None else terms.rounds) + n_attributes
    rho = rho_from_epsilon_delta(epsilon, terms.delta.value)
    # the first variance may be the least that the noise can have, and cheaper than scheduled
    payable = max(Fraction(scheduled), 2 * alpha * rho * terms.costs.sigma2_min)
    n_selections = math.ceil(2 * payable / (1 - alpha))
    return Draws(math.ceil(2 * payable / alpha), n_selections * n_candidates)


def budget(epsilon: Fraction, delta: Fraction, costs: NoiseCosts, draws: Draws) -> Budget:
    """Return rho for (epsilon, delta), after setting aside what the samplers' errors cost.

    With probability ratios within e^(+-L) of the ideal noise's and a statistical distance tau in
    all, a mechanism that is (epsilon - 2 L, delta') private with ideal noise is
    (epsilon, e^L delta' + (1 + e^epsilon) tau) private (docs/protocol.md).
    MechanismError if either takes more than half of what is there, or there is none; for too large
    an epsilon it names the largest that these draws allow.
    """
    check_budget(epsilon, delta)
    _check_affordable(epsilon, delta, costs, lambda _: draws)
    distance, loss = _distance(costs, draws), _loss(costs, draws)
    reserved = _growth(epsilon) * distance
    # e^L (1 - 2 L) <= 1
    rho = rho_from_epsilon_delta(epsilon - loss, (delta - reserved) * (1 - loss))
    return Budget(rho, reserved, distance, costs.measure_delta, costs.select_delta)


def _check_affordable(
    epsilon: Fraction, delta: Fraction, costs: NoiseCosts, draws_at: Callable[[Fraction], Draws]
) -> None:
    """Refuse an epsilon at which the samplers' errors take more than half of it or of delta."""
    draws = draws_at(epsilon)
    if epsilon < 2 * _loss(costs, draws):
        raise MechanismError(
            f"epsilon {float(epsilon):.3g} is too small for this noise: what its samplers may "
            "deviate from the ideal noise costs more than half of it; take a larger epsilon"
        )
    if _fits_delta(epsilon, delta, costs, draws):
        return

    def fits(thousandths: int) -> bool:
        smaller = Fraction(thousandths, 1000)
        return _fits_delta(smaller, delta, costs, draws_at(smaller))

    # what is drawn grows with epsilon, and so does the price of an error: one search suffices
    largest = bisect_left(range(1, math.ceil(1000 * epsilon)), True, key=lambda n: not fits(n))
    if not largest:
        raise MechanismError(
            f"delta {float(delta):.6g} is too small for this noise, whatever epsilon is: what its "
            "samplers may deviate from the ideal noise costs more than half of it; take a larger "
            "delta"
        )
    raise MechanismError(
        f"epsilon {float(epsilon):.6g} is too large for delta {float(delta):.6g} with this noise: "
        "what its samplers may deviate from the ideal noise would cost more than half of delta; "
        f"the largest epsilon possible here is {largest / 1000:.3f}: take that or less, or a "
        "larger delta"
    )


def _fits_delta(epsilon: Fraction, delta: Fraction, costs: NoiseCosts, draws: Draws) -> bool:
    return delta >= 2 * _growth(epsilon) * _distance(costs, draws)


def _growth(epsilon: Fraction) -> int:
    """Return at least 2 + e^epsilon, by which a distance counts in delta."""
    # the float's error is far below the allowance; what is above 700 is refused anyway
    return math.ceil(math.exp(min(float(epsilon), 700.0) + 1e-9)) + 2


def _distance(costs: NoiseCosts, draws: Draws) -> Fraction:
    return draws.marginals * costs.measure_delta + draws.candidates * costs.select_delta


def _loss(costs: NoiseCosts, draws: Draws) -> Fraction:
    return 2 * draws.marginals * costs.measure_loss
