"""The bridge to mbi (Private-PGM): the only importer of mbi and jax.

`MbiFitter` fits with mbi, the reference. In the other direction `NumpyMirrorDescent` offers our
descent to users of mbi, with mbi's types: Domain, LinearMeasurement, CliqueVector, Factor, Dataset.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aim_core.arrays import FloatArray
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.extras import import_optional
from aim_core.models.descent import MirrorDescent
from aim_core.models.measurement import Measurement, Model, check_measurements, estimate_total
from aim_core.models.tree_model import TreeModel, calibrate


@functools.cache
def load_mbi() -> Any:
    """Import mbi when first needed (seconds, 200 MB), with jax in double precision.

    Raises MissingExtra where it is not installed.
    """
    jax = import_optional("jax", "mbi")
    jax.config.update("jax_enable_x64", True)
    # mbi compiles many small programs once each, so a cache on disk only costs (mbi warns of it).
    jax.config.update("jax_enable_compilation_cache", False)
    mbi = import_optional("mbi", "mbi")
    mbi.Estimator.register(NumpyMirrorDescent)
    return mbi


@dataclass(frozen=True)
class MbiFitter:
    """Any mbi estimator behind our `Fitter` protocol; mbi's MirrorDescent if none is given.

    Only the fit is mbi's: the model is calibrated and queried by `TreeModel`, since mbi
    would compile a program per structure and candidate. The estimator has to return potentials
    (MarkovRandomField), as all in `mbi.estimation` do.
    """

    estimator: Any = None
    n_iterations: int = 1000

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> TreeModel:
        """Fit a model; see `Fitter.fit`. Only a TreeModel can be a warm start."""
        if domain.zeros:
            raise MechanismError(
                "the schema has constraints, which the estimator 'mbi' does not know; choose "
                "'numpy', or remove them from the schema"
            )
        check_measurements(domain, measurements)
        mbi = load_mbi()
        total = estimate_total(measurements)
        if not measurements:
            return calibrate(domain, {}, total)
        mbi_domain = mbi.Domain(domain.attributes, domain.sizes)
        start = None
        if isinstance(warm_start, TreeModel):
            start = _clique_vector(mbi_domain, warm_start.potentials)
        model = (self.estimator or mbi.estimation.MirrorDescent()).estimate(
            mbi_domain,
            [
                mbi.LinearMeasurement(m.values.astype(np.float64), m.clique, m.variance**0.5)
                for m in measurements
            ],
            known_total=total,
            iters=self.n_iterations,
            warm_start=start,
        )
        return calibrate(domain, _potentials(domain, model), total)


def _clique_vector(mbi_domain: Any, tables: Mapping[Clique, FloatArray]) -> Any:
    """Build mbi's CliqueVector from flat tables."""
    mbi = load_mbi()
    jnp = import_optional("jax.numpy", "mbi")
    factors = {}
    for clique, table in tables.items():
        part = mbi_domain.project(clique)
        factors[clique] = mbi.Factor(part, jnp.asarray(table.reshape(part.shape)))
    return mbi.CliqueVector(mbi_domain, tuple(factors), factors)


def _potentials(domain: Domain, model: Any) -> dict[Clique, FloatArray]:
    """Take the potentials of an mbi model (or a CliqueVector), flat and in column order."""
    vector = getattr(model, "potentials", model)
    if not hasattr(vector, "tables"):
        raise MechanismError(
            f"a {type(model).__name__} has no potentials; use an estimator of mbi.estimation"
        )
    potentials: dict[Clique, FloatArray] = {}
    for clique, factor in vector.tables.items():
        name = domain.canonical(clique)
        table = np.asarray(factor.values, dtype=np.float64)
        table = table.transpose([factor.domain.attributes.index(a) for a in name]).reshape(-1)
        potentials[name] = potentials[name] + table if name in potentials else table
    return potentials


