"""SynthFS: shapes, the Zipf means, and that holders differ the more the smaller the skew is."""

import numpy as np
import pytest

from aim_core.errors import TableError
from aim_core.studies.heterogeneity import heterogeneity
from aim_core.studies.synthfs import synthfs


def test_shapes_and_determinism() -> None:
    table = synthfs(7, 3)
    assert table.codes.shape == (3500, 10)
    assert table.schema.domain.sizes == (41,) * 10
    assert np.bincount(table.owners).tolist() == [500] * 7
    assert 0 <= table.codes.min() <= table.codes.max() <= 40
    assert np.array_equal(table.codes, synthfs(7, 3).codes)
    assert not np.array_equal(table.codes, synthfs(7, 4).codes)


def test_a_holder_s_values_are_normal_around_means_with_the_zipf_distribution() -> None:
    skew = 1.5
    table = synthfs(400, 1, skew)
    levels = table.codes.reshape(400, 500, 10)
    # Level l is the interval from (l - 1) 40/39 to l 40/39.
    means = (levels.mean(axis=1) - 0.5) * 40 / 39
    rounded = np.clip(np.rint(means), 1, 40).astype(int)
    weights = np.arange(1, 41) ** -skew
    expected = weights / weights.sum() * rounded.size
    found = np.bincount(rounded.ravel(), minlength=41)[1:]
    # Five standard errors of a binomial count; means of 500 values err by 0.05.
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected) + 1).all()
    inner = levels.std(axis=1)[(rounded > 4) & (rounded < 36)] * 40 / 39
    assert inner.mean() == pytest.approx(np.sqrt(1 + (40 / 39) ** 2 / 12), abs=0.02)


def test_a_smaller_skew_makes_holders_differ_more() -> None:
    spread = []
    for skew in (0.0, 1.0, 2.0, 5.0):
        table = synthfs(50, 2, skew)
        domain = table.schema.domain
        ones = [(name,) for name in domain.attributes]
        spread.append(heterogeneity(table.codes, table.owners, domain, ones).mean)
    assert spread == sorted(spread, reverse=True)
    assert spread[0] > 0.8
    assert spread[-1] < 0.2


@pytest.mark.parametrize(("n_holders", "skew"), [(0, 2.0), (3, -1.0), (3, np.inf), (3, np.nan)])
def test_refusals(n_holders: int, skew: float) -> None:
    with pytest.raises(TableError, match=r"holders|skew"):
        synthfs(n_holders, 0, skew)
