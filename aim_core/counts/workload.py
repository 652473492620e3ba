"""The workload: which marginals the synthetic table must get right, and their candidates."""

import itertools
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aim_core.domain import Clique, Domain
from aim_core.errors import DomainTooLarge, WorkloadError

MAX_CELLS = 200_000_000
"""Most cells that a closure may have. Every round the estimator holds each candidate cell twice (a
float64 of the model, an int64 of the request): 16 bytes, so 3.2 GB at this cap."""

MAX_CANDIDATES = 1_000_000
"""Most cliques that a closure may have; a bound on bookkeeping where attributes are tiny."""


@dataclass(frozen=True)
class Workload:
    """The cliques W whose marginals count.

    `cliques` is canonical whatever order it is given in: each clique in column order, no
    duplicates, sorted by length and then by column positions.

    Raises WorkloadError for an empty workload, an empty clique, or attributes that the domain does
    not have.
    """

    domain: Domain
    cliques: tuple[Clique, ...]

    def __post_init__(self) -> None:
        cliques = {self.domain.canonical(clique) for clique in self.cliques}
        if not cliques or () in cliques:
            raise WorkloadError(
                "the workload is empty or names an empty clique; "
                "list at least one clique of at least one attribute"
            )
        object.__setattr__(self, "cliques", ordered(self.domain, cliques))


def ordered(domain: Domain, cliques: Iterable[Clique]) -> tuple[Clique, ...]:
    """Sort cliques by length, then by column positions: a total order, one-ways first."""
    return tuple(sorted(cliques, key=lambda clique: (len(clique), domain.positions(clique))))


def n_cells(domain: Domain, cliques: Iterable[Clique]) -> int:
    """Count the cells of all marginals together."""
    return sum(domain.n_cells(clique) for clique in cliques)


def parse_workload(text: str, domain: Domain, max_cells: int | None = None) -> Workload:
    """Read a workload as a user writes it.

    `text` is `2way` or `3way` (all marginals of that many attributes; of all attributes where the
    domain has fewer), `random:COUNT:SEED` (COUNT 3-way marginals drawn without replacement as in
    the FLAIM paper's code), or the path of a file: TOML or JSON with `cliques = [["a", "b"], ...]`,
    otherwise text with one clique a line, attributes separated by commas, `#` for comments.

    With `max_cells`, larger cliques leave W, and so does what only they imply of the closure. An
    attribute that would lose all its cliques keeps its one-way marginal.

    Raises WorkloadError for a text or file that cannot be understood and DomainTooLarge for a
    closure above MAX_CELLS cells or MAX_CANDIDATES cliques.
    """
    if way := re.fullmatch(r"([23])way", text):
        cliques = _all_of_size(domain, int(way[1]))
    elif draw := re.fullmatch(r"random:([0-9]+):([0-9]+)", text):
        cliques = _random_triples(domain, int(draw[1]), int(draw[2]))
    else:
        cliques = _read_cliques(text)
    workload = Workload(domain, tuple(cliques))
    if max_cells is not None:
        workload = _without_large(workload, max_cells)
    closure(workload)
    return workload


def _all_of_size(domain: Domain, size: int) -> list[Clique]:
    # With fewer attributes than asked for, the one marginal over all of them implies the rest.
    return list(itertools.combinations(domain.attributes, min(size, len(domain))))


def _random_triples(domain: Domain, count: int, seed: int) -> list[Clique]:
    triples = _all_of_size(domain, 3)
    if not 1 <= count <= len(triples):
        raise WorkloadError(
            f"cannot draw {count} marginals: the domain has {len(triples)} marginals of "
            f"{len(triples[0])} attributes; ask for 1 to {len(triples)}"
        )
    # A public choice, so NumPy's generator is right here; it reproduces the paper's workloads.
    drawn = np.random.default_rng(seed).choice(len(triples), count, replace=False)
    return [triples[index] for index in drawn]


def _read_cliques(text: str) -> list[Clique]:
    path = Path(text)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise WorkloadError(
            f"the workload {text!r} is neither 2way, 3way nor random:COUNT:SEED, "
            f"and it cannot be read as a file ({error}); use one of these or name a text file"
        ) from error
    suffix = path.suffix.lower()
    if suffix not in {".toml", ".json"}:
        lines = (line.split("#")[0].strip() for line in content.splitlines())
        return [tuple(name.strip() for name in line.split(",")) for line in lines if line]
    try:
        document = tomllib.loads(content) if suffix == ".toml" else json.loads(content)
    except ValueError as error:
        raise WorkloadError(f"the workload file {text} does not parse: {error}; fix it") from error
    if not isinstance(document, dict) or set(document) != {"cliques"}:
        raise WorkloadError(f"the workload file {text} must hold the one key 'cliques'")
    return _clique_list(document["cliques"], text)


def _clique_list(value: object, name: str) -> list[Clique]:
    def is_clique(item: object) -> bool:
        return isinstance(item, list) and all(isinstance(part, str) for part in item)

    if not isinstance(value, list) or not all(is_clique(item) for item in value):
        raise WorkloadError(
            f"'cliques' in {name} must be a list of lists of attribute names, "
            'such as [["age", "income"], ["age", "sex"]]'
        )
    return [tuple(item) for item in value]


def _without_large(workload: Workload, max_cells: int) -> Workload:
    if max_cells < 1:
        raise WorkloadError(f"the largest marginal allowed is {max_cells} cells; allow at least 1")
    domain = workload.domain
    kept = [clique for clique in workload.cliques if domain.n_cells(clique) <= max_cells]
    attributes = {name for clique in workload.cliques for name in clique}
    lost = attributes.difference(*kept)
    return Workload(domain, (*kept, *((name,) for name in lost)))


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
    """Weigh candidates by w_r = sum over s in W of |r & s| (McKenna et al. 2022, section 4)."""
    n_uses = Counter(itertools.chain.from_iterable(workload.cliques))
    return tuple(sum(n_uses[name] for name in clique) for clique in candidates)
