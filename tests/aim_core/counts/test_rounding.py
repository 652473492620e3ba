import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aim_core.arrays import FloatArray
from aim_core.counts.rounding import systematic_round
from aim_core.errors import MechanismError

cells = hnp.arrays(np.float64, st.integers(0, 200), elements=st.floats(0, 1e6))
offsets = st.floats(0, 1, exclude_max=True)


@given(cells, offsets)
def test_rounds_each_cell_up_or_down_and_keeps_the_total(values: FloatArray, u: float) -> None:
    rounded = systematic_round(values, u)
    assert rounded.dtype == np.int64
    assert (rounded >= 0).all()
    slack = 1e-9 * max(1.0, values.sum())
    assert abs(rounded.sum() - values.sum()) <= 1 + slack
    assert (np.abs(rounded - values) <= 1 + slack).all()


def test_equals_the_formula_across_blocks() -> None:
    values = np.random.default_rng(0).gamma(0.1, size=100_000)
    sums = np.floor(np.concatenate([[0.0], np.cumsum(values)]) + 0.25)
    np.testing.assert_array_equal(systematic_round(values, 0.25), np.diff(sums).astype(np.int64))


def test_whole_counts_stay_as_they_are() -> None:
    values = np.random.default_rng(1).integers(0, 50, size=70_000)
    for u in (0.0, 0.5, np.nextafter(1.0, 0.0)):
        total_error = systematic_round(values.astype(np.float64), u) - values
        # u just below 1 is lost against a running sum of 10^6, which then rounds up at once.
        assert np.abs(total_error).sum() <= 2 * (u > 0.5)


def test_distance_to_counts_is_kept_on_average_where_rounding_to_nearest_halves_it() -> None:
    generator = np.random.default_rng(2)
    model = generator.dirichlet(np.full(20_000, 0.5)) * 3000
    counts = generator.multinomial(3000, generator.dirichlet(np.full(20_000, 0.05)))
    exact = np.abs(counts - model).sum()
    grid = (np.arange(200) + 0.5) / 200
    mean = np.mean([np.abs(counts - systematic_round(model, u)).sum() for u in grid])
    assert mean == pytest.approx(exact, rel=2e-3)
    assert np.abs(counts - np.rint(model)).sum() < 0.85 * exact


@pytest.mark.parametrize("u", [-0.1, 1.0, np.nan])
def test_refuses_an_offset_outside_the_unit_interval(u: float) -> None:
    with pytest.raises(MechanismError, match="offset"):
        systematic_round(np.ones(3), u)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_refuses_cells_that_are_no_counts(bad: float) -> None:
    with pytest.raises(MechanismError, match="cells"):
        systematic_round(np.array([1.0, bad, 2.0]), 0.5)
