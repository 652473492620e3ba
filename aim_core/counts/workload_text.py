"""How a workload is written: terms on one line, or a file of cliques."""

import itertools
import json
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aim_core.domain import Clique, Domain, near_spelling
from aim_core.errors import DomainTooLarge, WorkloadError

MAX_WEIGHT = 1000
"""Largest weight of a clique. Scores know weights only as parts of the largest one, so a bound
loses nothing; beyond it a clique of weight 1 would not be noticed any more."""

MAX_LISTED = 1_000_000
"""Most cliques that a term may name: before anything is listed."""

WeightedClique = tuple[Clique, int]
"""A clique as its names were written, and how often it counts."""

_KEYWORDS = ("1way", "2way", "3way", "random:COUNT:SEED")
_MEANT = (
    "1way, 2way, 3way, random:COUNT:SEED, columns of the schema separated by commas, "
    "nor a file that exists"
)
_ODD = "names with one of , + * # go into a TOML or JSON file"


def read_terms(text: str, domain: Domain) -> list[WeightedClique]:
    """Read a workload as a user writes it, see `aim_core.counts.workload.parse_workload`.

    Raises WorkloadError for what cannot be understood, DomainTooLarge for too many cliques.
    """
    text = text.strip()
    if _keyword_or_columns(text, domain) is None and is_file(text):
        return _read_file(Path(text), domain)
    terms = [term.strip() for term in text.split("+")]
    return [clique for term in terms for clique in _term_or_file(term, domain)]


def label(text: str) -> str:
    """Return a workload's text without the folders of its files, which interest nobody else."""
    if is_file(text):
        return Path(text).name
    return "+".join(Path(term).name if is_file(term) else term for term in text.split("+"))


def is_file(text: str) -> bool:
    """Say whether a text is the path of a file that exists."""
    try:
        return Path(text.strip()).is_file()
    except (OSError, ValueError):  # too long, or with a zero byte: no path at all
        return False


def _term_or_file(term: str, domain: Domain) -> list[WeightedClique]:
    if _keyword_or_columns(term, domain) is None and is_file(term):
        return _read_file(Path(term), domain)
    return _read_term(term, domain)


def _read_term(term: str, domain: Domain) -> list[WeightedClique]:
    """Read a term that is no file: marginals, and behind a star how often each of them counts."""
    weight = "1"
    cliques = _keyword_or_columns(term, domain)
    if cliques is None and "*" in term:
        term, weight = (part.strip() for part in term.rsplit("*", 1))
        cliques = _keyword_or_columns(term, domain)
    if cliques is None:
        raise _not_understood(term, domain)
    return [(clique, _weight(weight)) for clique in cliques]


def _keyword_or_columns(term: str, domain: Domain) -> Sequence[Clique] | None:
    """Return the cliques that a term without a weight names; None if it is something else."""
    if way := re.fullmatch(r"([123])way(?::(.*))?", term, re.DOTALL):
        among = domain.attributes if way[2] is None else _names(way[2])
        is_known = set(among) <= set(domain.attributes)
        return _all_of_size(among, int(way[1])) if is_known else None
    if draw := re.fullmatch(r"random:([0-9]{1,9}):([0-9]{1,30})", term):
        return _random_triples(domain, int(draw[1]), int(draw[2]))
    names = _names(term)
    return [names] if set(names) <= set(domain.attributes) else None


def _names(text: str) -> Clique:
    return tuple(name.strip() for name in text.split(","))


def _all_of_size(names: Clique, size: int) -> list[Clique]:
    # With fewer names than asked for, the one marginal over all of them implies the rest.
    size = min(size, len(names))
    if math.comb(len(names), size) > MAX_LISTED:
        raise DomainTooLarge(
            f"there are {math.comb(len(names), size):,} marginals of {size} out of {len(names)} "
            f"columns; at most {MAX_LISTED:,} can be listed: name fewer columns, as in "
            f"{size}way:a,b,c,d, or smaller marginals"
        )
    return list(itertools.combinations(names, size))


def _random_triples(domain: Domain, count: int, seed: int) -> list[Clique]:
    triples = _all_of_size(domain.attributes, 3)
    if not 1 <= count <= len(triples):
        raise WorkloadError(
            f"cannot draw {count} marginals: the domain has {len(triples)} marginals of "
            f"{len(triples[0])} attributes; ask for 1 to {len(triples)}"
        )
    # A public choice, so NumPy's generator is right here; it reproduces the paper's workloads.
    drawn = np.random.default_rng(seed).choice(len(triples), count, replace=False)
    return [triples[index] for index in drawn]


def _weight(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_WEIGHT:
        raise WorkloadError(
            f"{text!r} is not a weight: behind a star stands a whole number from 1 to "
            f"{MAX_WEIGHT}, such as age,income*5; {_ODD}"
        )
    return int(text)


def _not_understood(term: str, domain: Domain) -> WorkloadError:
    """Return the error for a term; it names the nearest spelling that would be understood."""
    if not term:
        return WorkloadError(
            "a term of the workload is empty; write terms joined by +, such as "
            "2way+age,income,education"
        )
    is_among = re.match(r"[123]way:", term)
    names = _names(term[is_among.end() :] if is_among else term)
    if is_among or len(names) > 1:
        domain.positions(names)  # raises for the one that is unknown
    near = near_spelling(term, (*_KEYWORDS, *domain.attributes))
    return WorkloadError(f"the workload's term {term!r} is neither {_MEANT}{near}; {_ODD}")


def _read_file(path: Path, domain: Domain) -> list[WeightedClique]:
    """Read TOML or JSON by the name's end, otherwise text with a term a line and # for comments."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(
            f"the workload file {path} cannot be read ({error}); it must be a text in UTF-8"
        ) from error
    suffix = path.suffix.lower()
    if suffix not in {".toml", ".json"}:
        lines = (line.split("#")[0].strip() for line in content.splitlines())
        return [clique for line in lines if line for clique in _read_term(line, domain)]
    try:
        document = tomllib.loads(content) if suffix == ".toml" else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"the workload file {path} does not parse: {error}; fix it") from error
    return _read_document(document, path, domain)


def _read_document(document: object, path: Path, domain: Domain) -> list[WeightedClique]:
    optional = {"weights", "include"}
    if not isinstance(document, dict) or set(document) - optional != {"cliques"}:
        raise WorkloadError(
            f"the workload file {path} must hold the one key 'cliques', and beside it at most "
            "'weights' and 'include'"
        )
    cliques = _clique_list(document["cliques"], path)
    weights = document.get("weights", [1] * len(cliques))
    if not isinstance(weights, list) or len(weights) != len(cliques):
        raise WorkloadError(f"'weights' in {path} must be a list with one number per clique")
    included = document.get("include", [])
    if not isinstance(included, list) or not all(isinstance(term, str) for term in included):
        raise WorkloadError(f"'include' in {path} must be a list of terms, such as ['2way']")
    listed = [
        (clique, _weight(str(weight))) for clique, weight in zip(cliques, weights, strict=True)
    ]
    return [*listed, *(item for term in included for item in _read_term(term.strip(), domain))]


def _clique_list(value: object, path: Path) -> list[Clique]:
    def is_clique(item: object) -> bool:
        return isinstance(item, list) and all(isinstance(part, str) for part in item)

    if not isinstance(value, list) or not all(is_clique(item) for item in value):
        raise WorkloadError(
            f"'cliques' in {path} must be a list of lists of attribute names, "
            'such as [["age", "income"], ["age", "sex"]]'
        )
    return [tuple(item) for item in value]
