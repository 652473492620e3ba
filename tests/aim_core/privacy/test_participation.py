"""Poisson participation from a public seed."""

import itertools
from fractions import Fraction

import pytest

from aim_core.errors import MechanismError
from aim_core.privacy.participation import EVERYBODY, Participation


def test_everybody_takes_part_at_rate_one() -> None:
    everybody = Participation(7, Fraction(1), 3)
    assert all(everybody.sampled(r) == frozenset(range(7)) for r in range(5))
    assert EVERYBODY.present(0) == {0}


def test_samples_are_independent_draws_of_the_rate_from_the_seed() -> None:
    some = Participation(100, Fraction(1, 10), 3)
    sizes = [len(some.sampled(r)) for r in range(200)]
    # binomial: the mean of 200 draws of 100 at 0.1 is 10 with a standard deviation of 0.21
    assert 8.9 < sum(sizes) / 200 < 11.1
    assert len({some.sampled(r) for r in range(200)}) > 190
    assert some.sampled(4) == Participation(100, Fraction(1, 10), 3).sampled(4)
    assert some.sampled(4) != Participation(100, Fraction(1, 10), 4).sampled(4)


def test_who_has_joined_stays() -> None:
    some = Participation(50, Fraction(1, 10), 0)
    for r in range(1, 20):
        assert some.present(r) == some.present(r - 1) | some.sampled(r)
    assert some.present(300) == frozenset(range(50))


def test_growth_is_that_of_the_holders_who_have_joined() -> None:
    some = Participation(50, Fraction(1, 10), 0)
    sizes = [len(some.present(number)) for number in range(4)]
    assert [some.growth(number) for number in (1, 2, 3)] == [
        after / before for before, after in itertools.pairwise(sizes)
    ]
    assert EVERYBODY.growth(7) == 1.0


def test_a_round_is_never_empty() -> None:
    rare = Participation(3, Fraction(1, 10**6), 0)
    assert all(len(rare.sampled(r)) == 1 for r in range(30))


@pytest.mark.parametrize(("n", "rate"), [(0, 1), (5, 0), (5, Fraction(11, 10)), (5, -1)])
def test_what_cannot_be_is_refused(n: int, rate: int | Fraction) -> None:
    with pytest.raises(MechanismError):
        Participation(n, Fraction(rate), 0)
