"""zCDP accounting: the conversion, the roundings, the filter."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.errors import BudgetExceeded, MechanismError
from aim_core.privacy.zcdp import (
    PrivacyFilter,
    parse_rational,
    rho_from_epsilon_delta,
    round_down,
    round_up,
    sqrt_down,
)

positive = st.fractions(min_value=Fraction(1, 10**12), max_value=10**9)


def reference_delta(rho: float, epsilon: float) -> float:
    """Bisect on the derivative in alpha, as the authors' own program does."""
    low, high = 1.0 + 1e-10, (epsilon + 1) / (2 * rho) + 2
    for _ in range(500):
        alpha = (low + high) / 2
        derivative = (2 * alpha - 1) * rho - epsilon + math.log1p(-1.0 / alpha)
        low, high = (alpha, high) if derivative < 0 else (low, alpha)
    exponent = (alpha - 1) * (alpha * rho - epsilon) + alpha * math.log1p(-1 / alpha)
    return min(math.exp(exponent) / (alpha - 1.0), 1.0)


@pytest.mark.parametrize("epsilon", ["0.01", "0.1", "1", "3", "10", "100"])
@pytest.mark.parametrize("delta", ["1e-5", "1e-9", "1e-20"])
def test_conversion_is_tight_and_agrees_with_the_authors_bisection(
    epsilon: str, delta: str
) -> None:
    rho = rho_from_epsilon_delta(Fraction(epsilon), Fraction(delta))
    assert reference_delta(float(rho), float(epsilon)) == pytest.approx(float(delta), rel=1e-6)


@pytest.mark.parametrize(
    ("epsilon", "delta", "rho"), [("1", "1e-5", 0.030557), ("5", "1e-5", 0.550973)]
)
def test_known_values(epsilon: str, delta: str, rho: float) -> None:
    value = rho_from_epsilon_delta(Fraction(epsilon), Fraction(delta))
    assert float(value) == pytest.approx(rho, abs=1e-6)


@given(st.fractions(Fraction(1, 10**6), 1000), st.fractions(Fraction(1, 10**6), 1000))
@pytest.mark.parametrize("delta", ["0.5", "1e-5", "1e-300", "1e-400"])
def test_rho_grows_with_epsilon(delta: str, one: Fraction, other: Fraction) -> None:
    low, high = sorted([one, other])
    rhos = [rho_from_epsilon_delta(epsilon, Fraction(delta)) for epsilon in (low, high)]
    assert 0 < rhos[0] <= rhos[1]
    assert (rhos[1] > rhos[0]) or (high - low) < Fraction(1, 10**12) * high


def test_a_larger_delta_gives_more_rho() -> None:
    rhos = [rho_from_epsilon_delta(Fraction(1), Fraction(1, 10**n)) for n in range(1, 40)]
    assert rhos == sorted(rhos, reverse=True)
    assert len(set(rhos)) == len(rhos)


@pytest.mark.parametrize(
    ("epsilon", "delta", "part"),
    [
        ("0", "1e-9", "epsilon is 0"),
        ("-1", "1e-9", "epsilon is -1"),
        ("1e300", "1e-9", "at most"),
        ("1", "0", "delta is 0"),
        ("1", "1", "delta is 1"),
        ("1", "-1e-9", "delta is -1e-9"),
    ],
)
def test_impossible_budgets_are_refused(epsilon: str, delta: str, part: str) -> None:
    with pytest.raises(MechanismError, match=part):
        rho_from_epsilon_delta(Fraction(epsilon), Fraction(delta))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", Fraction(1)),
        ("0.1", Fraction(1, 10)),
        ("1e-9", Fraction(1, 10**9)),
        ("1/3", Fraction(1, 3)),
        (".5", Fraction(1, 2)),
        ("-2E3", Fraction(-2000)),
    ],
)
def test_budgets_are_read_exactly(text: str, value: Fraction) -> None:
    assert parse_rational(text, "epsilon") == value


@pytest.mark.parametrize(
    "text", ["", "one", "nan", "inf", "1/0", "1e", "0x1", "1e99999", "1_0", "."]
)
def test_texts_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(MechanismError, match="epsilon is"):
        parse_rational(text, "epsilon")


@given(positive, st.integers(2, 60))
def test_roundings_bracket_the_value_closely(value: Fraction, bits: int) -> None:
    down, up = round_down(value, bits), round_up(value, bits)
    assert down <= value <= up
    assert up - down <= value * Fraction(4, 2**bits)
    assert (down == up) == (down == value)


@given(positive)
def test_square_root_is_just_below(value: Fraction) -> None:
    root = sqrt_down(value)
    assert root**2 <= value < (root * (1 + Fraction(1, 2**36))) ** 2


@given(positive, st.lists(positive, max_size=30))
def test_filter_never_overspends_and_a_refusal_changes_nothing(
    budget: Fraction, costs: list[Fraction]
) -> None:
    privacy = PrivacyFilter(budget)
    for cost in costs:
        before = privacy.spent
        try:
            privacy.charge(cost)
        except BudgetExceeded:
            assert before + cost > budget
            assert privacy.spent == before
        else:
            assert privacy.spent == before + cost
        assert privacy.spent + privacy.remaining == budget
        assert privacy.remaining >= 0


def test_filter_spends_to_the_last_bit() -> None:
    privacy = PrivacyFilter(Fraction(1, 3))
    privacy.charge(Fraction(1, 3))
    with pytest.raises(BudgetExceeded, match="refused"):
        privacy.charge(Fraction(1, 10**30))


@pytest.mark.parametrize("cost", [Fraction(0), Fraction(-1)])
def test_filter_refuses_costs_that_are_none(cost: Fraction) -> None:
    with pytest.raises(MechanismError):
        PrivacyFilter(Fraction(1)).charge(cost)


def test_filter_needs_a_budget() -> None:
    with pytest.raises(MechanismError):
        PrivacyFilter(Fraction(0))
