"""The access structure, for every (m, t) that is allowed."""

from itertools import combinations

import pytest

from mpc.errors import MpcError
from mpc.session.access import MAX_PARTIES, AccessStructure

ALLOWED = [(m, t) for m in range(3, MAX_PARTIES + 1) for t in range(1, m) if 2 * t < m]


@pytest.fixture(params=ALLOWED, ids=lambda mt: f"m{mt[0]}t{mt[1]}")
def access(request: pytest.FixtureRequest) -> AccessStructure:
    return AccessStructure(*request.param)


@pytest.mark.parametrize("mt", [(2, 1), (3, 0), (3, 2), (4, 2), (5, -1), (6, 3), (8, 1)])
def test_impossible_thresholds_are_refused(mt: tuple[int, int]) -> None:
    with pytest.raises(MpcError, match="cannot work"):
        AccessStructure(*mt)


def test_a_coalition_lacks_exactly_one_component(access: AccessStructure) -> None:
    for coalition in combinations(range(access.n_parties), access.threshold):
        held = {i for party in coalition for i in access.held[party]}
        lacking = set(range(len(access.sets))) - held
        assert lacking == {access.component_excluding(frozenset(coalition))}


def test_holders_and_held_agree(access: AccessStructure) -> None:
    for i, holders in enumerate(access.holders):
        assert len(holders) == access.n_parties - access.threshold
        assert all((i in access.held[p]) == (p in holders) for p in range(access.n_parties))


def test_corrections_go_to_the_parties_after(access: AccessStructure) -> None:
    m, t = access.n_parties, access.threshold
    for party, component in enumerate(access.correction):
        recipients = set(access.holders[component]) - {party}
        assert party in access.holders[component]
        assert recipients == {(party + j) % m for j in range(1, m - t)}


def test_every_product_is_computed_once_by_who_can(access: AccessStructure) -> None:
    pairs = [
        (left, right, party)
        for party, row in enumerate(access.products)
        for left, rights in row.items()
        for right in rights
    ]
    n_sets = len(access.sets)
    assert sorted((a, b) for a, b, _ in pairs) == [
        (a, b) for a in range(n_sets) for b in range(n_sets)
    ]
    assert all(a in access.held[p] and b in access.held[p] for a, b, p in pairs)


def test_addends_partition_the_components(access: AccessStructure) -> None:
    for rotation in range(access.n_parties):
        groups = access.addends(rotation)
        assert len(groups) == access.threshold + 1
        assert len(groups[-1][1]) == 1
        members = sorted(i for _, components in groups for i in components)
        assert members == list(range(len(access.sets)))
        assert all(i in access.held[party] for party, group in groups for i in group)
