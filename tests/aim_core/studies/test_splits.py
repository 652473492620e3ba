"""Splits over holders: by hand at the extremes, refusals, determinism."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_info, threadpool_limits

from aim_core.arrays import CodeTable, FloatArray
from aim_core.domain import Domain
from aim_core.errors import TableError
from aim_core.studies.heterogeneity import heterogeneity
from aim_core.studies.splits import Owners, SplitKind, assign, parse_kind

DOMAIN = Domain(("a", "b", "label"), (4, 3, 2))
Step = Callable[[object, FloatArray], object]
KINDS = ("iid", "cluster", "dirichlet:0.1", "dirichlet:5")


def random_table(n_rows: int, seed: int = 0) -> CodeTable:
    generator = np.random.default_rng(seed)
    return np.stack([generator.integers(0, size, n_rows) for size in DOMAIN.sizes], axis=1)


def split(
    codes: CodeTable, n_holders: int, kind: str, seed: int = 0, target: str | None = None
) -> Owners:
    return assign([codes], DOMAIN, n_holders, kind, seed, target)


@given(n_rows=st.integers(1, 500), n_holders=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_iid_deals_rows_evenly(n_rows: int, n_holders: int, seed: int) -> None:
    n_holders = min(n_holders, n_rows)
    counts = np.bincount(split(random_table(n_rows), n_holders, "iid", seed), minlength=n_holders)
    assert counts.sum() == n_rows
    assert counts.max() - counts.min() <= 1


def test_iid_is_what_it_always_was() -> None:
    # Runs with a seed have been recorded with this split.
    owners = split(random_table(10), 3, "iid", 7)
    assert owners.tolist() == np.random.default_rng(7).permutation([0, 1, 2] * 3 + [0]).tolist()


@settings(max_examples=25)
@given(
    n_rows=st.integers(1, 60),
    n_holders=st.integers(1, 20),
    kind=st.sampled_from(KINDS),
    n_distinct=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_every_holder_has_a_row_even_of_few_or_equal_rows(
    n_rows: int, n_holders: int, kind: str, n_distinct: int, seed: int
) -> None:
    codes = random_table(n_distinct, seed)[np.arange(n_rows) % n_distinct]
    n_holders = min(n_holders, n_rows)
    owners = split(codes, n_holders, kind, seed)
    assert owners.shape == (n_rows,)
    assert owners.dtype == np.int32
    assert set(owners.tolist()) == set(range(n_holders))


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_chunks_do_not_matter(kind: str) -> None:
    codes = random_table(300)
    first = split(codes, 7, kind, 3)
    chunked = assign([codes[:100], codes[100:]], DOMAIN, 7, kind, 3)
    assert np.array_equal(first, chunked)
    assert not np.array_equal(first, split(codes, 7, kind, 4))


def test_clusters_are_computed_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # With more, sums are rounded in another order, and the split would follow the machine.
    n_threads: list[int] = []

    def watched(original: Step) -> Step:
        def watching(estimator: object, rows: FloatArray) -> object:
            n_threads.extend(library["num_threads"] for library in threadpool_info())
            return original(estimator, rows)

        return watching

    monkeypatch.setattr(MiniBatchKMeans, "fit_predict", watched(MiniBatchKMeans.fit_predict))
    monkeypatch.setattr(PCA, "fit_transform", watched(PCA.fit_transform))
    with threadpool_limits(limits=2):
        split(random_table(50), 5, "cluster")
    assert n_threads
    assert set(n_threads) == {1}


def test_clusters_are_found() -> None:
    # Two groups of rows that share no code: no holder may have rows of both.
    generator = np.random.default_rng(2)
    group = generator.integers(0, 2, 400)
    codes = np.stack([2 * group + generator.integers(0, 2, 400), group, group], axis=1)
    owners = split(codes, 2, "cluster")
    assert len(set(zip(owners.tolist(), group.tolist(), strict=True))) == 2


def test_a_small_beta_gives_a_class_to_one_holder_and_a_large_one_to_all_alike() -> None:
    codes = random_table(2000)
    labels = codes[:, 2]
    owners = split(codes, 10, "dirichlet:1e-9")
    for label in (0, 1):
        # all but the rows that were moved so that nobody is left with nothing
        assert np.bincount(owners[labels == label]).max() >= (labels == label).sum() - 10
    even = split(codes, 10, "dirichlet:1000000")
    counts = np.stack([np.bincount(even[labels == label], minlength=10) for label in (0, 1)])
    # a share of Dirichlet(1e6, ...) is 0.1 to within 1e-3
    assert np.abs(counts - counts.sum(1, keepdims=True) / 10).max() <= 3


def test_shares_of_a_class_follow_the_dirichlet_distribution() -> None:
    # Two holders: the first one's share of a class is Beta(b, b), of variance 1 / (4 (2 b + 1)).
    codes = np.zeros((1000, 3), dtype=int)
    shares = [np.mean(split(codes, 2, "dirichlet:2", seed) == 0) for seed in range(600)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    assert np.var(shares) == pytest.approx(1 / 20, rel=0.25)


def test_another_target_may_be_named() -> None:
    codes = random_table(900)
    owners = split(codes, 9, "dirichlet:0.01", target="a")
    skew = [heterogeneity(codes, owners, DOMAIN, [(name,)]).mean for name in DOMAIN.attributes]
    assert skew[0] > 0.5 > max(skew[1:])


def test_kinds_are_parsed() -> None:
    assert parse_kind("iid") == SplitKind("iid")
    assert parse_kind("dirichlet:1e-1") == SplitKind("dirichlet", 0.1)


@pytest.mark.parametrize(
    ("n_holders", "kind", "target", "text"),
    [
        (0, "iid", None, "0 holders"),
        (11, "iid", None, "11 holders cannot share 10 rows"),
        (11, "cluster", None, "11 holders cannot share 10 rows"),
        (3, "sorted", None, "unknown split"),
        (3, "dirichlet", None, "unknown split"),
        (3, "dirichlet:", None, "BETA above 0"),
        (3, "dirichlet:x", None, "BETA above 0"),
        (3, "dirichlet:0", None, "BETA above 0"),
        (3, "dirichlet:-1", None, "BETA above 0"),
        (3, "dirichlet:nan", None, "BETA above 0"),
        (3, "dirichlet:inf", None, "BETA above 0"),
        (3, "dirichlet:1", "income", "no attribute 'income'"),
    ],
)
def test_refuses_what_it_cannot_split(
    n_holders: int, kind: str, target: str | None, text: str
) -> None:
    with pytest.raises(TableError, match=text):
        split(random_table(10), n_holders, kind, target=target)


def test_label_skew_needs_a_two_valued_attribute_or_a_target() -> None:
    codes, domain = np.zeros((4, 2), dtype=int), Domain(("a", "b"), (3, 4))
    with pytest.raises(TableError, match="no attribute with two values"):
        assign([codes], domain, 2, "dirichlet:1", 0)
    assert len(assign([codes], domain, 2, "dirichlet:1", 0, "b")) == 4
