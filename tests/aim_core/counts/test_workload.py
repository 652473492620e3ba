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
from aim_core.counts.workload_text import label
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
    assert workload.clique_weights == (1, 1)
    assert closure(workload) == (("a",), ("b",), ("c",), ("d",), ("a", "d"), ("b", "c"))


@given(
    st.lists(
        st.lists(st.sampled_from(SMALL.attributes), min_size=1, max_size=4, unique=True),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.integers(1, 1000), min_size=6, max_size=6),
)
def test_closure_weights_and_maximal_cliques_follow_their_definitions(
    cliques: list[list[str]], clique_weights: list[int]
) -> None:
    given_weights = tuple(clique_weights[: len(cliques)])
    workload = Workload(SMALL, tuple(tuple(clique) for clique in cliques), given_weights)
    candidates = closure(workload)
    subsets = {frozenset(part) for clique in cliques for part in _subsets(clique)}
    subsets |= {frozenset([name]) for name in SMALL.attributes}
    assert {frozenset(clique) for clique in candidates} == subsets
    assert len(candidates) == len(subsets)
    assert weights(workload, candidates) == tuple(
        sum(
            weight * len(set(r) & set(s))
            for s, weight in zip(workload.cliques, workload.clique_weights, strict=True)
        )
        for r in candidates
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
    assert parse_workload(str(tmp_path / name), SMALL).cliques == (("c",), ("d",), ("a", "b"))


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("w.toml", "cliques = [", "does not parse"),
        ("w.json", '[["a"]]', "one key 'cliques'"),
        ("w.json", '{"cliques": [["a"]], "more": 1}', "one key 'cliques'"),
        ("w.json", '{"cliques": ["ab"]}', "list of lists"),
        ("w.json", '{"cliques": [[1]]}', "list of lists"),
        ("w.json", '{"cliques": []}', "empty"),
        ("w.json", '{"include": ["2way"]}', "one key 'cliques'"),
        ("w.json", '{"cliques": [["a"]], "weights": [1, 2]}', "one number per clique"),
        ("w.json", '{"cliques": [["a"]], "weights": 1}', "one number per clique"),
        ("w.json", '{"cliques": [["a"]], "weights": [true]}', "not a weight"),
        ("w.json", '{"cliques": [["a"]], "weights": [2.0]}', "not a weight"),
        ("w.json", '{"cliques": [["a"]], "weights": [0]}', "not a weight"),
        ("w.json", '{"cliques": [["a"]], "include": "2way"}', "list of terms"),
        ("w.json", '{"cliques": [["a"]], "include": ["w.json"]}', "is neither"),
        ("w.json", '{"cliques": [["A"]]}', "did you mean 'a'"),
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
    ("text", "part"),
    [
        ("4way", "'4way' is neither 1way, 2way, 3way"),
        ("no such file", "nor a file that exists"),
        ("random:5:1", "ask for 1 to 4"),
        ("random:0:1", "ask for 1 to 4"),
        ("random:x:1", "random:COUNT:SEED"),
        ("\0", "is neither"),
        ("x" * 5000, "is neither"),
        ("", "empty"),
        ("2way+", "empty"),
        ("2way++a,b", "empty"),
        ("a,B", "no attribute 'B'; did you mean 'b'"),
        ("A", "did you mean 'a'"),
        ("2-way", "did you mean '2way'"),
        ("a,,b", "no attribute ''"),
        ("a,a", "twice"),
        ("2way:a,zz", "no attribute 'zz'"),
        ("2way:", "no attribute ''"),
        ("a,b*0", "'0' is not a weight"),
        ("a,b*1001", "'1001' is not a weight"),
        ("a,b*-1", "'-1' is not a weight"),
        ("a,b*1.5", "'1.5' is not a weight"),
        ("a,b*", "'' is not a weight"),
        ("a,b*2*3", "no attribute 'b\\*2'"),
    ],
)
def test_bad_texts_are_refused_with_a_reason(text: str, part: str) -> None:
    with pytest.raises(WorkloadError, match=part):
        parse_workload(text, SMALL)


def pairs(*names: str) -> set[tuple[str, ...]]:
    return set(itertools.combinations(names, 2))


