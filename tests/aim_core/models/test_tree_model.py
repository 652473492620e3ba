import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aim_core.arrays import CodeTable, Counts, FloatArray
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError, TableError, WorkloadError
from aim_core.models.contraction import Contraction, spread, sum_onto
from aim_core.models.junction_tree import CellCounts, mask_of
from aim_core.models.tree_model import calibrate

DOMAIN = Domain(tuple("abcdef"), (2, 3, 4, 2, 3, 2))
EVERY_CLIQUE: list[Clique] = [
    c for n in range(7) for c in itertools.combinations(DOMAIN.attributes, n)
]
cliques = st.lists(st.sampled_from(EVERY_CLIQUE[1:42]), max_size=7, unique=True)


def random_potentials(
    measured: Iterable[Clique], seed: int, scale: float = 2.0
) -> dict[Clique, FloatArray]:
    generator = np.random.default_rng(seed)
    return {c: generator.normal(0, scale, DOMAIN.n_cells(c)) for c in measured}


def joint_table(potentials: Mapping[Clique, FloatArray], total: float) -> FloatArray:
    logs = np.zeros(DOMAIN.sizes)
    for clique, potential in potentials.items():
        table = potential.reshape(DOMAIN.shape(clique))
        logs = logs + spread(table, DOMAIN.positions(clique), tuple(range(6)))
    joint: FloatArray = np.exp(logs - logs.max())
    joint *= total / joint.sum()
    return joint


def brute_marginal(joint: FloatArray, clique: Clique) -> FloatArray:
    dropped = tuple(i for i, name in enumerate(DOMAIN.attributes) if name not in clique)
    marginal: FloatArray = joint.sum(axis=dropped)
    return marginal.ravel()


@settings(max_examples=60)
@given(cliques, st.integers(0, 2**32))
def test_every_marginal_equals_brute_force(measured: list[Clique], seed: int) -> None:
    potentials = random_potentials(measured, seed)
    model = calibrate(DOMAIN, potentials, 50.0)
    joint = joint_table(potentials, 50.0)
    for clique, values in zip(EVERY_CLIQUE, model.marginals(EVERY_CLIQUE), strict=True):
        assert values.shape == (DOMAIN.n_cells(clique),)
        assert values.sum() == pytest.approx(50.0)
        np.testing.assert_allclose(values, brute_marginal(joint, clique), rtol=1e-8, atol=1e-12)


@settings(max_examples=40)
@given(cliques, st.permutations(EVERY_CLIQUE[7:]), st.integers(0, 2**32))
def test_answers_depend_neither_on_order_nor_on_company(
    measured: list[Clique], queries: list[Clique], seed: int
) -> None:
    model = calibrate(DOMAIN, random_potentials(measured, seed), 9.0)
    together = dict(zip(queries, model.marginals(queries), strict=True))
    for clique in queries[:5]:
        np.testing.assert_allclose(model.marginals([clique])[0], together[clique], atol=1e-12)


def test_answers_are_the_callers_own() -> None:
    model = calibrate(DOMAIN, random_potentials([("a", "b")], 0), 10.0)
    first = model.marginals([("a", "b")])[0]
    first[:] = -1.0
    assert model.marginals([("a", "b")])[0].min() > 0


def test_opposed_potentials_far_beyond_the_range_of_exp() -> None:
    # What one table adds the other takes away; only log space survives this.
    huge = np.repeat([0.0, 4000.0, -3000.0], 4)
    b_c = np.random.default_rng(3).normal(size=12)
    b_d = np.random.default_rng(4).normal(size=6)
    plain: dict[Clique, FloatArray] = {("b", "c"): b_c, ("b", "d"): b_d}
    shifted: dict[Clique, FloatArray] = {("b", "c"): b_c + huge, ("b", "d"): b_d - huge[::2]}
    for clique in EVERY_CLIQUE:
        left = calibrate(DOMAIN, plain, 5.0).marginals([clique])[0]
        right = calibrate(DOMAIN, shifted, 5.0).marginals([clique])[0]
        np.testing.assert_allclose(left, right, rtol=1e-9)


def test_cells_without_mass_stay_empty() -> None:
    potential = np.zeros(6)
    potential[:3] = -5000.0
    model = calibrate(DOMAIN, {("a", "b"): potential, ("b", "c"): np.zeros(12)}, 5.0)
    a_c = model.marginals([("a", "c")])[0]
    np.testing.assert_allclose(a_c, [0.0] * 4 + [1.25] * 4, atol=1e-12)


