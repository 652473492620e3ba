"""What a fit takes and gives: noisy marginals in, a model of the joint distribution out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aim_core.arrays import CodeTable, FloatArray
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError


@dataclass(frozen=True, eq=False)
class Measurement:
    """A released noisy marginal.

    `values` is flat, C-ordered over `domain.shape(clique)`, in counts; `variance` is the true
    variance of one cell's noise, in counts squared.
    """

    clique: Clique
    values: NDArray[Any]
    variance: float


class Model(Protocol):
    """A distribution over the domain, scaled to an estimated number of records."""

    @property
    def domain(self) -> Domain:
        """The attributes that the distribution is over."""

    @property
    def total(self) -> float:
        """The estimated number of records, at least 1."""

    @property
    def cliques(self) -> tuple[Clique, ...]:
        """The maximal cliques, measured or with structural zeros, that carry the potentials."""

    def marginals(self, cliques: Sequence[Clique]) -> list[FloatArray]:
        """Return the model's marginals, flat float64 that sum to `total`, one per clique."""

    def sample(self, n_rows: int, generator: np.random.Generator) -> CodeTable:
        """Draw a table: `(n_rows, d)` codes, columns in domain order."""

    def log_density(self, codes: CodeTable) -> FloatArray:
        """Return the natural logarithm of each row's probability, `-inf` where it is 0.

        `codes` is `(n_rows, d)`. Raises TableError for codes outside the domain.
        """


class Fitter(Protocol):
    """Fits a model to noisy marginals."""

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> Model:
        """Return the model that explains the measurements best.

        The domain's structural zeros get no mass, whatever was measured there. `warm_start`,
        usually the last round's model, only shortens the way. Raises MechanismError for
        measurements that do not fit the domain, and for structural zeros that leave no cell, or
        that the fitter does not know.
        """


def check_measurements(domain: Domain, measurements: Sequence[Measurement]) -> None:
    """Raise MechanismError unless every measurement has its clique's cells and a variance > 0."""
    for measurement in measurements:
        name = ",".join(measurement.clique)
        if domain.canonical(measurement.clique) != tuple(measurement.clique):
            raise MechanismError(f"measurement of ({name}) is not in column order; reorder it")
        n_cells = domain.n_cells(measurement.clique)
        if np.shape(measurement.values) != (n_cells,):
            raise MechanismError(
                f"measurement of ({name}) has shape {np.shape(measurement.values)}, its marginal "
                f"has {n_cells} cells; pass the flat marginal"
            )
        if not (np.isfinite(measurement.variance) and measurement.variance > 0):
            raise MechanismError(f"measurement of ({name}) needs a finite variance above 0")
        if not np.isfinite(measurement.values).all():
            raise MechanismError(f"measurement of ({name}) holds values that are not finite")


def estimate_total(measurements: Sequence[Measurement]) -> float:
    """Estimate the number of records: inverse-variance weighted sums of marginals, at least 1.

    The sum of a marginal of n cells has variance `n * variance`. As Private-PGM does
    (`minimum_variance_unbiased_total`).
    """
    if not measurements:
        return 1.0
    sums = np.array([np.sum(m.values, dtype=np.float64) for m in measurements])
    weights = np.array([1.0 / (m.variance * np.size(m.values)) for m in measurements])
    return max(1.0, float(np.average(sums, weights=weights)))
