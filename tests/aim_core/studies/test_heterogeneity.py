"""Heterogeneity: by hand, against dense marginals, at the extremes."""

import itertools
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import parse_workload
from aim_core.domain import Clique, Domain
from aim_core.errors import TableError, WorkloadError
from aim_core.studies.heterogeneity import heterogeneity
from aim_core.studies.splits import assign
from aim_core.tables.files.reading import encoded_chunks
from aim_core.tables.schema_file import load_schema
from tests.support.public_tables import public_file

DOMAIN = Domain(("x", "y"), (2, 3))


def test_by_hand() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 2], [1, 2]])
    owners = np.array([0, 0, 0, 1])
    found = heterogeneity(codes, owners, DOMAIN, [("x",), ("y",)])
    # x: all (1/2, 1/2), holder 0 (2/3, 1/3), holder 1 (0, 1): 1/6 and 1/2.
    # y: all (1/4, 1/4, 1/2), holder 0 (1/3, 1/3, 1/3), holder 1 (0, 0, 1): 1/6 and 1/2.
    assert found.per_holder == pytest.approx([1 / 6, 1 / 2])
    assert found.mean == found.median == pytest.approx(1 / 3)
    assert (found.minimum, found.maximum) == pytest.approx((1 / 6, 1 / 2))


def test_no_difference_and_the_largest() -> None:
    codes = np.array([[0, 0], [1, 1]] * 6)
    alike = heterogeneity(codes, np.repeat([0, 1, 2], 4), DOMAIN, [("x", "y")])
    assert alike.maximum == pytest.approx(0)
    # ten holders, each with a cell of its own: TV is 1 - 1/10 for each
    wide = Domain(("x",), (10,))
    rows = np.arange(10)[:, None]
    assert heterogeneity(rows, np.arange(10), wide, [("x",)]).minimum == pytest.approx(0.9)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(0, 2**32))
def test_equals_the_dense_computation(n_rows: int, n_holders: int, seed: int) -> None:
    n_holders = min(n_holders, n_rows)
    domain = Domain(("a", "b", "c"), (3, 5, 4))
    generator = np.random.default_rng(seed)
    codes = np.stack([generator.integers(0, size, n_rows) for size in domain.sizes], axis=1)
    owners = assign([codes], domain, n_holders, "iid", seed)
    cliques = [c for size in (1, 2, 3) for c in itertools.combinations(domain.attributes, size)]
    every = count_marginals([codes], domain, cliques)
    expected = []
    for holder in range(n_holders):
        own = count_marginals([codes[owners == holder]], domain, cliques)
        distances = [np.abs(own[c] / own[c].sum() - every[c] / n_rows).sum() / 2 for c in cliques]
        expected.append(np.mean(distances))
    np.testing.assert_allclose(
        heterogeneity(codes, owners, domain, cliques).per_holder, expected, atol=1e-12
    )


def test_refusals() -> None:
    codes = np.zeros((2, 2), dtype=int)
    with pytest.raises(TableError, match="holder 1 has no rows"):
        heterogeneity(codes, np.array([0, 2]), DOMAIN, [("x",)])
    for owners in ([0], [0, -1]):
        with pytest.raises(TableError, match="owners"):
            heterogeneity(codes, np.array(owners), DOMAIN, [("x",)])
    with pytest.raises(TableError, match="outside"):
        heterogeneity(codes + 2, np.array([0, 1]), DOMAIN, [("x",)])
    with pytest.raises(WorkloadError):
        heterogeneity(codes, np.array([0, 1]), DOMAIN, [])


def test_splits_of_adult_differ_as_they_should_and_in_time() -> None:
    schema = load_schema(public_file("adult-domain.json"))
    codes = np.concatenate(list(encoded_chunks(public_file("adult.csv"), schema)))
    domain = schema.domain
    one_ways = [(name,) for name in domain.attributes]
    label = [domain.attributes[-1:]]

    def spread(kind: str, cliques: Sequence[Clique]) -> float:
        owners = assign([codes], domain, 100, kind, 0)
        return heterogeneity(codes, owners, domain, cliques).mean

    assert spread("iid", one_ways) < 0.06
    # UMAP of the plain codes with k-means, as in the paper's code, comes to 0.253.
    assert spread("cluster", one_ways) > 0.30
    labels = [spread(kind, label) for kind in ("dirichlet:0.1", "dirichlet:1", "dirichlet:10")]
    assert labels == sorted(labels, reverse=True)
    assert labels[0] > 0.3
    assert labels[-1] < 0.1
    start = time.process_time()
    assert spread("cluster", parse_workload("random:64:123", domain).cliques) > 0.65
    assert time.process_time() - start < 15