def test_one_attribute() -> None:
    domain = Domain(("only",), (3,))
    model = calibrate(domain, {("only",): np.log([1.0, 2.0, 5.0])}, 16.0)
    np.testing.assert_allclose(model.marginals([("only",)])[0], [2.0, 4.0, 10.0])
    rows = model.sample(16, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(rows[:, 0]), [2, 4, 10])


def test_potentials_have_to_be_finite() -> None:
    with pytest.raises(MechanismError, match="not finite"):
        calibrate(DOMAIN, {("a",): np.array([0.0, -np.inf])}, 1.0)


def test_unknown_attribute_is_refused() -> None:
    model = calibrate(DOMAIN, {}, 1.0)
    with pytest.raises(WorkloadError, match="zz"):
        model.marginals([("zz",)])


@settings(max_examples=100)
@given(st.data(), st.integers(0, 2**32))
def test_contraction_is_the_sum_of_the_product(data: st.DataObject, seed: int) -> None:
    sizes = (2, 3, 4, 5, 2)
    names = st.lists(st.sampled_from(range(5)), unique=True, max_size=4).map(tuple)
    left, right = data.draw(names), data.draw(names)
    alone = [axis for axis in range(5) if (axis in left) != (axis in right)]
    both = [axis for axis in left if axis in right]
    wanted = (
        *alone,
        *data.draw(st.lists(st.sampled_from(both), unique=True) if both else st.just([])),
    )
    generator = np.random.default_rng(seed)
    tables = [generator.normal(size=[sizes[a] for a in axes]) for axes in (left, right)]
    rule = Contraction(left, right, wanted, sizes)
    assert set(rule.axes) == set(wanted)
    terms = ["".join("abcde"[axis] for axis in axes) for axes in (left, right, rule.axes)]
    expected = np.einsum("{},{}->{}".format(*terms), *tables)
    np.testing.assert_allclose(rule(*tables), expected, atol=1e-12)


@settings(max_examples=100)
@given(st.permutations(range(5)), st.sets(st.sampled_from(range(5))))
def test_sum_onto_any_axes(axes: list[int], keep: set[int]) -> None:
    sizes = (2, 3, 4, 5, 20)
    table = np.random.default_rng(0).normal(size=[sizes[axis] for axis in axes])
    kept = tuple(axis for axis in axes if axis in keep)
    dropped = tuple(i for i, axis in enumerate(axes) if axis not in keep)
    result = sum_onto(table, tuple(axes), kept)
    np.testing.assert_allclose(result, table.sum(axis=dropped), atol=1e-11)


ALL_ROWS = np.stack([axis.ravel() for axis in np.indices(DOMAIN.sizes)], axis=1)


@settings(max_examples=60)
@given(cliques, st.integers(0, 2**32))
def test_density_equals_brute_force(measured: list[Clique], seed: int) -> None:
    potentials = random_potentials(measured, seed)
    density = calibrate(DOMAIN, potentials, 50.0).log_density(ALL_ROWS)
    assert np.exp(density).sum() == pytest.approx(1.0)
    np.testing.assert_allclose(density, np.log(joint_table(potentials, 1.0).ravel()), rtol=1e-9)


def test_density_of_independent_attributes_is_the_product_of_their_marginals() -> None:
    model = calibrate(DOMAIN, random_potentials([(name,) for name in "abcdef"], 13), 30.0)
    ones = model.marginals([(name,) for name in DOMAIN.attributes])
    expected = sum(np.log(p / 30.0)[codes] for p, codes in zip(ones, ALL_ROWS.T, strict=True))
    np.testing.assert_allclose(model.log_density(ALL_ROWS), expected, rtol=1e-12)


