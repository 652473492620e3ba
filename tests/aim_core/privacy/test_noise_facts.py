"""What noise costs, and the least noise that a cost pays for."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.errors import MechanismError
from aim_core.privacy.noise_facts import Noise, noise_l1

WIDE = Noise(
    variance_factor=Fraction(9, 4),
    gumbel_eta=Fraction(1, 2**21),
    measure_slack=Fraction(1, 10**9),
    sigma2_min=Fraction(16),
)
budgets = st.fractions(Fraction(1, 10**12), 100)


@given(budgets, st.sampled_from([Noise(), WIDE]))
def test_the_least_variance_costs_no_more_than_was_given_and_nearly_all(
    rho: Fraction, noise: Noise
) -> None:
    sigma2 = noise.sigma2_for(rho)
    if sigma2 is None:
        assert rho <= noise.measure_slack
        return
    cost = noise.measure_rho(sigma2)
    assert cost <= rho
    assert sigma2 == noise.sigma2_min or cost > rho * (1 - Fraction(1, 2**30))


@given(budgets, st.sampled_from([Noise(), WIDE]))
def test_the_largest_epsilon_costs_no_more_than_was_given_and_nearly_all(
    rho: Fraction, noise: Noise
) -> None:
    epsilon = noise.selection_epsilon_for(rho)
    if epsilon is None:
        assert rho <= noise.select_rho(Fraction(1, 2**20))
        return
    cost = noise.select_rho(epsilon)
    assert rho * (1 - Fraction(1, 2**30)) < cost <= rho


def test_a_variance_below_what_is_proved_is_refused() -> None:
    with pytest.raises(MechanismError, match="no proof at variance 15; use at least 16"):
        WIDE.measure_rho(Fraction(15))


def test_wide_noise_by_hand() -> None:
    assert WIDE.true_sigma(Fraction(16)) == 6.0
    assert noise_l1(6.0, 10) == pytest.approx(47.873, abs=1e-3)
