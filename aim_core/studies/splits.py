"""Splitting one table's rows over simulated data holders, from a public seed."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from aim_core.arrays import CodeTable
from aim_core.domain import Domain
from aim_core.errors import TableError
from aim_core.extras import import_optional
from aim_core.studies.classifier import default_target

KINDS = ("iid", "cluster", "dirichlet:BETA")
"""The kinds of split that `assign` knows, as a user writes them."""

MAX_BETA = 1e6
"""Largest BETA; long before it, every holder has the same part of every class."""

_N_COMPONENTS = 10
_BATCH = 4096
_N_STARTS = 3

Owners = npt.NDArray[np.int32]


@dataclass(frozen=True)
class SplitKind:
    """A parsed kind of split; `beta` is the Dirichlet parameter, None for the other kinds."""

    name: str
    beta: float | None = None


def parse_kind(text: str) -> SplitKind:
    """Read a kind of split as a user writes it; TableError says what is wrong with it."""
    if text in ("iid", "cluster"):
        return SplitKind(text)
    if not (found := re.fullmatch(r"dirichlet:(.*)", text)):
        raise TableError(f"unknown split {text!r}; the known ones are: {', '.join(KINDS)}")
    try:
        beta = float(found[1])
    except ValueError:
        beta = math.nan
    if not 0 < beta <= MAX_BETA:
        raise TableError(
            f"the split {text!r} needs a BETA above 0 and up to {MAX_BETA:,.0f}, such as "
            "dirichlet:0.1; the smaller it is, the more the holders differ"
        )
    return SplitKind("dirichlet", beta)


def check_split(kind: str, domain: Domain, target: str | None) -> None:
    """Raise TableError for a kind of split that tables of this domain cannot have."""
    if parse_kind(kind).beta is not None:
        _target_place(domain, target)


def assign(
    chunks: Sequence[CodeTable],
    domain: Domain,
    n_holders: int,
    kind: str,
    seed: int,
    target: str | None = None,
) -> Owners:
    """Return each row's holder, (n_rows,) int32 in [0, n_holders); every holder has a row.

    `chunks` are (n, len(domain)) codes, which together are the table. The kinds are

    - `iid`: a random permutation of the rows is dealt round robin, so that the holders' row counts
      differ by at most one;
    - `cluster`: each holder has the rows of one k-means cluster, see `_clusters`;
    - `dirichlet:BETA`: label skew; of each class of `target` (by default the domain's last
      two-valued attribute) the holders have parts drawn from Dirichlet(BETA, ..., BETA).

    The split depends on nothing but the arguments (not on the number of threads). Raises
    TableError for an unknown kind, fewer holders than one or more than rows, and a target that is
    unknown or cannot be guessed.
    """
    split = parse_kind(kind)
    n_rows = sum(len(chunk) for chunk in chunks)
    if not 1 <= n_holders <= n_rows:
        raise TableError(
            f"{n_holders} holders cannot share {n_rows} rows so that each has one; "
            f"name from 1 to {n_rows} holders"
        )
    generator = np.random.default_rng(seed)
    if split.name == "iid":
        in_turn = np.arange(n_rows, dtype=np.int32) % np.int32(n_holders)
        return generator.permutation(in_turn)
    codes = np.concatenate(chunks)
    if split.beta is None:
        owners = _clusters(codes, domain, n_holders, int(generator.integers(2**31)))
    else:
        labels = codes[:, _target_place(domain, target)]
        owners = _label_skew(labels, n_holders, split.beta, generator)
    return _with_none_empty(owners, n_holders)


def _target_place(domain: Domain, target: str | None) -> int:
    if target is None:
        target = default_target(domain)
    if target not in domain.attributes:
        named = "no attribute with two values" if target is None else f"no attribute {target!r}"
        raise TableError(
            f"label skew needs the classes of one attribute, and the table has {named}; name a "
            f"target among: {', '.join(domain.attributes[:20])}"
        )
    return domain.position(target)


def _clusters(codes: CodeTable, domain: Domain, n_holders: int, seed: int) -> Owners:
    """Cluster the rows: one-hot codes, ten principal components, mini-batch k-means.

    Maddock et al. 2024 embed the plain codes with UMAP and run k-means. The lighter embedding
    separates at least as well. Mean total variation between holder and whole table, 100 holders,
    over one-way marginals and over the workload `random:64:123`:

    | embedding                        | Adult         | MAGIC (32 bins) |
    | -------------------------------- | ------------- | --------------- |
    | none: iid                        | 0.049 / 0.274 | 0.105 / 0.623   |
    | one-hot, random projection to 10 | 0.264 / 0.566 | 0.375 / 0.782   |
    | UMAP of the codes (the paper)    | 0.253 / 0.589 | 0.492 / 0.837   |
    | UMAP of one-hot codes            | 0.323 / 0.677 | 0.509 / 0.861   |
    | one-hot, PCA to 10 (used here)   | 0.341 / 0.711 | 0.516 / 0.873   |

    Adult's 48,842 rows take UMAP 20 to 35 seconds, PCA and k-means together half a second.
    """
    cluster = import_optional("sklearn.cluster", "compare")
    decomposition = import_optional("sklearn.decomposition", "compare")
    preprocessing = import_optional("sklearn.preprocessing", "compare")
    if bool(np.all(codes == codes[0])):
        return np.zeros(len(codes), dtype=np.int32)
    # One thread: with more, sums are rounded in another order and rows change their cluster.
    with threadpool_limits(limits=1):
        categories = [np.arange(size) for size in domain.sizes]
        encoder = preprocessing.OneHotEncoder(categories=categories, dtype=np.float32)
        hot = encoder.fit_transform(codes)
        n_components = min(_N_COMPONENTS, min(hot.shape) - 1)
        pca = decomposition.PCA(n_components, svd_solver="arpack", random_state=seed)
        k_means = cluster.MiniBatchKMeans(
            n_holders, batch_size=_BATCH, n_init=_N_STARTS, random_state=seed
        )
        labels = k_means.fit_predict(pca.fit_transform(hot))
    owners: Owners = labels.astype(np.int32)
    return owners


def _label_skew(
    labels: CodeTable, n_holders: int, beta: float, generator: np.random.Generator
) -> Owners:
    owners = np.empty(len(labels), dtype=np.int32)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum(generator.dirichlet(np.full(n_holders, beta)))
        middles = (np.arange(len(rows)) + 0.5) / len(rows)
        # the last end may be rounded to just below 1
        owners[rows] = np.minimum(np.searchsorted(ends, middles, side="right"), n_holders - 1)
    return owners


def _with_none_empty(owners: Owners, n_holders: int) -> Owners:
    """Give each holder without rows the first row of the holder that has most, in place."""
    counts = np.bincount(owners, minlength=n_holders)
    for holder in np.flatnonzero(counts == 0):
        largest = int(counts.argmax())
        owners[np.argmax(owners == largest)] = holder
        counts[largest] -= 1
        counts[holder] = 1
    return owners