@dataclass(frozen=True)
class NumpyMirrorDescent:
    """Our mirror descent as an mbi estimator: a virtual subclass of `mbi.Estimator`.

    Takes plain marginal measurements (mbi's default query); refuses what it cannot do.
    """

    def __post_init__(self) -> None:
        load_mbi()

    def estimate(
        self,
        domain: Any,
        loss_fn: Sequence[Any],
        known_total: float | None = None,
        constraints: Sequence[Any] = (),
        iters: int = 1000,
        callback_fn: None = None,
        warm_start: Any = None,
    ) -> "NumpyModel":
        """Fit a model to a list of mbi LinearMeasurements; arguments as in `mbi.Estimator`.

        `warm_start` is a NumpyModel, an mbi model with potentials, or a CliqueVector. Raises
        MechanismError for constraints, callbacks, and loss functions other than plain marginals.
        """
        if constraints or callback_fn is not None or not isinstance(loss_fn, Sequence):
            raise MechanismError(
                "this estimator takes a list of measurements, without constraints or callbacks; "
                "use mbi's MirrorDescent for those"
            )
        own = Domain(tuple(domain.attributes), tuple(domain.shape))
        measurements = [_measurement(own, measured) for measured in loss_fn]
        total = estimate_total(measurements) if known_total is None else float(known_total)
        start = None
        if warm_start is not None:
            start = calibrate(own, _potentials(own, warm_start), total)
        tree = MirrorDescent(iters).fit_total(own, measurements, total, start)
        return NumpyModel(domain, tree)


def _measurement(domain: Domain, measured: Any) -> Measurement:
    """Convert an mbi LinearMeasurement; its clique may be in any order."""
    if measured.query != load_mbi().DatavectorQuery():
        raise MechanismError("this estimator takes plain marginals; drop the measurement's query")
    clique = domain.canonical(measured.clique)
    table = np.asarray(measured.noisy_measurement, dtype=np.float64)
    table = table.reshape(domain.shape(measured.clique))
    values = table.transpose([measured.clique.index(name) for name in clique]).reshape(-1)
    return Measurement(clique, values, float(measured.stddev) ** 2)


@dataclass(frozen=True, eq=False)
class NumpyModel:
    """A TreeModel with the methods of `mbi.Model`; `domain` is mbi's."""

    domain: Any
    tree: TreeModel

    @property
    def total(self) -> float:
        """The number of records that the model stands for."""
        return self.tree.total

    @property
    def cliques(self) -> tuple[Clique, ...]:
        """The maximal measured cliques."""
        return self.tree.cliques

    @property
    def potentials(self) -> Any:
        """The log-potentials as a CliqueVector, so that mbi's estimators can start from them."""
        return _clique_vector(self.domain, self.tree.potentials)

    @property
    def marginals(self) -> Any:
        """The marginals of the model's cliques as a CliqueVector."""
        tables = self.tree.marginals(self.cliques)
        return _clique_vector(self.domain, dict(zip(self.cliques, tables, strict=True)))

    def supports(self, attrs: str | Sequence[str]) -> bool:
        """Tell whether the attributes are in the domain."""
        return bool(self.domain.supports(attrs))

    def project(self, attrs: str | Sequence[str]) -> Any:
        """Return the marginal over the attributes, in the order given, as an mbi Factor."""
        names = (attrs,) if isinstance(attrs, str) else tuple(attrs)
        clique = self.tree.domain.canonical(names)
        table = self.tree.marginals([clique])[0].reshape(self.tree.domain.shape(clique))
        part = self.domain.project(names)
        return load_mbi().Factor(part, table.transpose([clique.index(name) for name in names]))

    def synthetic_data(
        self, rows: int | None = None, generator: np.random.Generator | None = None
    ) -> Any:
        """Draw an mbi Dataset of `rows` rows (default: the model's total)."""
        n_rows = max(1, int(rows or self.total))
        codes = self.tree.sample(n_rows, generator or np.random.default_rng())
        columns = dict(zip(self.tree.domain.attributes, codes.T, strict=True))
        return load_mbi().Dataset(columns, self.domain)
