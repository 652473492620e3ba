"""Sensitivity of the integer scores: every dataset, neighbour and model of small domains.

Exhaustive, not a sample, and quick: it belongs to the default suite.
"""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from aim_core.arrays import Counts
from aim_core.counts.marginals import project
from aim_core.counts.scores import multipliers, scores
from aim_core.counts.workload import closure, parse_workload, weights
from aim_core.domain import Clique, Domain
from mpc.steps.job import FRACTION_BITS

EPSILONS = [Fraction(1), Fraction(1, 3), Fraction(10**6 + 1, 10**9), Fraction(64), Fraction(7, 5)]
SIZES = [(2, 2), (3, 2), (2, 2, 2)]


Sizes = tuple[int, ...]
Changes = tuple[Sizes, set[tuple[int, ...]]]
"""A domain, and every vector of changes that occurs in it."""


def datasets(n_cells: int, largest: int) -> Counts:
    """All tables of counts with entries up to ``largest``, one per row."""
    return np.array(list(product(range(largest + 1), repeat=n_cells)))


def candidates_of(sizes: Sizes) -> tuple[Domain, tuple[Clique, ...], tuple[int, ...]]:
    domain = Domain(tuple("abc"[: len(sizes)]), sizes)
    workload = parse_workload("2way", domain)
    return domain, closure(workload), weights(workload, closure(workload))


def distance_changes(sizes: Sizes, largest: int) -> set[tuple[int, ...]]:
    """Per neighbour pair and candidate: by how much L_r changes, for models that are all tables.

    Returns the changes of all candidates for each (model, dataset, added record), as the set of
    vectors that occur. Removal is the same pair the other way round: the set is made symmetric.
    """
    domain, candidates, _ = candidates_of(sizes)
    full, n_cells = domain.attributes, int(np.prod(sizes))
    tables = datasets(n_cells, largest)
    seen: set[tuple[int, ...]] = set()
    for cell in range(n_cells):
        neighbours = tables.copy()
        neighbours[:, cell] += 1
        for model in tables:
            changes = [
                np.abs(of(neighbours, domain, full, c) - of(model[None], domain, full, c)).sum(1)
                - np.abs(of(tables, domain, full, c) - of(model[None], domain, full, c)).sum(1)
                for c in candidates
            ]
            seen |= set(map(tuple, np.unique(np.stack(changes, axis=1), axis=0).tolist()))
    return seen | {tuple(-x for x in change) for change in seen}


def of(tables: Counts, domain: Domain, full: Clique, clique: Clique) -> Counts:
    return np.stack([project(table, domain, full, clique) for table in tables])


@pytest.fixture(scope="module", params=SIZES, ids=str)
def changes(request: pytest.FixtureRequest) -> Changes:
    sizes = request.param
    if len(sizes) == 3:
        # Pairs of tables of 8 cells are too many; every pattern of signs includes all that occur.
        return sizes, set(product((-1, 1), repeat=len(candidates_of(sizes)[1])))
    return sizes, distance_changes(sizes, 2 if sizes == (2, 2) else 1)


def test_a_record_changes_every_distance_by_one(changes: Changes) -> None:
    _, vectors = changes
    assert all(abs(x) == 1 for vector in vectors for x in vector)
    assert any(len(set(vector)) == 2 for vector in vectors), "also in different directions"


@pytest.mark.parametrize("epsilon", EPSILONS, ids=str)
def test_score_sensitivity_and_range(changes: Changes, epsilon: Fraction) -> None:
    sizes, vectors = changes
    factors = multipliers(candidates_of(sizes)[2], epsilon, FRACTION_BITS)
    bound = 2**FRACTION_BITS * epsilon / 2
    for vector in vectors:
        moved = scores(factors, vector, [0] * len(vector))
        assert all(abs(x) <= bound for x in moved)
        assert max(moved) - min(moved) <= 2 * bound


def test_the_bound_is_met_up_to_rounding(changes: Changes) -> None:
    sizes, vectors = changes
    factors = multipliers(candidates_of(sizes)[2], Fraction(1), FRACTION_BITS)
    largest = max(abs(x) for v in vectors for x in scores(factors, v, [0] * len(v)))
    assert 2 ** (FRACTION_BITS - 1) - 1 <= largest <= 2 ** (FRACTION_BITS - 1)


def test_negative_control_rounding_up_breaks_the_bound() -> None:
    """With ceil in place of floor a score moves by more than 2^f eps / 2 for some epsilon."""
    epsilon = Fraction(1, 3)
    _, _, w = candidates_of((2, 2))
    factors = [c + 1 for c in multipliers(w, epsilon, FRACTION_BITS)]
    assert max(factors) > 2**FRACTION_BITS * epsilon / 2


def test_biases_and_models_cancel() -> None:
    factors = multipliers([1, 2], Fraction(1), FRACTION_BITS)
    for biases in ([0, 0], [5, -900], [2**40, 1]):
        before, after = scores(factors, [7, 9], biases), scores(factors, [8, 8], biases)
        assert [b - a for a, b in zip(before, after, strict=True)] == [factors[0], -factors[1]]
