import subprocess
import sys
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.models.fitters import make_fitter
from aim_core.models.mbi_bridge import MbiFitter, NumpyMirrorDescent, load_mbi
from aim_core.models.measurement import Measurement, Model, estimate_total
from aim_core.models.tree_model import TreeModel
from tests.support.toys import noisy_measurements

DOMAIN = Domain(tuple("abcde"), (2, 3, 4, 3, 2))
CLIQUES: list[Clique] = [
    ("a",),
    ("d",),
    ("a", "b"),
    ("b", "c", "d"),
    ("c", "d"),
    ("a", "b"),
    ("a", "d"),
]
QUERIES: list[Clique] = [*CLIQUES, ("a", "c"), ("c", "e"), ("a", "c", "d")]


def measured() -> list[Measurement]:
    return noisy_measurements(DOMAIN, CLIQUES, (2, 6, 15), n_records=2000, concentration=0.5)


def mbi_measurements(mbi: ModuleType) -> list[Any]:
    """Return them as mbi's, which has no types."""
    return [
        mbi.LinearMeasurement(m.values.astype(float), m.clique, m.variance**0.5) for m in measured()
    ]


def largest_difference(left: Model, right: Model) -> float:
    pairs = zip(left.marginals(QUERIES), right.marginals(QUERIES), strict=True)
    return max(float(np.abs(one - other).max()) for one, other in pairs)


@pytest.fixture(scope="module")
def mbi() -> ModuleType:
    module = load_mbi()
    assert isinstance(module, ModuleType)
    return module


@pytest.fixture(scope="module")
def reference() -> TreeModel:
    """The reference model; mbi's descent gets more steps, since ours has momentum."""
    return MbiFitter(n_iterations=10_000).fit(DOMAIN, measured(), None)


