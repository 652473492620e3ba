"""Junction trees of measured cliques: their size, and the order to eliminate attributes in.

Sets of attributes are bit masks over column positions, by which every tie is broken, so a tree
depends on nothing but the domain and the cliques.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError

_MOST_MB = 10**6


class CellCounts(dict[int, int]):
    """Cells of the marginal over a mask of attributes, computed when first asked for."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__({0: 1})
        self._sizes = tuple(sizes)

    def __missing__(self, mask: int) -> int:
        lowest = mask & -mask
        value = self[mask ^ lowest] * self._sizes[lowest.bit_length() - 1]
        self[mask] = value
        return value


@dataclass(frozen=True)
class Edge:
    """A tree edge; `separator` is the mask of the attributes that both cliques hold."""

    parent: int
    child: int
    separator: int


@dataclass(frozen=True)
class JunctionTree:
    """A junction forest: maximal cliques as masks, and edges listed parents before children.

    `order` is the elimination order (column positions) that the tree was made with. Every attribute
    of the domain is in a clique. The first clique of each component is its root.
    """

    cliques: tuple[int, ...]
    edges: tuple[Edge, ...]
    order: tuple[int, ...]


def mask_of(positions: Iterable[int]) -> int:
    """Return the mask with these bits set."""
    mask = 0
    for position in positions:
        mask |= 1 << position
    return mask


def positions_of(mask: int) -> tuple[int, ...]:
    """Return the set bits of a mask, ascending."""
    return tuple(_bits(mask))


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _graph(n_attributes: int, masks: Iterable[int]) -> list[int]:
    """Return each attribute's neighbours, given cliques as masks."""
    neighbours = [0] * n_attributes
    for mask in masks:
        for position in _bits(mask):
            neighbours[position] |= mask & ~(1 << position)
    return neighbours


def _eliminate(neighbours: Sequence[int], cells: CellCounts) -> list[tuple[int, int]]:
    """Eliminate greedily by least cells (min-weight); return (attribute, its clique) in order."""
    graph = list(neighbours)
    cost = {position: cells[graph[position] | 1 << position] for position in range(len(graph))}
    eliminated = []
    while cost:
        _, position = min(zip(cost.values(), cost.keys(), strict=True))
        bit, around = 1 << position, graph[position]
        eliminated.append((position, around | bit))
        del cost[position]
        for other in _bits(around):
            graph[other] = (graph[other] | around) & ~(bit | 1 << other)
            cost[other] = cells[graph[other] | 1 << other]
    return eliminated


def _maximal(eliminated: Sequence[tuple[int, int]]) -> list[int]:
    """Keep the elimination cliques that lie in no other; only an earlier one can hold a later."""
    maximal: list[int] = []
    for _, clique in eliminated:
        if not any(clique & ~other == 0 for other in maximal):
            maximal.append(clique)
    return maximal


def maximal_masks(masks: Iterable[int]) -> list[int]:
    """Keep the masks that lie in no other, each once, the largest sets first."""
    maximal: list[int] = []
    for mask in sorted(set(masks), key=lambda m: (-m.bit_count(), positions_of(m))):
        if not any(mask & ~other == 0 for other in maximal):
            maximal.append(mask)
    return maximal


def _spanning_edges(cliques: Sequence[int], cells: CellCounts) -> list[tuple[int, int]]:
    """Join cliques by a maximum spanning forest on shared attributes (a junction tree)."""
    pairs = [
        (-(left & right).bit_count(), cells[left & right], i, j)
        for (i, left), (j, right) in itertools.combinations(enumerate(cliques), 2)
        if left & right
    ]
    component = list(range(len(cliques)))
    edges = []
    for _, _, i, j in sorted(pairs):
        if component[i] != component[j]:
            edges.append((i, j))
            gone, kept = component[j], component[i]
            component = [kept if name == gone else name for name in component]
    return edges


