"""Small fitters, samplers, oracles and measurements that tests of the mechanism share."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from aim_core.arrays import CodeTable, Counts, FloatArray
from aim_core.counts.marginals import cell_indices, checked_columns, project
from aim_core.domain import Clique, Domain
from aim_core.mechanisms.requests import Lost, Measure, Request, Select
from aim_core.models.measurement import Measurement, Model
from aim_core.privacy.noise_facts import Noise

TOY = Domain(("a", "b", "c"), (2, 3, 2))


@dataclass
class DenseModel:
    """A distribution as one array of all cells."""

    domain: Domain
    cells: FloatArray
    cliques: tuple[Clique, ...] = ()

    @property
    def total(self) -> float:
        return float(self.cells.sum())

    def marginals(self, cliques: Sequence[Clique]) -> list[FloatArray]:
        return [project(self.cells, self.domain, self.domain.attributes, c) for c in cliques]

    def sample(self, n_rows: int, generator: np.random.Generator) -> Counts:
        flat = generator.choice(len(self.cells), n_rows, p=self.cells / self.total)
        return np.stack(np.unravel_index(flat, self.domain.sizes), axis=1)

    def log_density(self, codes: CodeTable) -> FloatArray:
        columns = checked_columns(codes, self.domain)
        logarithms: FloatArray = np.log(self.cells / self.total)
        return logarithms[cell_indices(columns, self.domain, self.domain.attributes)]


class ProportionalFitter:
    """Iterative proportional fitting of every measurement, exact where they are consistent."""

    def __init__(self, n_sweeps: int = 60) -> None:
        self.n_sweeps = n_sweeps

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> DenseModel:
        total = max(1.0, float(np.mean([m.values.sum() for m in measurements] or [1])))
        cells = np.full(domain.n_cells(domain.attributes), 1.0)
        cells *= total / cells.sum()
        newest = {m.clique: m.values for m in measurements}
        for _ in range(self.n_sweeps):
            for clique, values in newest.items():
                cells = self._scaled(domain, cells, clique, np.maximum(values, 1e-9), total)
        return DenseModel(domain, cells)

    @staticmethod
    def _scaled(
        domain: Domain, cells: FloatArray, clique: Clique, target: FloatArray, total: float
    ) -> FloatArray:
        now = project(cells, domain, domain.attributes, clique)
        factor = np.divide(
            target * (total / target.sum()), now, where=now > 0, out=np.zeros(now.shape)
        )
        shape = [domain.size_of(n) if n in clique else 1 for n in domain.attributes]
        scaled: FloatArray = cells.reshape(domain.sizes) * factor.reshape(shape)
        return scaled.reshape(-1)


class UniformFitter:
    """A model that no measurement moves."""

    def __init__(self, total: float = 100.0) -> None:
        self.total = total

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> DenseModel:
        n_cells = domain.n_cells(domain.attributes)
        return DenseModel(domain, np.full(n_cells, self.total / n_cells))


class NoNoise:
    """Exact answers."""

    def gaussian(self, n: int, sigma2: Fraction) -> Counts:
        return np.zeros(n, dtype=np.int64)

    def gumbel(self, n: int, fraction_bits: int) -> Counts:
        return np.zeros(n, dtype=np.int64)


class SeededNoise:
    """Noise of about the right distribution from a seed: for tests only."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def gaussian(self, n: int, sigma2: Fraction) -> Counts:
        return np.rint(self.generator.normal(0, float(sigma2) ** 0.5, n)).astype(np.int64)

    def gumbel(self, n: int, fraction_bits: int) -> Counts:
        return np.rint(self.generator.gumbel(0, 2.0**fraction_bits, n)).astype(np.int64)


class RandomOracle:
    """Answers at random and keeps what it was asked; it loses those numbered in `lost`, from 0."""

    def __init__(self, domain: Domain, seed: int = 0, lost: Collection[int] = ()) -> None:
        self.domain, self.lost = domain, lost
        self.requests: list[Request] = []
        self.generator = np.random.default_rng(seed)

    @property
    def selects(self) -> list[Select]:
        return [request for request in self.requests if isinstance(request, Select)]

    @property
    def measures(self) -> list[Measure]:
        return [request for request in self.requests if isinstance(request, Measure)]

    def _is_lost(self, request: Request) -> bool:
        self.requests.append(request)
        return len(self.requests) - 1 in self.lost

    def select(self, request: Select) -> int | Lost:
        if self._is_lost(request):
            return Lost()
        return int(self.generator.integers(len(request.candidates)))

    def measure(self, request: Measure) -> list[Counts] | Lost:
        if self._is_lost(request):
            return Lost()
        sizes = [self.domain.n_cells(clique) for clique in request.cliques]
        return [self.generator.integers(-5, 50, n) for n in sizes]


def cost(request: Request, noise: Noise) -> Fraction:
    """Return what a request costs in rho."""
    if isinstance(request, Select):
        return noise.select_rho(request.selection_epsilon)
    return len(request.cliques) * noise.measure_rho(request.sigma2)


def noisy_measurements(
    domain: Domain,
    cliques: Sequence[Clique],
    sigmas: Sequence[float],
    n_records: int,
    concentration: float,
) -> list[Measurement]:
    """Return rounded noisy marginals of one random table, with the sigmas in turn."""
    generator = np.random.default_rng(0)
    flat = np.full(domain.n_cells(domain.attributes), concentration)
    joint = generator.dirichlet(flat) * n_records
    measurements = []
    for number, clique in enumerate(cliques):
        exact = project(joint, domain, domain.attributes, clique)
        sigma = sigmas[number % len(sigmas)]
        values = np.rint(exact + generator.normal(0, sigma, exact.size)).astype(np.int64)
        measurements.append(Measurement(clique, values, float(sigma**2)))
    return measurements
