"""Structural zeros in fitted models, against brute force over all cells of small domains."""

import itertools
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from aim_core.arrays import BoolArray, CodeTable, FloatArray
from aim_core.counts.marginals import cell_indices, checked_columns, project
from aim_core.domain import Clique, Domain, StructuralZeros
from aim_core.errors import MechanismError, SchemaError, TableError, WorkloadError
from aim_core.models.contraction import spread
from aim_core.models.descent import Descent, MirrorDescent
from aim_core.models.junction_tree import affordable, model_cells
from aim_core.models.mbi_bridge import MbiFitter
from aim_core.models.measurement import Measurement
from aim_core.models.tree_model import TreeModel, _apportion, calibrate
from tests.support.toys import noisy_measurements

NAMES = tuple("abcdef")
SIZES = (2, 3, 4, 2, 3, 2)
PLAIN = Domain(NAMES, SIZES)
EVERY_CLIQUE: list[Clique] = [c for n in range(1, 7) for c in itertools.combinations(NAMES, n)]
small_cliques = st.sampled_from(EVERY_CLIQUE[:41])
Zeros = list[tuple[Clique, BoolArray]]


def with_zeros(zeros: Zeros, plain: Domain = PLAIN) -> Domain:
    return Domain(
        plain.attributes,
        plain.sizes,
        tuple(StructuralZeros(clique, allowed.tobytes()) for clique, allowed in zeros),
    )


@st.composite
def random_zeros(draw: st.DrawFn) -> Zeros:
    """Draw one to four scopes, each with most cells, half of them or few allowed."""
    scopes = draw(st.lists(small_cliques, min_size=1, max_size=4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    zeros = []
    for scope in scopes:
        allowed = generator.random(PLAIN.n_cells(scope)) < draw(st.sampled_from([0.9, 0.6, 0.3]))
        allowed[generator.integers(allowed.size)] = True
        zeros.append((scope, allowed))
    return zeros


def allowed_cells(zeros: Zeros, domain: Domain = PLAIN) -> BoolArray:
    """Return which cells of the whole domain every scope allows, as a table."""
    everywhere = np.ones(domain.sizes, dtype=bool)
    axes = tuple(range(len(domain)))
    for clique, allowed in zeros:
        table = allowed.reshape(domain.shape(clique))
        everywhere &= spread(table, domain.positions(clique), axes)
    return everywhere


def joint_of(
    potentials: Mapping[Clique, FloatArray], allowed: BoolArray, total: float
) -> FloatArray:
    logs = np.zeros(SIZES)
    for clique, potential in potentials.items():
        logs = logs + spread(
            potential.reshape(PLAIN.shape(clique)), PLAIN.positions(clique), tuple(range(6))
        )
    joint: FloatArray = np.where(allowed, np.exp(logs - logs[allowed].max()), 0.0)
    joint *= total / joint.sum()
    return joint


def marginal_of(joint: FloatArray, clique: Clique) -> FloatArray:
    return project(joint.reshape(-1), PLAIN, NAMES, clique)


def random_potentials(cliques: Sequence[Clique], seed: int) -> dict[Clique, FloatArray]:
    generator = np.random.default_rng(seed)
    return {c: generator.normal(0, 2, PLAIN.n_cells(c)) for c in cliques}


def is_allowed(rows: CodeTable, zeros: Zeros) -> BoolArray:
    columns = checked_columns(rows, PLAIN)
    kept = np.ones(len(rows), dtype=bool)
    for clique, allowed in zeros:
        kept &= allowed[cell_indices(columns, PLAIN, clique)]
    return kept


@settings(max_examples=80, deadline=None)
@given(random_zeros(), st.lists(small_cliques, max_size=5, unique=True), st.integers(0, 2**32))
def test_every_marginal_equals_brute_force_and_is_exactly_zero_where_forbidden(
    zeros: Zeros, cliques: list[Clique], seed: int
) -> None:
    allowed = allowed_cells(zeros)
    potentials = random_potentials(cliques, seed)
    if not allowed.any():
        with pytest.raises(MechanismError, match="contradict each other"):
            calibrate(with_zeros(zeros), potentials, 50.0)
        return
    joint = joint_of(potentials, allowed, 50.0)
    model = calibrate(with_zeros(zeros), potentials, 50.0)
    for clique, values in zip(EVERY_CLIQUE, model.marginals(EVERY_CLIQUE), strict=True):
        expected = marginal_of(joint, clique)
        np.testing.assert_allclose(values, expected, rtol=1e-8, atol=1e-12)
        np.testing.assert_array_equal(values == 0.0, expected == 0.0)
    every_row = np.stack([axis.ravel() for axis in np.indices(SIZES)], axis=1)
    density = model.log_density(every_row)
    np.testing.assert_array_equal(np.isneginf(density), ~allowed.ravel())
    np.testing.assert_allclose(np.exp(density), joint.ravel() / 50.0, rtol=1e-8)
    rows = model.sample(300, np.random.default_rng(seed))
    assert is_allowed(rows, zeros).all()


@settings(max_examples=40, deadline=None)
@given(random_zeros(), st.lists(small_cliques, min_size=1, max_size=4), st.integers(0, 2**32))
def test_a_fit_gives_forbidden_cells_nothing_though_noise_lies_on_them(
    zeros: Zeros, cliques: list[Clique], seed: int
) -> None:
    allowed = allowed_cells(zeros)
    assume(allowed.any())
    generator = np.random.default_rng(seed)
    measurements = [
        Measurement(clique, generator.normal(20, 50, PLAIN.n_cells(clique)), 100.0)
        for clique in cliques
    ]
    model = MirrorDescent(100).fit(with_zeros(zeros), measurements, None)
    for clique, values in zip(EVERY_CLIQUE, model.marginals(EVERY_CLIQUE), strict=True):
        assert np.isfinite(values).all()
        assert values.sum() == pytest.approx(model.total)
        impossible = ~marginal_of(allowed.astype(float), clique).astype(bool)
        assert (values[impossible] == 0.0).all()
    for number in range(5):
        assert is_allowed(model.sample(50, np.random.default_rng(number)), zeros).all()


CUBE = Domain(("a", "b", "c"), (3, 3, 4))
ORDER = np.tri(3, dtype=bool).T.copy()  # a <= b
CORNERS = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [0, 1, 1, 1]], dtype=bool)
CUBE_ZEROS: Zeros = [(("a", "b"), ORDER.ravel()), (("b", "c"), CORNERS.ravel())]
CUBE_CLIQUES: list[Clique] = [("a", "c"), ("b", "c"), ("a",), ("a", "c")]


