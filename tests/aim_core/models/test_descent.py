from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from aim_core.arrays import FloatArray
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError, WorkloadError
from aim_core.models.contraction import spread
from aim_core.models.descent import Descent, MirrorDescent
from aim_core.models.factor_network import FactorNetwork
from aim_core.models.measurement import Measurement, Model, estimate_total
from aim_core.models.objective import Objective
from aim_core.models.tree_model import calibrate
from tests.support.toys import noisy_measurements

DOMAIN = Domain(tuple("abcdef"), (2, 3, 4, 3, 5, 2))
MEASURED: list[Clique] = [
    ("a",),
    ("b",),
    ("f",),
    ("a", "b"),
    ("b", "c", "d"),
    ("c", "d", "e"),
    ("a", "e"),
]
MEASURED += [("b", "c"), ("a", "b")]


def measured(
    cliques: Sequence[Clique] = MEASURED, sigmas: Sequence[float] = (1, 3, 10)
) -> list[Measurement]:
    return noisy_measurements(DOMAIN, cliques, sigmas, n_records=1000, concentration=0.3)


def loss_of(model: Model, measurements: Sequence[Measurement]) -> float:
    answers = model.marginals([m.clique for m in measurements])
    pairs = zip(answers, measurements, strict=True)
    return sum(float(0.5 * ((answer - m.values) ** 2).sum() / m.variance) for answer, m in pairs)


def test_total_is_weighted_by_inverse_variance() -> None:
    measurements = [
        Measurement(("a",), np.array([60, 40]), 4.0),
        Measurement(("b",), np.array([30, 30, 50]), 16.0),
    ]
    expected = (100 / 8 + 110 / 48) / (1 / 8 + 1 / 48)
    assert estimate_total(measurements) == pytest.approx(expected)
    assert estimate_total([Measurement(("a",), np.array([-6, -4]), 4.0)]) == 1.0
    assert estimate_total([]) == 1.0


