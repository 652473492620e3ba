"""What (epsilon, delta) pay for: a run's zCDP budget, less what inexact noise costs."""

import math
from dataclasses import dataclass
from fractions import Fraction

from aim_core.counts.workload import Workload, closure
from aim_core.errors import MechanismError
from aim_core.mechanisms.aim import aim
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.mechanisms.requests import Measure
from aim_core.models.measurement import Fitter
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
    """Return the budget of a run of AIM.

    What a run draws is bounded by what it can pay for, also if requests are lost and made again:
    no measurement has more than twice the first one's variance, and a selection costs at least
    1 - alpha of what is left while that still pays for such a measurement.
    """
    epsilon, delta = terms.epsilon.value, terms.delta.value
    costs, alpha = terms.costs, terms.alpha
    n_attributes = len(workload.domain)
    scheduled = (16 * n_attributes if terms.rounds is None else terms.rounds) + n_attributes
    rho = rho_from_epsilon_delta(epsilon, delta)
    # the first variance may be the least that the noise can have, and cheaper than scheduled
    payable = max(Fraction(scheduled), 2 * alpha * rho * costs.sigma2_min)
    n_selections = math.ceil(2 * payable / (1 - alpha))
    draws = Draws(
        marginals=math.ceil(2 * payable / alpha), candidates=n_selections * len(closure(workload))
    )
    return budget(epsilon, delta, costs, draws)


def budget(epsilon: Fraction, delta: Fraction, costs: NoiseCosts, draws: Draws) -> Budget:
    """Return rho for (epsilon, delta), after setting aside what the samplers' errors cost.

    With probability ratios within e^(+-L) of the ideal noise's and a statistical distance tau in
    all, a mechanism that is (epsilon - 2 L, delta') private with ideal noise is
    (epsilon, e^L delta' + (1 + e^epsilon) tau) private (docs/protocol.md).
    MechanismError if either takes more than half of what is there, or there is none.
    """
    check_budget(epsilon, delta)
    distance = draws.marginals * costs.measure_delta + draws.candidates * costs.select_delta
    # the float's error is far below the allowance; above 700 the check below refuses anyway
    growth = math.ceil(math.exp(min(float(epsilon), 700.0) + 1e-9)) + 2
    reserved = growth * distance
    loss = 2 * draws.marginals * costs.measure_loss
    if delta < 2 * reserved or epsilon < 2 * loss:
        raise MechanismError(
            f"delta {float(delta):.6g} is too small for epsilon {float(epsilon):.6g} with this "
            f"noise: its samplers alone add {float(reserved):.1g} to delta; take a larger delta or "
            "a smaller epsilon"
        )
    # e^L (1 - 2 L) <= 1
    rho = rho_from_epsilon_delta(epsilon - loss, (delta - reserved) * (1 - loss))
    return Budget(rho, reserved, distance, costs.measure_delta, costs.select_delta)


def first_sigma2(
    settings: AimSettings, workload: Workload, noise: Noise, estimator: Fitter
) -> Fraction:
    """Return the noise variance of the one-way marginals, the largest that a run asks for."""
    request = next(aim(settings, workload, noise, estimator))
    if not isinstance(request, Measure):
        raise MechanismError("the mechanism does not begin with the one-way marginals")
    return request.sigma2
