"""Our accounting against opendp's and dp_accounting's figures."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from aim_core.privacy.zcdp import rho_from_epsilon_delta
from mpc.noise.sources import JOINT_COSTS

opendp = pytest.importorskip("opendp.prelude", reason="opendp is a test dependency")
pld = pytest.importorskip(
    "dp_accounting.privacy_loss_distribution", reason="dp-accounting is a test dependency"
)

DELTAS = [Fraction(1, 10**5), Fraction(1, 10**9), Fraction(1, 10**15)]
SIGMAS = [1, 5, 20, 91, 5000]


@pytest.fixture(autouse=True)
def contrib() -> Iterator[None]:
    opendp.enable_features("contrib")
    yield
    opendp.disable_features("contrib")


def epsilon_for(rho: Fraction, delta: Fraction) -> float:
    """Find the epsilon whose budget is rho, by bisection on its logarithm."""
    low, high = -30.0, 13.0
    for _ in range(100):
        middle = (low + high) / 2
        is_enough = rho_from_epsilon_delta(Fraction(math.exp(middle)), delta) >= rho
        low, high = (low, middle) if is_enough else (middle, high)
    return math.exp(high)


def opendp_gaussian(sigma: float) -> Any:
    """Return opendp's measurement, which has no type hints."""
    domain = opendp.atom_domain(T=int), opendp.absolute_distance(T=int)
    return opendp.m.make_gaussian(*domain, scale=float(sigma))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_discrete_gaussian_costs_what_opendp_says(sigma: int) -> None:
    ours = 1 / (2 * Fraction(sigma) ** 2) + JOINT_COSTS.measure_slack
    theirs = opendp_gaussian(sigma).map(1)
    assert float(ours) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("delta", DELTAS, ids=lambda d: f"{float(d):g}")
@pytest.mark.parametrize("sigma", SIGMAS)
def test_conversion_equals_opendps(sigma: int, delta: Fraction) -> None:
    """The same theorem [CKS20]; ours is exact and rounds down, theirs is a float search."""
    ours = epsilon_for(1 / (2 * Fraction(sigma) ** 2), delta)
    profile = opendp.c.make_zCDP_to_approxDP(opendp_gaussian(sigma)).map(1)
    assert ours == pytest.approx(profile.epsilon(float(delta)), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("delta", DELTAS, ids=lambda d: f"{float(d):g}")
@pytest.mark.parametrize("epsilon", [Fraction(1, 10), Fraction(1), Fraction(10)], ids=float)
def test_the_budget_is_what_opendp_pays_for(epsilon: Fraction, delta: Fraction) -> None:
    """Spend all of rho on one Gaussian: opendp finds our epsilon, from below."""
    rho = rho_from_epsilon_delta(epsilon, delta)
    sigma = math.sqrt(1 / (2 * float(rho)))
    profile = opendp.c.make_zCDP_to_approxDP(opendp_gaussian(sigma)).map(1)
    assert profile.epsilon(float(delta)) == pytest.approx(float(epsilon), rel=1e-6)


@pytest.mark.parametrize("sigma", [5, 20])
@pytest.mark.parametrize("n_rounds", [1, 50])
def test_the_exact_privacy_loss_is_below_ours_and_near(sigma: int, n_rounds: int) -> None:
    """dp_accounting's numerical privacy loss of the very mechanism, also composed."""
    loss = pld.PrivacyLossDistribution.from_discrete_gaussian_mechanism(
        float(sigma), value_discretization_interval=1e-4
    )
    exact = loss.self_compose(n_rounds).get_epsilon_for_delta(1e-9)
    rho = Fraction(n_rounds, 2 * sigma**2)
    ours = epsilon_for(rho, Fraction(1, 10**9))
    discretisation = n_rounds * 1e-4
    assert exact <= ours + discretisation
    assert ours <= 1.15 * exact + discretisation


def test_negative_control_a_width_off_by_three_percent_is_seen() -> None:
    theirs = opendp_gaussian(91).map(1)
    assert abs(1 / (2 * (0.97 * 91) ** 2) / theirs - 1) > 0.01
    loss = pld.PrivacyLossDistribution.from_discrete_gaussian_mechanism(
        4.0, value_discretization_interval=1e-4
    )
    assert loss.get_epsilon_for_delta(1e-9) > epsilon_for(Fraction(1, 2 * 5**2), Fraction(1, 10**9))