def cube_measurements() -> list[Measurement]:
    return noisy_measurements(CUBE, CUBE_CLIQUES, (4, 1, 2, 9), n_records=500, concentration=0.5)


def test_a_fit_reaches_the_optimum_over_tables_without_forbidden_cells() -> None:
    # The dense optimum: any table with records in allowed cells only, by a general solver.
    measurements = cube_measurements()
    model = MirrorDescent(3000).fit(with_zeros(CUBE_ZEROS, CUBE), measurements, None)
    allowed = allowed_cells(CUBE_ZEROS, CUBE).ravel()

    def loss(cells: FloatArray) -> float:
        full = np.zeros(allowed.size)
        full[allowed] = cells
        total = 0.0
        for m in measurements:
            rest = project(full, CUBE, CUBE.attributes, m.clique) - m.values
            # what lies on cells that no table of this kind has is the same for all
            possible = project(allowed.astype(float), CUBE, CUBE.attributes, m.clique) > 0
            total += float(0.5 * (rest[possible] ** 2).sum() / m.variance)
        return total

    start = np.full(allowed.sum(), model.total / allowed.sum())
    best = minimize(
        loss,
        start,
        bounds=[(0, None)] * len(start),
        constraints=[{"type": "eq", "fun": lambda cells: cells.sum() - model.total}],
        options={"maxiter": 2000, "ftol": 1e-12},
    )
    assert loss(model.marginals([("a", "b", "c")])[0][allowed]) == pytest.approx(best.fun, rel=1e-3)


def test_what_is_measured_on_forbidden_cells_changes_nothing() -> None:
    generator = np.random.default_rng(3)
    domain = with_zeros(CUBE_ZEROS, CUBE)
    possible = [
        project(allowed_cells(CUBE_ZEROS, CUBE).ravel().astype(float), CUBE, CUBE.attributes, c) > 0
        for c in CUBE_CLIQUES
    ]
    other = [
        Measurement(m.clique, m.values + ~cells * generator.normal(0, 1e6, cells.size), m.variance)
        for m, cells in zip(cube_measurements(), possible, strict=True)
    ]
    assert any((~cells).any() for cells in possible)
    models = [MirrorDescent().fit_total(domain, m, 500.0) for m in (cube_measurements(), other)]
    left, right = (model.marginals([("a", "b", "c")])[0] for model in models)
    np.testing.assert_array_equal(left, right)


