"""The workload: texts and files, closure, weights, limits."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.counts.workload import (
    Workload,
    closure,
    maximal_cliques,
    n_cells,
    parse_workload,
    weights,
)
from aim_core.domain import Domain
from aim_core.errors import AimError, DomainTooLarge, WorkloadError
from tests.support.public_tables import public_file

SMALL = Domain(("a", "b", "c", "d"), (2, 3, 4, 5))


def adult() -> Domain:
    sizes = json.loads(public_file("adult-domain.json").read_text())
    return Domain(tuple(sizes), tuple(sizes.values()))


@pytest.mark.parametrize(
    ("text", "max_cells", "n_candidates", "cells", "largest"),
    [
        ("2way", None, 105, 148_725, 10_000),
        ("3way", None, 469, 21_043_261, 1_000_000),
        ("3way", 10_000, 305, 642_303, 9_600),
        ("random:64:123", None, 161, 2_870_490, 841_500),
    ],
)
def test_adult_workloads_have_the_known_sizes(
    text: str, max_cells: int | None, n_candidates: int, cells: int, largest: int
) -> None:
    domain = adult()
    candidates = closure(parse_workload(text, domain, max_cells))
    assert len(candidates) == n_candidates
    assert n_cells(domain, candidates) == cells
    assert max(domain.n_cells(clique) for clique in candidates) == largest


def test_order_is_total_and_starts_with_the_one_ways() -> None:
    workload = Workload(SMALL, (("d", "a"), ("c", "b"), ("a", "d")))
    assert workload.cliques == (("a", "d"), ("b", "c"))
    assert closure(workload) == (("a",), ("b",), ("c",), ("d",), ("a", "d"), ("b", "c"))


@given(
    st.lists(
        st.lists(st.sampled_from(SMALL.attributes), min_size=1, max_size=4, unique=True),
        min_size=1,
        max_size=6,
    )
)
def test_closure_weights_and_maximal_cliques_follow_their_definitions(
    cliques: list[list[str]],
) -> None:
    workload = Workload(SMALL, tuple(tuple(clique) for clique in cliques))
    candidates = closure(workload)
    subsets = {frozenset(part) for clique in cliques for part in _subsets(clique)}
    assert {frozenset(clique) for clique in candidates} == subsets
    assert len(candidates) == len(subsets)
    assert weights(workload, candidates) == tuple(
        sum(len(set(r) & set(s)) for s in workload.cliques) for r in candidates
    )
    maximal = maximal_cliques(workload)
    for clique in candidates:
        above = [other for other in candidates if set(clique) < set(other)]
        assert (clique in maximal) == (not above)


def _subsets(clique: list[str]) -> Iterator[tuple[str, ...]]:
    sizes = range(1, len(clique) + 1)
    return itertools.chain.from_iterable(itertools.combinations(clique, k) for k in sizes)


@pytest.mark.parametrize("text", ["2way", "3way", "random:1:5"])
def test_domains_with_few_attributes_use_what_there_is(text: str) -> None:
    assert parse_workload(text, Domain(("x",), (4,))).cliques == (("x",),)
    assert parse_workload(text, Domain(("x", "y"), (4, 2))).cliques == (("x", "y"),)


def test_max_cells_drops_from_the_workload_but_never_a_whole_attribute() -> None:
    domain = Domain(("a", "b", "c"), (2, 3, 100))
    workload = parse_workload("2way", domain, max_cells=6)
    assert workload.cliques == (("c",), ("a", "b"))
    assert closure(workload) == (("a",), ("b",), ("c",), ("a", "b"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.toml", 'cliques = [["b", "a"], ["c"]]'),
        ("w.json", '{"cliques": [["a", "b"], ["c"]]}'),
        ("w.txt", "# pairs\na, b\n\nc  # alone\n"),
    ],
)
def test_files_are_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert parse_workload(str(tmp_path / name), SMALL).cliques == (("c",), ("a", "b"))


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("w.toml", "cliques = [", "does not parse"),
        ("w.json", '[["a"]]', "one key 'cliques'"),
        ("w.json", '{"cliques": [["a"]], "more": 1}', "one key 'cliques'"),
        ("w.json", '{"cliques": ["ab"]}', "list of lists"),
        ("w.json", '{"cliques": [[1]]}', "list of lists"),
        ("w.json", '{"cliques": []}', "empty"),
        ("w.json", '{"cliques": [[]]}', "empty"),
        ("w.json", '{"cliques": [["a", "zz"]]}', "'zz'"),
        ("w.json", '{"cliques": [["a", "a"]]}', "twice"),
        ("w.txt", "a,,b", "no attribute ''"),
        ("w.txt", "", "empty"),
    ],
)
def test_bad_files_are_refused_with_a_reason(
    tmp_path: Path, name: str, content: str, part: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(WorkloadError, match=part):
        parse_workload(str(tmp_path / name), SMALL)


@pytest.mark.parametrize(
    "text", ["4way", "no such file", "random:5:1", "random:0:1", "random:x:1", "\0", ""]
)
def test_bad_texts_are_refused(text: str) -> None:
    with pytest.raises(WorkloadError):
        parse_workload(text, SMALL)


def test_max_cells_below_one_is_refused() -> None:
    with pytest.raises(WorkloadError, match="at least 1"):
        parse_workload("2way", SMALL, max_cells=0)


def test_a_workload_beyond_memory_is_refused_with_advice() -> None:
    domain = Domain(tuple("abcdef"), (1000,) * 6)
    with pytest.raises(DomainTooLarge, match="--max-cells"):
        parse_workload("3way", domain)
    assert len(parse_workload("3way", domain, max_cells=1000).cliques) == 6


def test_a_clique_with_too_many_subsets_is_refused_at_once() -> None:
    names = tuple(f"x{index}" for index in range(60))
    with pytest.raises(DomainTooLarge):
        closure(Workload(Domain(names, (1,) * 60), (names,)))
    assert issubclass(DomainTooLarge, AimError)
