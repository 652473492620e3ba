import itertools
import os
import subprocess
import sys
import time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.domain import Clique, Domain
from aim_core.errors import WorkloadError
from aim_core.models.junction_tree import (
    build_tree,
    hypothetical_cells,
    mask_of,
    maximal_masks,
    model_cells,
    positions_of,
)

SIZES = (2, 3, 4, 2, 5, 3, 2, 6)
DOMAIN = Domain(tuple("abcdefgh"), SIZES)
cliques = st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=4).map(sorted).map(tuple))


@given(cliques)
def test_tree_holds_every_clique_and_has_the_running_intersection_property(
    measured: list[Clique],
) -> None:
    masks = [mask_of(DOMAIN.positions(clique)) for clique in measured]
    tree = build_tree(SIZES, masks)
    for mask in [*masks, *(1 << position for position in range(len(SIZES)))]:
        assert any(mask & ~clique == 0 for clique in tree.cliques)
    graph = nx.Graph()
    graph.add_nodes_from(range(len(tree.cliques)))
    for edge in tree.edges:
        graph.add_edge(edge.parent, edge.child)
        assert edge.separator == tree.cliques[edge.parent] & tree.cliques[edge.child] != 0
    assert nx.is_forest(graph)
    for position in range(len(SIZES)):
        holders = [i for i, clique in enumerate(tree.cliques) if clique >> position & 1]
        assert nx.is_connected(graph.subgraph(holders))
    assert len(maximal_masks(tree.cliques)) == len(tree.cliques)


@given(cliques)
def test_edges_come_parents_first(measured: list[Clique]) -> None:
    tree = build_tree(SIZES, [mask_of(DOMAIN.positions(clique)) for clique in measured])
    children = {edge.child for edge in tree.edges}
    reached = set(range(len(tree.cliques))) - children
    for edge in tree.edges:
        assert edge.parent in reached
        reached.add(edge.child)


def test_cells_of_known_trees() -> None:
    assert model_cells(DOMAIN, []) == sum(SIZES)
    assert model_cells(DOMAIN, [("a", "b")]) == 6 + sum(SIZES[2:])
    # The cycle a-b-c-d needs one chord; over b, d it costs 2 * 3 * 2 + 3 * 4 * 2 cells.
    cycle = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]
    assert model_cells(DOMAIN, cycle) == 12 + 24 + sum(SIZES[4:])
    assert model_cells(Domain(("only",), (7,)), [("only",)]) == 7


@given(cliques, cliques)
def test_hypothetical_cells_are_model_cells_with_the_candidate(
    measured: list[Clique], candidates: list[Clique]
) -> None:
    expected = [model_cells(DOMAIN, [*measured, candidate]) for candidate in candidates]
    assert hypothetical_cells(DOMAIN, measured, candidates) == expected


def test_unknown_attribute_is_refused() -> None:
    with pytest.raises(WorkloadError, match="nope"):
        hypothetical_cells(DOMAIN, [], [("nope",)])


def test_masks_and_positions_are_inverse() -> None:
    assert positions_of(mask_of((0, 3, 70))) == (0, 3, 70)


def test_maximal_masks_drop_subsets_and_doubles() -> None:
    assert maximal_masks([0b1, 0b11, 0b110, 0b11, 0]) == [0b11, 0b110]


def test_trees_do_not_depend_on_the_hash_seed() -> None:
    script = (
        "from aim_core.models.junction_tree import build_tree;"
        "print(build_tree((2,) * 12, [3 << i for i in range(11)] + [1 << 11 | 1]))"
    )
    outputs = set()
    for seed in ("0", "1", "7"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = [sys.executable, "-c", script]
        outputs.add(subprocess.run(run, env=environment, check=True, capture_output=True).stdout)
    assert len(outputs) == 1


def test_five_hundred_candidates_over_fifty_attributes_are_sized_in_time() -> None:
    names = tuple(f"x{i:02}" for i in range(50))
    domain = Domain(names, tuple(2 + i % 9 for i in range(50)))
    generator = np.random.default_rng(0)
    triples = list(itertools.combinations(names, 3))
    measured = [triples[i] for i in generator.choice(len(triples), 25)]
    candidates = [triples[i] for i in generator.choice(len(triples), 500)]
    start = time.process_time()
    sizes = hypothetical_cells(domain, measured, candidates)
    assert time.process_time() - start < 3.0
    assert min(sizes) >= model_cells(domain, []) - sum(domain.sizes)