def test_scopes_are_in_the_model_measured_or_not() -> None:
    domain = with_zeros(CUBE_ZEROS[:1], CUBE)
    model = MirrorDescent().fit(domain, [], None)
    assert set(model.cliques) == {("a", "b"), ("c",)}
    expected = np.where(ORDER, 1 / 6, 0.0)
    np.testing.assert_allclose(model.marginals([("a", "b")])[0], expected.ravel(), atol=1e-15)
    assert model_cells(CUBE, ()) == 10
    assert model_cells(domain, ()) == 13
    assert affordable(domain, [], [("a",), ("a", "b"), ("b", "c")], 0) == (("a",), ("a", "b"))


def test_no_step_raises_the_loss_and_potentials_stay_in_range() -> None:
    descent = Descent(with_zeros(CUBE_ZEROS, CUBE), cube_measurements(), 500.0, {})
    losses = [descent.loss]
    for _ in range(3000):
        descent.step()
        losses.append(descent.loss)
    assert (np.diff(losses) <= 1e-12 * np.array(losses[1:])).all()
    # Forbidden cells drift nowhere, and drag no allowed one along.
    assert max(float(np.abs(table).max()) for table in descent.potentials().values()) < 1e4


def test_a_warm_start_keeps_the_distribution_on_a_new_structure() -> None:
    domain = with_zeros(CUBE_ZEROS, CUBE)
    before = MirrorDescent().fit(domain, cube_measurements()[:1], None)
    descent = Descent(
        domain,
        [*cube_measurements(), Measurement(("a", "b", "c"), np.zeros(36), 1e12)],
        before.total,
        before.potentials,
    )
    after = calibrate(domain, descent.potentials(), before.total)
    for clique in CUBE_CLIQUES:
        left, right = after.marginals([clique])[0], before.marginals([clique])[0]
        np.testing.assert_allclose(left, right, atol=1e-5)


class ZeroOffsets:
    """A generator whose every offset is 0, the least that it can be."""

    def random(self, shape: tuple[int, ...]) -> FloatArray:
        return np.zeros(shape)


def test_rounding_errors_give_no_row_to_trailing_outcomes_without_mass() -> None:
    # Sums that scaling leaves just below the group's size: without care, the last outcome gets one.
    generator = np.random.default_rng(0)
    table = np.hstack([generator.random((20_000, 3)), np.zeros((20_000, 2))])
    counts = generator.integers(1, 1000, len(table))
    present = np.arange(len(table))
    drawn = _apportion(table, present, counts, cast("np.random.Generator", ZeroOffsets()))
    assert len(drawn) == counts.sum()
    assert drawn.max() == 2
    sums = np.cumsum(table, axis=1) * (counts[:, None] / table.sum(axis=1, keepdims=True))
    assert (sums[:, 2] < counts).any()


def test_no_forbidden_row_over_many_seeds() -> None:
    domain = with_zeros(CUBE_ZEROS, CUBE)
    model = MirrorDescent().fit(domain, cube_measurements(), None)
    allowed = allowed_cells(CUBE_ZEROS, CUBE).ravel()
    for seed in range(500):
        rows = model.sample(seed % 60, np.random.default_rng(seed))
        cells = np.ravel_multi_index(rows.T.astype(np.int64), CUBE.sizes)
        assert allowed[cells].all()


def test_contradictory_zeros_are_refused_before_anything_is_fitted() -> None:
    less = np.tri(3, k=-1, dtype=bool)  # a > b
    contradiction: Zeros = [(("a", "b"), ORDER.ravel()), (("a", "b"), less.ravel())]
    with pytest.raises(MechanismError, match="no record is possible"):
        MirrorDescent().fit(with_zeros(contradiction, CUBE), [], None)
    # a < b < c < a over three pairs: no pair alone rules anything out
    circle = Domain(("a", "b", "c"), (3, 3, 3))
    pairs: Zeros = [
        (("a", "b"), less.T.copy().ravel()),
        (("b", "c"), less.T.copy().ravel()),
        (("a", "c"), less.ravel()),
    ]
    with pytest.raises(MechanismError, match="no record is possible"):
        MirrorDescent().fit(with_zeros(pairs, circle), [], None)