def test_density_is_minus_infinity_without_mass_and_never_undefined() -> None:
    potential = np.zeros(6)
    potential[:3] = -5000.0
    # b has no mass at 1 either: a separator cell without mass on both sides
    rule_out = np.where(np.arange(12) // 4 == 1, -5000.0, 0.0)
    model = calibrate(DOMAIN, {("a", "b"): potential, ("b", "c"): rule_out}, 5.0)
    density = model.log_density(ALL_ROWS)
    empty = (ALL_ROWS[:, 0] == 0) | (ALL_ROWS[:, 1] == 1)
    np.testing.assert_array_equal(np.isneginf(density), empty)
    np.testing.assert_allclose(density[~empty], -np.log((~empty).sum()))


def test_density_of_codes_outside_the_domain_is_refused() -> None:
    model = calibrate(DOMAIN, {}, 1.0)
    assert model.log_density(ALL_ROWS[:0]).shape == (0,)
    for row in ([2, 0, 0, 0, 0, 0], [0, -1, 0, 0, 0, 0]):
        with pytest.raises(TableError, match="outside"):
            model.log_density(np.array([row]))


def counts_of(rows: CodeTable, clique: Clique) -> Counts:
    index = np.ravel_multi_index(rows[:, DOMAIN.positions(clique)].T, DOMAIN.shape(clique))
    return np.bincount(index, minlength=DOMAIN.n_cells(clique))


CHAIN: list[Clique] = [("a", "b", "c"), ("c", "d"), ("d", "e")]


def test_sample_follows_the_model_up_to_rounding() -> None:
    model = calibrate(DOMAIN, random_potentials(CHAIN, 5), 1.0)
    n_rows = 200_000
    rows = model.sample(n_rows, np.random.default_rng(6))
    assert rows.shape == (n_rows, 6)
    for clique in [*CHAIN, *((name,) for name in DOMAIN.attributes)]:
        expected = model.marginals([clique])[0] * n_rows
        # A cell errs by its own rounding and that of the separator above it, not by sqrt(n).
        assert np.abs(counts_of(rows, clique) - expected).max() <= 4
    for clique in itertools.combinations(DOMAIN.attributes, 3):
        expected = model.marginals([clique])[0]
        assert 0.5 * np.abs(counts_of(rows, clique) / n_rows - expected).sum() < 0.01


def test_sample_of_independent_attributes_is_independent() -> None:
    model = calibrate(DOMAIN, random_potentials([("a",), ("b",)], 7, scale=1.0), 1.0)
    n_rows = 60_000
    rows = model.sample(n_rows, np.random.default_rng(8))
    expected = model.marginals([("a", "b")])[0] * n_rows
    chi_square = ((counts_of(rows, ("a", "b")) - expected) ** 2 / expected).sum()
    assert chi_square < 20.0  # two degrees of freedom: p = 5e-5


def test_sample_rounding_has_no_bias() -> None:
    model = calibrate(DOMAIN, random_potentials(CHAIN, 9, scale=1.0), 1.0)
    generator = np.random.default_rng(10)
    n_runs, n_rows = 3000, 7
    mean = sum(counts_of(model.sample(n_rows, generator), ("c", "d")) for _ in range(n_runs))
    expected = model.marginals([("c", "d")])[0] * n_rows
    # Each cell's count is at most as spread as a binomial one; five standard errors.
    bound = 5 * np.sqrt(expected / n_runs) + 1e-3
    assert (np.abs(mean / n_runs - expected) < bound).all()


def test_sample_is_reproducible_and_takes_any_size() -> None:
    model = calibrate(DOMAIN, random_potentials(CHAIN, 11), 1.0)
    for n_rows in (0, 1, 500):
        first = model.sample(n_rows, np.random.default_rng(1))
        assert first.shape == (n_rows, 6)
        np.testing.assert_array_equal(first, model.sample(n_rows, np.random.default_rng(1)))
    with pytest.raises(MechanismError, match="rows"):
        model.sample(-1, np.random.default_rng(1))


def test_sample_stays_in_the_domain_and_off_empty_cells() -> None:
    potential = np.zeros(6)
    potential[[1, 5]] = -2000.0
    model = calibrate(DOMAIN, {("a", "b"): potential, ("b", "c"): np.zeros(12)}, 1.0)
    rows = model.sample(20_000, np.random.default_rng(12))
    assert (rows >= 0).all()
    assert (rows < np.array(DOMAIN.sizes)).all()
    np.testing.assert_array_equal(counts_of(rows, ("a", "b"))[[1, 5]], 0)


def test_cell_counts() -> None:
    cells = CellCounts((3, 4, 5))
    assert (cells[0], cells[mask_of((0, 2))], cells[0b111]) == (1, 15, 60)