ONES = {(name,) for name in SMALL.attributes}
TRIPLES = set(itertools.combinations(SMALL.attributes, 3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1way", ONES),
        ("2way", pairs("a", "b", "c", "d")),
        ("2way+a,b,c", pairs("a", "b", "c", "d") | {("a", "b", "c")}),
        (" d , a ", {("a", "d"), ("b",), ("c",)}),
        ("a", ONES),
        ("2way:a,c,d", pairs("a", "c", "d") | {("b",)}),
        ("3way:a,c,d + 1way", {("a", "c", "d")} | ONES),
        ("3way:a,b", {("a", "b"), ("c",), ("d",)}),
        ("random:4:7", TRIPLES),
        ("1way+random:4:7+a,b,c,d", {("a", "b", "c", "d")} | ONES | TRIPLES),
    ],
)
def test_terms_name_marginals_and_every_attribute_is_measured(
    text: str, expected: set[tuple[str, ...]]
) -> None:
    workload = parse_workload(text, SMALL)
    assert set(workload.cliques) == expected
    assert set(workload.clique_weights) == {1}
    assert set(closure(workload)) >= ONES


def test_the_largest_weight_of_a_clique_holds() -> None:
    workload = parse_workload("2way*2+a,b*5+a,c*1+c,d,a*3", SMALL)
    weight_of = dict(zip(workload.cliques, workload.clique_weights, strict=True))
    assert weight_of.pop(("a", "b")) == 5
    assert weight_of.pop(("a", "c", "d")) == 3
    assert weight_of == dict.fromkeys(pairs("a", "b", "c", "d") - {("a", "b")}, 2)


def test_marginals_among_named_attributes_take_a_weight() -> None:
    workload = parse_workload("2way:a,b,c*9", SMALL)
    assert workload.cliques == (("d",), ("a", "b"), ("a", "c"), ("b", "c"))
    assert workload.clique_weights == (1, 9, 9, 9)


def test_max_cells_keeps_weights() -> None:
    workload = parse_workload("2way*4", SMALL, max_cells=8)
    assert workload.cliques == (("d",), ("a", "b"), ("a", "c"))
    assert workload.clique_weights == (1, 4, 4)


@pytest.mark.parametrize("given_weights", [(1,), (0, 1), (1, 1001), (1, -1)])
def test_weights_that_do_not_fit_are_refused(given_weights: tuple[int, ...]) -> None:
    with pytest.raises(WorkloadError, match="weights, each from 1 to 1000"):
        Workload(SMALL, (("a",), ("b",)), given_weights)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.txt", "\ufeffa, b *3  # often\nc,d\n"),
        ("w.toml", 'cliques = [["b", "a"], ["c", "d"]]\nweights = [3, 1]'),
        ("w.json", '{"cliques": [["a", "b"]], "weights": [3], "include": ["c,d"]}'),
        ("w.txt", "a,b\nc,d\na,b*3"),
    ],
)
def test_files_have_weights_and_include_terms(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    workload = parse_workload(str(tmp_path / name), SMALL)
    assert workload == Workload(SMALL, (("a", "b"), ("c", "d")), (3, 1))


def test_a_file_is_a_term_and_names_that_are_terms_themselves_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2way", "a", "more.txt", "a+b.txt"):
        Path(name).write_text("a,b,c\n")
    assert parse_workload("2way", SMALL).cliques == tuple(sorted(pairs(*"abcd")))
    assert ("a",) in parse_workload("a", SMALL).cliques
    both = parse_workload("c,d+more.txt", SMALL)
    assert both.cliques == (("c", "d"), ("a", "b", "c"))
    assert parse_workload("a+b.txt", SMALL) == parse_workload("more.txt", SMALL)
    with pytest.raises(WorkloadError, match="is neither"):
        parse_workload("more.txt*2", SMALL)


def test_columns_with_odd_names_are_named_in_a_file(tmp_path: Path) -> None:
    domain = Domain(("2way", "a,b", "x*2", "#1", "p+q"), (2, 2, 2, 2, 2))
    cliques = [["2way", "a,b"], ["x*2", "#1", "p+q"]]
    (tmp_path / "w.json").write_text(json.dumps({"cliques": cliques}))
    workload = parse_workload(str(tmp_path / "w.json"), domain)
    assert [list(clique) for clique in workload.cliques] == cliques
    assert ("x*2", "#1") in parse_workload("x*2,#1", domain).cliques


def test_a_list_too_long_to_be_made_is_refused_at_once() -> None:
    domain = Domain(tuple(f"x{index}" for index in range(2000)), (2,) * 2000)
    for text in ("3way", "random:5:1", "2way"):
        with pytest.raises(DomainTooLarge, match="at most 1,000,000"):
            parse_workload(text, domain)


def test_a_label_has_no_folders_of_files(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("a,b")
    assert label(str(tmp_path / "w.txt")) == "w.txt"
    assert label(f"2way+{tmp_path / 'w.txt'}") == "2way+w.txt"
    assert label("2way+age/sex,income") == "2way+age/sex,income"


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