def test_mbi_refuses_zeros_before_it_is_loaded() -> None:
    with pytest.raises(MechanismError, match="choose 'numpy'"):
        MbiFitter().fit(with_zeros(CUBE_ZEROS, CUBE), [], None)


@pytest.mark.parametrize(
    ("clique", "allowed", "text"),
    [
        (("b", "a"), bytes([1] * 9), "column order"),
        (("a", "zz"), bytes([1] * 9), "zz"),
        (("a", "b"), bytes([1] * 8), "one byte per cell"),
        ((), b"\1", "one byte per cell"),
        (("a", "b"), bytes(9), "nothing is allowed"),
    ],
)
def test_zeros_that_do_not_fit_the_domain_are_refused(
    clique: Clique, allowed: bytes, text: str
) -> None:
    with pytest.raises(SchemaError, match=text):
        Domain(CUBE.attributes, CUBE.sizes, (StructuralZeros(clique, allowed),))


# Conditioning


def chain() -> TreeModel:
    cliques: list[Clique] = [("a", "b", "c"), ("c", "d"), ("d", "e")]
    return calibrate(PLAIN, random_potentials(cliques, 5), 80.0)


@settings(max_examples=60, deadline=None)
@given(random_zeros(), st.lists(small_cliques, max_size=4, unique=True), st.data())
def test_conditioning_equals_brute_force(
    zeros: Zeros, cliques: list[Clique], data: st.DataObject
) -> None:
    allowed = allowed_cells(zeros)
    assume(allowed.any())
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    where = {
        name: data.draw(st.sets(st.integers(0, PLAIN.size_of(name) - 1), min_size=1))
        for name in names
    }
    potentials = random_potentials(cliques, 3)
    model = calibrate(with_zeros(zeros), potentials, 50.0)
    asked = allowed_cells(
        [((name,), np.isin(np.arange(PLAIN.size_of(name)), list(c))) for name, c in where.items()]
    )
    joint = joint_of(potentials, allowed, 50.0) * asked
    if not joint.sum():
        with pytest.raises(MechanismError, match="no record with the values asked for"):
            model.given(where)
        return
    conditioned = model.given(where)
    assert conditioned.total == pytest.approx(joint.sum())
    for clique, values in zip(EVERY_CLIQUE, conditioned.marginals(EVERY_CLIQUE), strict=True):
        np.testing.assert_allclose(values, marginal_of(joint, clique), rtol=1e-8, atol=1e-12)
    rows = model.sample(200, np.random.default_rng(1), where)
    assert is_allowed(rows, zeros).all()
    for name, codes in where.items():
        assert set(rows[:, PLAIN.position(name)]) <= codes


def test_a_conditional_sample_follows_the_conditional_distribution() -> None:
    model, n_rows = chain(), 100_000
    rows = model.sample(n_rows, np.random.default_rng(2), {"a": [1], "e": [0, 2]})
    expected = model.given({"a": [1], "e": [0, 2]}).marginals([("b", "d")])[0]
    found = np.bincount(rows[:, 1] * 2 + rows[:, 3], minlength=6)
    assert 0.5 * np.abs(found / n_rows - expected / expected.sum()).sum() < 0.01


def test_sampling_where_everything_is_allowed_is_sampling() -> None:
    model = chain()
    conditions: list[dict[str, list[int]] | None] = [None, {}]
    for where in conditions:
        rows = model.sample(500, np.random.default_rng(4), where)
        np.testing.assert_array_equal(rows, model.sample(500, np.random.default_rng(4)))
    assert model.given({}) is model
    everything = model.given({"b": range(3)})
    assert everything.total == pytest.approx(80.0)


def test_a_rare_condition_needs_no_luck() -> None:
    potential = np.array([0.0, -200.0])
    model = calibrate(PLAIN, {("a",): potential}, 1000.0)
    assert model.given({"a": [1]}).total == pytest.approx(1000.0 * np.exp(-200.0))
    rows = model.sample(50, np.random.default_rng(1), {"a": [1]})
    assert (rows[:, 0] == 1).all()


def test_conditions_that_make_no_sense_are_refused() -> None:
    with pytest.raises(MechanismError, match="no record"):
        chain().given({"a": []})
    with pytest.raises(TableError, match="no code 3"):
        chain().given({"b": [3]})
    with pytest.raises(TableError, match="no code -1"):
        chain().given({"b": [-1]})
    with pytest.raises(WorkloadError, match="zz"):
        chain().given({"zz": [0]})