@settings(max_examples=30)
@given(
    st.lists(st.sets(st.sampled_from("abcdef"), min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(0, 2**32),
)
def test_network_marginals_are_those_of_the_calibrated_tree(
    cliques: list[set[str]], seed: int
) -> None:
    names = sorted({DOMAIN.canonical(clique) for clique in cliques})
    generator = np.random.default_rng(seed)
    potentials = {name: generator.normal(0, 2, DOMAIN.n_cells(name)) for name in names}
    tables = [np.exp(potentials[name]).reshape(DOMAIN.shape(name)) for name in names]
    network = FactorNetwork(DOMAIN.sizes, [DOMAIN.positions(name) for name in names], range(6))
    marginals = [np.empty_like(table) for table in tables]
    assert network.beliefs(tables, 77.0, marginals)
    expected = calibrate(DOMAIN, potentials, 77.0).marginals(names)
    for marginal, other in zip(marginals, expected, strict=True):
        np.testing.assert_allclose(marginal.ravel(), other, rtol=1e-9)


def test_network_tells_when_all_mass_is_gone() -> None:
    tables = [np.array([1.0, 0.0]), np.array([[0.0], [1.0]])]
    network = FactorNetwork((2, 1), [(0,), (0, 1)], (0, 1))
    assert not network.beliefs(tables, 1.0, [np.empty(2), np.empty((2, 1))])


def test_gradient_is_that_of_the_loss() -> None:
    objective = Objective(DOMAIN, measured())
    generator = np.random.default_rng(1)
    # On marginals that agree with each other, where nested cliques may be read off any leaf.
    model = calibrate(DOMAIN, {("a", "c"): generator.normal(size=8)}, 1000.0)
    other = calibrate(DOMAIN, {("b", "e"): generator.normal(size=15)}, 1000.0)
    names = [tuple(DOMAIN.attributes[axis] for axis in axes) for axes in objective.leaves]
    here, there = (np.concatenate(m.marginals(names)) for m in (model, other))
    gradient, scratch = np.empty_like(here), np.empty_like(here)
    loss = objective.evaluate(here, gradient)
    assert loss - loss_constant() == pytest.approx(loss_of(model, measured()))
    step = 1e-4
    ahead = objective.evaluate(here + step * (there - here), scratch)
    behind = objective.evaluate(here - step * (there - here), scratch)
    assert gradient @ (there - here) == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


def loss_constant() -> float:
    """What combining the two measurements of (a, b) takes from the loss."""
    first, second = (m for m in measured() if m.clique == ("a", "b"))
    spread_of_both = ((first.values - second.values) ** 2).sum()
    return float(-0.5 * spread_of_both / (first.variance + second.variance))


def test_reaches_the_constrained_least_squares_optimum() -> None:
    # With one measured clique and its margins the model is free, so the optimum is a projection
    # onto the simplex, which a general solver finds too.
    measurements = measured(cliques=[("a", "c"), ("a",), ("c",)], sigmas=(4, 1, 2))
    model = MirrorDescent(3000).fit(DOMAIN, measurements, None)

    def loss(cells: FloatArray) -> float:
        table = cells.reshape(2, 4)
        parts = (table.ravel(), table.sum(axis=1), table.sum(axis=0))
        pairs = zip(parts, measurements, strict=True)
        return sum(float(0.5 * ((part - m.values) ** 2).sum() / m.variance) for part, m in pairs)

    total = {"type": "eq", "fun": lambda cells: cells.sum() - model.total}
    start = np.full(8, model.total / 8)
    options = {"maxiter": 1000, "ftol": 1e-12}
    best = minimize(loss, start, bounds=[(0, None)] * 8, constraints=[total], options=options)
    assert loss(model.marginals([("a", "c")])[0]) == pytest.approx(best.fun, rel=1e-3)


def test_no_step_raises_the_loss_and_a_fit_ends_close_to_the_optimum() -> None:
    measurements = measured()
    descent = Descent(DOMAIN, measurements, estimate_total(measurements), {})
    losses = [descent.loss]
    for _ in range(5000):
        descent.step()
        losses.append(descent.loss)
    assert (np.diff(losses) <= 1e-12 * np.array(losses[1:])).all()
    stopped = loss_of(MirrorDescent().fit(DOMAIN, measurements, None), measurements)
    assert stopped - (losses[-1] - loss_constant()) < 5e-3 * losses[-1]


def test_exact_marginals_are_recovered() -> None:
    measurements = measured(cliques=[("a", "b"), ("b", "c")], sigmas=(1e-3,))
    exact = [m.values for m in measured(cliques=[("a", "b"), ("b", "c")], sigmas=(1e-9,))]
    model = MirrorDescent(3000).fit(DOMAIN, measurements, None)
    for fitted, truth in zip(model.marginals([("a", "b"), ("b", "c")]), exact, strict=True):
        np.testing.assert_allclose(fitted, truth, atol=1.0)


def test_warm_start_keeps_the_distribution_on_a_new_structure() -> None:
    before = measured(cliques=MEASURED[:5])
    model = MirrorDescent(200).fit(DOMAIN, before, None)
    after = [*before, *measured(cliques=[("a", "f"), ("a", "c", "e")])]
    total = estimate_total(after)
    cold = Descent(DOMAIN, after, total, {})
    warm = Descent(DOMAIN, after, total, model.potentials)
    start = calibrate(DOMAIN, warm.potentials(), model.total)
    for clique in MEASURED:
        left, right = start.marginals([clique])[0], model.marginals([clique])[0]
        np.testing.assert_allclose(left, right, atol=1e-6)
    assert warm.loss < 0.5 * cold.loss


def test_contradictory_measurements_do_not_make_potentials_drift_apart() -> None:
    # (a, b) and (a, c) disagree about a: the gradient never vanishes, it only balances.
    measurements = [
        Measurement(("a", "b"), np.array([900, 0, 0, 100, 0, 0]), 1.0),
        Measurement(("a", "c"), np.array([100, 0, 0, 0, 900, 0, 0, 0]), 1.0),
    ]
    descent = Descent(DOMAIN, measurements, 1000.0, {})
    for _ in range(3000):
        descent.step()
    model = calibrate(DOMAIN, descent.potentials(), 1000.0)
    np.testing.assert_allclose(model.marginals([("a",)])[0], [500.0, 500.0], atol=60.0)
    by_a = [
        descent.potentials()[clique].reshape(2, -1).max(axis=1)
        for clique in (("a", "b"), ("a", "c"))
    ]
    assert np.abs(by_a).max() < 20.0


def test_a_cell_that_lost_its_mass_comes_back() -> None:
    empty = [Measurement(("a", "b"), np.array([50, -40, 50, 50, 50, 50]), 100.0)]
    first = MirrorDescent().fit(DOMAIN, empty, None)
    assert first.marginals([("a", "b")])[0][1] < 1e-3
    filled = [*empty, Measurement(("a", "b"), np.array([50, 60, 50, 50, 50, 50]), 1.0)]
    second = MirrorDescent().fit(DOMAIN, filled, first)
    assert second.marginals([("a", "b")])[0][1] == pytest.approx(59.0, abs=4.0)


def test_no_measurement_gives_the_uniform_model() -> None:
    model = MirrorDescent().fit(DOMAIN, [], None)
    np.testing.assert_allclose(model.marginals([("a", "b")])[0], np.full(6, 1 / 6))


def test_two_fits_are_identical() -> None:
    models = [MirrorDescent(150).fit(DOMAIN, measured(), None) for _ in range(2)]
    for clique in MEASURED:
        left, right = (model.marginals([clique])[0] for model in models)
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("measurement", "text"),
    [
        (Measurement(("a",), np.zeros(3), 1.0), "2 cells"),
        (Measurement(("a",), np.zeros(2), 0.0), "variance"),
        (Measurement(("a",), np.zeros(2), np.inf), "variance"),
        (Measurement(("a",), np.array([0.0, np.nan]), 1.0), "not finite"),
        (Measurement(("b", "a"), np.zeros(6), 1.0), "column order"),
    ],
)
def test_measurements_that_do_not_fit_are_refused(measurement: Measurement, text: str) -> None:
    with pytest.raises(MechanismError, match=text):
        MirrorDescent().fit(DOMAIN, [measurement], None)


def test_unknown_attributes_are_refused() -> None:
    with pytest.raises(WorkloadError, match="zz"):
        MirrorDescent().fit(DOMAIN, [Measurement(("zz",), np.zeros(3), 1.0)], None)


def test_spread_of_a_scalar() -> None:
    assert spread(np.array(3.0), (), (0, 2)).shape == (1, 1)
