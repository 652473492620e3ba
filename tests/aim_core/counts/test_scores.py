"""Integer scores: exact sizes, the sensitivity bound, refusals."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.counts.scores import multipliers, scores
from aim_core.errors import MechanismError

epsilons = st.fractions(min_value=Fraction(1, 10**6), max_value=50)


def test_multipliers_by_hand() -> None:
    assert multipliers([1, 2, 4], Fraction(1, 2), 8) == [16, 32, 64]
    assert multipliers([3, 7], Fraction(1, 10), 16) == [1404, 3276]
    assert scores([16, 32], [10, 4], [3, 9]) == [112, -160]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), epsilons, st.integers(0, 40))
def test_multipliers_are_the_rounded_down_exact_values(
    weights: list[int], epsilon: Fraction, fraction_bits: int
) -> None:
    factors = multipliers(weights, epsilon, fraction_bits)
    for factor, weight in zip(factors, weights, strict=True):
        exact = 2**fraction_bits * epsilon * weight / (2 * max(weights))
        assert factor <= exact < factor + 1


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8),
    st.integers(0, 7),
    st.integers(1, 99),
    epsilons,
)
def test_one_record_moves_no_score_by_more_than_half_epsilon(
    cells: list[tuple[int, int]], index: int, weight: int, epsilon: Fraction
) -> None:
    counts, model = (np.array(side) for side in zip(*cells, strict=True))
    neighbour = counts.copy()
    neighbour[index % len(counts)] += 1
    factors = multipliers([weight, 99], epsilon, 20)
    distances = [[int(np.abs(x - model).sum())] * 2 for x in (counts, neighbour)]
    before, after = (scores(factors, distance, [5, 7]) for distance in distances)
    for old, new in zip(before, after, strict=True):
        assert abs(old - new) <= 2**20 * epsilon / 2


@pytest.mark.parametrize(
    ("weights", "epsilon"), [([], Fraction(1)), ([1, 0], Fraction(1)), ([1], Fraction(0))]
)
def test_impossible_selections_are_refused(weights: list[int], epsilon: Fraction) -> None:
    with pytest.raises(MechanismError):
        multipliers(weights, epsilon, 8)


def test_scores_need_lists_of_one_length() -> None:
    with pytest.raises(ValueError, match="zip"):
        scores([1, 2], [1, 2], [1])
