import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.errors import TableError
from aim_core.splits import assign


@given(n_rows=st.integers(0, 500), n_holders=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_iid_deals_rows_evenly(n_rows: int, n_holders: int, seed: int) -> None:
    owners = assign(n_rows, n_holders, "iid", seed)
    counts = np.bincount(owners, minlength=n_holders)
    assert owners.shape == (n_rows,)
    assert len(counts) == n_holders
    assert counts.max() - counts.min() <= 1


def test_same_seed_same_split() -> None:
    assert np.array_equal(assign(100, 7, "iid", 3), assign(100, 7, "iid", 3))
    assert not np.array_equal(assign(100, 7, "iid", 3), assign(100, 7, "iid", 4))


@pytest.mark.parametrize(("n_holders", "kind"), [(0, "iid"), (3, "sorted")])
def test_refuses_what_it_cannot_split(n_holders: int, kind: str) -> None:
    with pytest.raises(TableError, match=r"holders|unknown split"):
        assign(10, n_holders, kind, 0)