def test_the_numpy_estimator_never_loads_jax() -> None:
    script = (
        "import sys, numpy as np;"
        "from aim_core.domain import Domain;"
        "from aim_core.models.measurement import Measurement;"
        "from aim_core.models.fitters import make_fitter;"
        "fit = make_fitter('numpy').fit;"
        "fit(Domain(('a',), (2,)), [Measurement(('a',), np.ones(2), 1.0)], None);"
        "assert not {'jax', 'mbi'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_agrees_with_mbi_on_mixed_sigmas(reference: TreeModel) -> None:
    model = make_fitter("numpy").fit(DOMAIN, measured(), None)
    assert isinstance(model, TreeModel)
    assert model.total == pytest.approx(reference.total)
    assert largest_difference(model, reference) < 0.5  # of 2000 records, at sigmas of 2 to 15


def test_the_weights_of_mixed_sigmas_matter(reference: TreeModel) -> None:
    equal = [Measurement(m.clique, m.values, 36.0) for m in measured()]
    model = make_fitter("numpy").fit(DOMAIN, equal, None)
    assert largest_difference(model, reference) > 4.0


def test_totals_are_those_of_mbi(mbi: ModuleType) -> None:
    expected = mbi.estimation.minimum_variance_unbiased_total(mbi_measurements(mbi))
    assert estimate_total(measured()) == pytest.approx(expected)


def test_mbi_takes_a_warm_start_from_either_side(reference: TreeModel) -> None:
    ours = make_fitter("numpy").fit(DOMAIN, measured(), None)
    for start in (ours, reference):
        model = MbiFitter(n_iterations=50).fit(DOMAIN, measured(), start)
        assert largest_difference(model, reference) < 0.5


@pytest.mark.slow
def test_any_mbi_estimator_swaps_in(mbi: ModuleType, reference: TreeModel) -> None:
    model = MbiFitter(mbi.estimation.LBFGS(), 200).fit(DOMAIN, measured(), None)
    assert largest_difference(model, reference) < 3.0  # it stops earlier


def test_mbi_without_measurements_gives_the_uniform_model() -> None:
    model = make_fitter("mbi").fit(DOMAIN, [], None)
    np.testing.assert_allclose(model.marginals([("a",)])[0], [0.5, 0.5])


def test_ours_serves_users_of_mbi(mbi: ModuleType, reference: TreeModel) -> None:
    estimator = NumpyMirrorDescent()
    assert isinstance(estimator, mbi.Estimator)
    domain = mbi.Domain(DOMAIN.attributes, DOMAIN.sizes)
    model = estimator.estimate(domain, mbi_measurements(mbi))
    factor = model.project(("d", "a"))
    assert factor.domain.attributes == ("d", "a")
    expected = reference.marginals([("a", "d")])[0].reshape(2, 3).T
    np.testing.assert_allclose(np.asarray(factor.values), expected, atol=0.5)
    assert model.supports("a")
    assert not model.supports("zz")
    assert model.project("a").domain.attributes == ("a",)
    assert set(model.marginals.cliques) == set(model.cliques)
    for clique in model.cliques:
        table = model.tree.marginals([clique])[0]
        np.testing.assert_allclose(np.asarray(model.marginals[clique].datavector()), table)


def test_ours_and_mbi_start_from_each_other(mbi: ModuleType) -> None:
    domain = mbi.Domain(DOMAIN.attributes, DOMAIN.sizes)
    measurements = mbi_measurements(mbi)
    ours = NumpyMirrorDescent().estimate(domain, measurements)
    theirs = mbi.estimation.MirrorDescent().estimate(
        domain, measurements, iters=50, warm_start=ours
    )
    again = NumpyMirrorDescent().estimate(domain, measurements, iters=5, warm_start=theirs)
    for model in (theirs, again):
        values = np.asarray(model.project(("b", "c", "d")).values)
        np.testing.assert_allclose(values, ours.project(("b", "c", "d")).values, atol=0.5)


def test_ours_draws_mbi_datasets(mbi: ModuleType) -> None:
    domain = mbi.Domain(DOMAIN.attributes, DOMAIN.sizes)
    model = NumpyMirrorDescent().estimate(domain, mbi_measurements(mbi))
    data = model.synthetic_data(5000, np.random.default_rng(1))
    assert data.records == 5000
    counts = np.asarray(data.project(("a", "b")).datavector())
    expected = model.tree.marginals([("a", "b")])[0] * (5000 / model.total)
    assert np.abs(counts - expected).max() < 4
    assert model.synthetic_data().records == int(model.total)


def test_cliques_of_mbi_come_in_any_order(mbi: ModuleType) -> None:
    domain = mbi.Domain(("a", "b"), (2, 3))
    table = np.arange(1.0, 7.0).reshape(2, 3)
    one = mbi.LinearMeasurement(table.T.ravel(), ("b", "a"), 0.1)
    model = NumpyMirrorDescent().estimate(domain, [one])
    np.testing.assert_allclose(model.project(("a", "b")).values, table, atol=0.01)


def test_refuses_what_it_cannot_do(mbi: ModuleType) -> None:
    domain = mbi.Domain(("a",), (2,))
    sliced = mbi.LinearMeasurement(np.ones(1), ("a",), 1.0, mbi.SlicedQuery(1))
    plain = mbi.LinearMeasurement(np.ones(2), ("a",), 1.0)
    with pytest.raises(MechanismError, match="query"):
        NumpyMirrorDescent().estimate(domain, [sliced])
    with pytest.raises(MechanismError, match="callbacks"):
        NumpyMirrorDescent().estimate(domain, [plain], callback_fn=cast("None", print))
    with pytest.raises(MechanismError, match="list of measurements"):
        NumpyMirrorDescent().estimate(
            domain, mbi.marginal_loss.from_linear_measurements([plain], domain)
        )
    with pytest.raises(MechanismError, match="potentials"):
        NumpyMirrorDescent().estimate(domain, [plain], warm_start=object())


def test_unknown_names_are_refused() -> None:
    with pytest.raises(MechanismError, match="'numpy' or 'mbi'"):
        make_fitter("pgm")
