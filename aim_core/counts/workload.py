"""The workload: which marginals the synthetic table must get right, and their candidates."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aim_core.counts.workload_text import MAX_WEIGHT, read_terms
from aim_core.domain import Clique, Domain
from aim_core.errors import DomainTooLarge, WorkloadError

MAX_CELLS = 200_000_000
"""Most cells that a closure may have. Every round the estimator holds each candidate cell twice (a
float64 of the model, an int64 of the request): 16 bytes, so 3.2 GB at this cap."""

MAX_CANDIDATES = 1_000_000
"""Most cliques that a closure may have; a bound on bookkeeping where attributes are tiny."""


@dataclass(frozen=True)
class Workload:
    """The cliques W whose marginals count, and how much each of them does.

    `cliques` is canonical whatever order it is given in: each clique in column order, no
    duplicates, sorted by length and then by column positions. Attributes that no clique names get
    their one-way marginal: without one, the synthetic table would have them uniform.

    `clique_weights` are whole numbers c_s from 1 to `MAX_WEIGHT`, one per clique; none given are
    all 1. Of a clique that is given several times, the largest weight holds.

    Raises WorkloadError for an empty workload, an empty clique, attributes that the domain does
    not have, or weights that do not fit.
    """

    domain: Domain
    cliques: tuple[Clique, ...]
    clique_weights: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        given = self.clique_weights or (1,) * len(self.cliques)
        if len(given) != len(self.cliques) or not all(1 <= each <= MAX_WEIGHT for each in given):
            raise WorkloadError(
                f"a workload of {len(self.cliques)} cliques needs as many weights, each from 1 to "
                f"{MAX_WEIGHT}"
            )
        weight_of: dict[Clique, int] = {}
        for names, weight in zip(self.cliques, given, strict=True):
            clique = self.domain.canonical(names)
            weight_of[clique] = max(weight, weight_of.get(clique, weight))
        if not weight_of or () in weight_of:
            raise WorkloadError(
                "the workload is empty or names an empty clique; "
                "list at least one clique of at least one attribute"
            )
        named = set().union(*weight_of)
        weight_of |= {(name,): 1 for name in self.domain.attributes if name not in named}
        cliques = ordered(self.domain, weight_of)
        object.__setattr__(self, "cliques", cliques)
        object.__setattr__(self, "clique_weights", tuple(weight_of[each] for each in cliques))


def ordered(domain: Domain, cliques: Iterable[Clique]) -> tuple[Clique, ...]:
    """Sort cliques by length, then by column positions: a total order, one-ways first."""
    return tuple(sorted(cliques, key=lambda clique: (len(clique), domain.positions(clique))))


def n_cells(domain: Domain, cliques: Iterable[Clique]) -> int:
    """Count the cells of all marginals together."""
    return sum(domain.n_cells(clique) for clique in cliques)


def parse_workload(text: str, domain: Domain, max_cells: int | None = None) -> Workload:
    """Read a workload as a user writes it.

    `text` is terms joined by `+`. A term is `1way`, `2way` or `3way` (all marginals of that many
    attributes; of all attributes where there are fewer), `2way:a,b,c` (those among the named
    attributes), `random:COUNT:SEED` (COUNT 3-way marginals drawn without replacement as in the
    FLAIM paper's code), `a,b,c` (the marginal of these attributes), or the path of a file; all but
    a file take a weight, as in `a,b*5`. A file is TOML or JSON with `cliques = [["a", "b"], ...]`
    and at most `weights = [5, ...]` and `include = ["2way"]` beside it, otherwise text with one
    term a line and `#` for comments.

    With `max_cells`, larger cliques leave W, and so does what only they imply of the closure. An
    attribute that would lose all its cliques keeps its one-way marginal.

    Raises WorkloadError for a text or file that cannot be understood and DomainTooLarge for a
    closure above MAX_CELLS cells or MAX_CANDIDATES cliques.
    """
    found = read_terms(text, domain)
    workload = Workload(domain, tuple(c for c, _ in found), tuple(weight for _, weight in found))
    if max_cells is not None:
        workload = _without_large(workload, max_cells)
    closure(workload)
    return workload


def _without_large(workload: Workload, max_cells: int) -> Workload:
    if max_cells < 1:
        raise WorkloadError(f"the largest marginal allowed is {max_cells} cells; allow at least 1")
    domain = workload.domain
    weight_of = dict(zip(workload.cliques, workload.clique_weights, strict=True))
    kept = {clique: w for clique, w in weight_of.items() if domain.n_cells(clique) <= max_cells}
    lost = set(domain.attributes).difference(*kept)
    kept |= {(name,): 1 for name in lost}
    return Workload(domain, tuple(kept), tuple(kept.values()))


def closure(workload: Workload) -> tuple[Clique, ...]:
    """List the candidates W+: every non-empty subset of a workload clique, in total order.

    The order is that of `ordered`, so the one-way marginals come first.

    Raises DomainTooLarge above MAX_CELLS cells or MAX_CANDIDATES cliques.
    """
    domain = workload.domain
    # Before any enumeration: a clique of k attributes has 2**k - 1 subsets.
    for clique in workload.cliques:
        _check_size(domain.n_cells(clique), 2 ** len(clique) - 1)
    found: set[Clique] = set()
    for clique in workload.cliques:
        for size in range(1, len(clique) + 1):
            found.update(itertools.combinations(clique, size))
        _check_size(0, len(found))
    _check_size(n_cells(domain, found), len(found))
    return ordered(domain, found)


def _check_size(cells: int, candidates: int) -> None:
    if cells > MAX_CELLS or candidates > MAX_CANDIDATES:
        raise DomainTooLarge(
            f"the workload implies at least {candidates:,} marginals and {cells:,} cells; "
            f"the limits are {MAX_CANDIDATES:,} marginals and {MAX_CELLS:,} cells (16 bytes each "
            "at the estimator); leave out large marginals with --max-cells, use a smaller "
            "workload, or coarser bins in the schema"
        )


def maximal_cliques(workload: Workload) -> tuple[Clique, ...]:
    """List the cliques of W that are inside no other one: all others are sums of their cells."""
    candidates = closure(workload)
    # W+ is closed downwards: who is inside another is inside one with just one attribute more.
    inside = {
        part for clique in candidates for part in itertools.combinations(clique, len(clique) - 1)
    }
    return tuple(clique for clique in candidates if clique not in inside)


def weights(workload: Workload, candidates: Sequence[Clique]) -> tuple[int, ...]:
    """Weigh candidates by w_r = sum over s in W of c_s |r & s| (McKenna et al. 2022, section 4)."""
    n_uses: Counter[str] = Counter()
    for clique, weight in zip(workload.cliques, workload.clique_weights, strict=True):
        n_uses.update(dict.fromkeys(clique, weight))
    return tuple(sum(n_uses[name] for name in clique) for clique in candidates)
