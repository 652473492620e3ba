"""Requests that were paid for and never answered: the mechanism counts them and goes on."""

import itertools
from collections.abc import Collection
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.counts.workload import parse_workload
from aim_core.errors import BudgetExceeded
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimResult, AimSettings
from aim_core.mechanisms.requests import Measure, Request, Select
from aim_core.privacy.noise_facts import Noise
from tests.support.toys import TOY, ProportionalFitter, RandomOracle, cost

RHO = Fraction(1, 8)
PAIRS = parse_workload("2way", TOY)
NOISE = Noise(gumbel_eta=Fraction(1, 10**6))


def run(lost: Collection[int] = (), rounds: int | None = None) -> tuple[AimResult, list[Request]]:
    settings = AimSettings(RHO, n_max=1000, y_max=1000, rounds=rounds)
    oracle = RandomOracle(TOY, 5, lost)
    result = drive(aim(settings, PAIRS, NOISE, ProportionalFitter(1)), oracle)
    return result, oracle.requests


@given(lost=st.sets(st.integers(1, 60), max_size=20), rounds=st.sampled_from([None, 1, 4, 30]))
def test_lost_requests_are_paid_and_never_overspend(lost: set[int], rounds: int | None) -> None:
    result, requests = run(lost, rounds=rounds)
    assert sum(cost(request, NOISE) for request in requests) == result.rho_spent <= RHO
    ids = [(type(r), r.round, r.attempt) for r in requests]
    assert len(set(ids)) == len(ids)  # every request has an id of its own
    for before, after in itertools.pairwise(requests):
        if after.attempt > 1:
            assert type(before) is type(after)
            assert (before.round, before.attempt) == (after.round, after.attempt - 1)
    variances = [r.sigma2 for r in requests if isinstance(r, Measure)]
    assert all(sigma2 <= 2 * variances[0] for sigma2 in variances)
    assert len(result.measurements) == 3 + len(result.rounds)


def test_nothing_changes_where_nothing_is_lost() -> None:
    _, plain = run(rounds=4)
    assert all(request.attempt == 1 for request in plain)


def test_a_lost_selection_is_made_again_with_the_same_noise() -> None:
    _, requests = run({1}, rounds=6)
    first, again = requests[1:3]
    assert isinstance(first, Select)
    assert isinstance(again, Select)
    assert (again.round, again.attempt) == (1, 2)
    assert again.selection_epsilon == first.selection_epsilon
    assert again.candidates == first.candidates
    assert again.rho_used - first.rho_used == cost(first, NOISE)
    assert requests[3].attempt == 1


def test_a_lost_measurement_is_made_again_for_the_same_clique() -> None:
    _, requests = run({2}, rounds=6)
    first, again = requests[2:4]
    assert isinstance(first, Measure)
    assert isinstance(again, Measure)
    assert (again.cliques, again.sigma2, again.attempt) == (first.cliques, first.sigma2, 2)


def test_a_lost_last_measurement_ends_the_run_with_what_there_is() -> None:
    _, whole = run(rounds=4)
    result, requests = run({len(whole) - 1}, rounds=4)
    assert len(requests) == len(whole)
    assert len(result.rounds) == 3
    assert result.rho_spent <= RHO


def test_losing_everything_is_said() -> None:
    with pytest.raises(BudgetExceeded, match="lost"):
        run(range(10**4), rounds=1)