def _rooted(cliques: Sequence[int], joined: Sequence[tuple[int, int]]) -> tuple[Edge, ...]:
    """Direct the forest's edges away from each component's first clique, parents first."""
    beside: list[list[int]] = [[] for _ in cliques]
    for i, j in joined:
        beside[i].append(j)
        beside[j].append(i)
    edges: list[Edge] = []
    seen: set[int] = set()
    for root in range(len(cliques)):
        queue = [] if root in seen else [root]
        seen.update(queue)
        for parent in queue:
            for child in sorted(beside[parent]):
                if child not in seen:
                    seen.add(child)
                    queue.append(child)
                    edges.append(Edge(parent, child, cliques[parent] & cliques[child]))
    return tuple(edges)


def build_tree(sizes: Sequence[int], masks: Iterable[int]) -> JunctionTree:
    """Triangulate the graph of the cliques by min-weight elimination and join its cliques.

    Sizes are the domain's; attributes in no clique become cliques of their own. Cliques come with
    the most cells first, so the root of a component is its largest clique.
    """
    cells = CellCounts(sizes)
    eliminated = _eliminate(_graph(len(sizes), masks), cells)
    cliques = sorted(_maximal(eliminated), key=lambda m: (-cells[m], positions_of(m)))
    edges = _rooted(cliques, _spanning_edges(cliques, cells))
    return JunctionTree(tuple(cliques), edges, tuple(position for position, _ in eliminated))


def _tree_cells(neighbours: Sequence[int], cells: CellCounts) -> int:
    return sum(cells[mask] for mask in _maximal(_eliminate(neighbours, cells)))


def model_cells(domain: Domain, cliques: Sequence[Clique]) -> int:
    """Count the cells of the junction tree of these cliques, all its maximal cliques together.

    The cliques of the domain's structural zeros are always in the tree, and attributes in no clique
    count with their own cells. Raises WorkloadError for unknown attributes.
    """
    return hypothetical_cells(domain, cliques, [()])[0]


def hypothetical_cells(
    domain: Domain, measured: Sequence[Clique], candidates: Sequence[Clique]
) -> list[int]:
    """Count `model_cells(measured + [candidate])` for each candidate.

    A candidate that joins no attributes anew leaves the model as large as it is.
    Raises WorkloadError for unknown attributes.
    """
    cells = CellCounts(domain.sizes)
    given = [*measured, *(zeros.clique for zeros in domain.zeros)]
    base = _graph(len(domain), [mask_of(domain.positions(clique)) for clique in given])
    known: dict[tuple[int, ...], int] = {}
    counts = []
    for candidate in candidates:
        graph = list(base)
        mask = mask_of(domain.positions(candidate))
        for position in _bits(mask):
            graph[position] |= mask & ~(1 << position)
        key = tuple(graph)
        if key not in known:
            known[key] = _tree_cells(graph, cells)
        counts.append(known[key])
    return counts


def check_model_mb(megabytes: Fraction | float) -> None:
    """Raise MechanismError unless a bound on a model's size is one: above 0 MB, a million at most.

    A megabyte is 2**20 bytes, at 8 bytes a cell of the junction tree.
    """
    if not 0 < megabytes <= _MOST_MB:  # in this form it refuses a NaN too
        raise MechanismError(
            "the largest model must be above 0 MB and at most a million; give such a size"
        )


def affordable(
    domain: Domain,
    measured: Sequence[Clique],
    candidates: Sequence[Clique],
    limit: Fraction | float,
) -> tuple[Clique, ...]:
    """Keep the candidates that a model can afford: inside a clique that it has, or small.

    `limit` is how many cells the junction tree of what is measured and one candidate may have. The
    model has the measured cliques, and those of the domain's structural zeros.
    """
    parts = [set(clique) for clique in [*measured, *(zeros.clique for zeros in domain.zeros)]]
    kept = {c for c in candidates if any(part.issuperset(c) for part in parts)}
    others = [clique for clique in candidates if clique not in kept]
    sizes = hypothetical_cells(domain, measured, others)
    kept.update(c for c, cells in zip(others, sizes, strict=True) if cells <= limit)
    return tuple(clique for clique in candidates if clique in kept)
