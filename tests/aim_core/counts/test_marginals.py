import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.arrays import CodeTable, Counts
from aim_core.counts.marginals import count_marginals, project, smallest_superset
from aim_core.domain import Clique, Domain
from aim_core.errors import TableError, WorkloadError

DOMAIN = Domain(("a", "b", "c", "d"), (3, 1, 4, 5))
CLIQUES = [c for n in range(5) for c in itertools.combinations(DOMAIN.attributes, n)]


def random_codes(seed: int, n_rows: int) -> CodeTable:
    generator = np.random.default_rng(seed)
    return generator.integers(0, DOMAIN.sizes, (n_rows, len(DOMAIN)), dtype=np.int32)


def counted_by_hand(codes: CodeTable, clique: Clique) -> Counts:
    counts = np.zeros(DOMAIN.shape(clique), dtype=np.int64)
    for row in codes:
        counts[tuple(row[DOMAIN.position(name)] for name in clique)] += 1
    return counts.reshape(-1)


@given(st.integers(0, 10**6), st.integers(0, 90), st.integers(1, 40))
def test_counts_in_chunks_equal_counts_by_hand(seed: int, n_rows: int, n_chunk: int) -> None:
    codes = random_codes(seed, n_rows)
    chunks = (codes[start : start + n_chunk] for start in range(0, n_rows, n_chunk))
    counts = count_marginals(chunks, DOMAIN, CLIQUES)
    assert list(counts) == CLIQUES
    for clique in CLIQUES:
        assert counts[clique].dtype == np.int64
        np.testing.assert_array_equal(counts[clique], counted_by_hand(codes, clique))


@given(st.integers(0, 10**6), st.sampled_from(CLIQUES), st.data())
def test_projection_equals_direct_count(seed: int, source: Clique, data: st.DataObject) -> None:
    target = tuple(name for name in source if data.draw(st.booleans()))
    counts = count_marginals([random_codes(seed, 50)], DOMAIN, [source, target])
    projected = project(counts[source], DOMAIN, source, target)
    np.testing.assert_array_equal(projected, counts[target])
    assert projected.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_projected_shares_add_up_modulo_the_ring(dtype: type[np.unsignedinteger[Any]]) -> None:
    source, target = ("a", "c", "d"), ("a", "d")
    codes = random_codes(1, 200)
    secret = count_marginals([codes], DOMAIN, [source])[source].astype(dtype)
    limits = np.iinfo(dtype)
    first = np.random.default_rng(2).integers(0, limits.max, len(secret), dtype, endpoint=True)
    second = secret - first
    parts = [project(share, DOMAIN, source, target) for share in (first, second)]
    assert all(part.dtype == dtype for part in parts)
    expected = counted_by_hand(codes, target).astype(dtype)
    np.testing.assert_array_equal(parts[0] + parts[1], expected)


def test_projection_refuses_what_is_no_part() -> None:
    cells = np.zeros(12, dtype=np.int64)
    with pytest.raises(WorkloadError, match="not a part"):
        project(cells, DOMAIN, ("a", "c"), ("a", "d"))
    with pytest.raises(WorkloadError, match="12 cells"):
        project(cells[:-1], DOMAIN, ("a", "c"), ("a",))
    with pytest.raises(WorkloadError, match="column order"):
        project(cells, DOMAIN, ("c", "a"), ("a",))


@pytest.mark.parametrize("bad", [-1, 4])
def test_codes_outside_the_domain_are_refused(bad: int) -> None:
    codes = random_codes(3, 5)
    codes[2, 2] = bad
    with pytest.raises(TableError, match="'c'"):
        count_marginals([codes], DOMAIN, [("a",)])


def test_chunk_of_wrong_width_is_refused() -> None:
    with pytest.raises(TableError, match="4"):
        count_marginals([np.zeros((2, 3), dtype=np.int32)], DOMAIN, [("a",)])


def test_smallest_superset_takes_fewest_cells_then_column_order() -> None:
    domain = Domain(("a", "b", "c", "d"), (2, 3, 3, 9))
    cliques = [("a", "d"), ("a", "c"), ("a", "b")]
    assert smallest_superset(("a",), cliques, domain) == ("a", "b")
    assert smallest_superset(("d",), cliques, domain) == ("a", "d")
    with pytest.raises(WorkloadError, match="contains it"):
        smallest_superset(("b", "c"), cliques, domain)
