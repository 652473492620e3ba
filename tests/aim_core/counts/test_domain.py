import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.domain import Domain
from aim_core.errors import SchemaError, WorkloadError

DOMAIN = Domain(("age", "sex", "city"), (5, 2, 7))


def test_sizes_and_cells() -> None:
    assert len(DOMAIN) == 3
    assert DOMAIN.size_of("city") == 7
    assert DOMAIN.shape(("age", "city")) == (5, 7)
    assert DOMAIN.n_cells(("age", "city")) == 35
    assert DOMAIN.n_cells(()) == 1


@given(st.permutations(DOMAIN.attributes), st.integers(0, 3))
def test_canonical_is_column_order(order: list[str], length: int) -> None:
    clique = DOMAIN.canonical(order[:length])
    in_order = [
        c for c in itertools.combinations(DOMAIN.attributes, length) if set(c) == set(clique)
    ]
    assert [clique] == in_order


@pytest.mark.parametrize("clique", [("age", "age"), ("age", "height"), ("",)])
def test_canonical_refuses(clique: tuple[str, ...]) -> None:
    with pytest.raises(WorkloadError):
        DOMAIN.canonical(clique)


def test_unknown_attribute_is_named() -> None:
    with pytest.raises(WorkloadError, match=r"'height'.*age, sex, city"):
        DOMAIN.size_of("height")


@pytest.mark.parametrize(
    ("attributes", "sizes"),
    [((), ()), (("a", "a"), (2, 2)), (("a", ""), (2, 2)), (("a",), (0,)), (("a",), (1, 2))],
)
def test_bad_domains(attributes: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    with pytest.raises(SchemaError):
        Domain(attributes, sizes)


def test_equal_domains_are_equal_and_hashable() -> None:
    same = Domain(("age", "sex", "city"), (5, 2, 7))
    assert same == DOMAIN
    assert hash(same) == hash(DOMAIN)
