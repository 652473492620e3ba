"""Splitting one table's rows over simulated data holders, from a public seed."""

import numpy as np

from aim_core.errors import TableError

KINDS = ("iid",)
"""The kinds of split that `assign` knows."""


def assign(n_rows: int, n_holders: int, kind: str, seed: int) -> np.ndarray:
    """Return each row's holder, (n_rows,) int32 in [0, n_holders).

    "iid" deals a random permutation of the rows round robin, so that the holders' row counts
    differ by at most one. Raises TableError for an unknown kind or fewer than one holder.
    """
    if kind not in KINDS:
        raise TableError(f"unknown split {kind!r}; the known ones are: {', '.join(KINDS)}")
    if n_holders < 1:
        raise TableError(f"{n_holders} holders cannot hold the rows; name at least one")
    places = np.arange(n_rows, dtype=np.int32) % np.int32(n_holders)
    return np.random.default_rng(seed).permutation(places)
