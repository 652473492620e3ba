"""Small fitters and samplers that tests of the mechanism share."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from aim_core.counts.marginals import project
from aim_core.domain import Domain

TOY = Domain(("a", "b", "c"), (2, 3, 2))


@dataclass
class DenseModel:
    """A distribution as one array of all cells."""

    domain: Domain
    cells: np.ndarray
    cliques: tuple = ()

    @property
    def total(self):
        return float(self.cells.sum())

    def marginals(self, cliques):
        return [project(self.cells, self.domain, self.domain.attributes, c) for c in cliques]

    def sample(self, n_rows: int, generator):
        flat = generator.choice(len(self.cells), n_rows, p=self.cells / self.total)
        return np.stack(np.unravel_index(flat, self.domain.sizes), axis=1)


class ProportionalFitter:
    """Iterative proportional fitting of every measurement, exact where they are consistent."""

    def __init__(self, n_sweeps=60) -> None:
        self.n_sweeps = n_sweeps

    def fit(self, domain: Domain, measurements, warm_start):
        total = max(1.0, float(np.mean([m.values.sum() for m in measurements] or [1])))
        cells = np.full(domain.n_cells(domain.attributes), 1.0)
        cells *= total / cells.sum()
        newest = {m.clique: m.values for m in measurements}
        for _ in range(self.n_sweeps):
            for clique, values in newest.items():
                cells = self._scaled(domain, cells, clique, values, total)
        return DenseModel(domain, cells)

    @staticmethod
    def _scaled(domain: Domain, cells, clique, values, total):
        target = np.maximum(values, 1e-9)
        now = project(cells, domain, domain.attributes, clique)
        factor = np.divide(
            target * (total / target.sum()), now, where=now > 0, out=np.zeros(now.shape)
        )
        shape = [domain.size_of(n) if n in clique else 1 for n in domain.attributes]
        return (cells.reshape(domain.sizes) * factor.reshape(shape)).reshape(-1)


class UniformFitter:
    """A model that no measurement moves."""

    def __init__(self, total=100.0) -> None:
        self.total = total

    def fit(self, domain: Domain, measurements, warm_start):
        n_cells = domain.n_cells(domain.attributes)
        return DenseModel(domain, np.full(n_cells, self.total / n_cells))


class NoNoise:
    """Exact answers."""

    def gaussian(self, n: int, sigma2: Fraction):
        return np.zeros(n, dtype=np.int64)

    def gumbel(self, n: int, fraction_bits: int):
        return np.zeros(n, dtype=np.int64)


class SeededNoise:
    """Noise of about the right distribution from a seed: for tests only."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def gaussian(self, n: int, sigma2: Fraction):
        return np.rint(self.generator.normal(0, float(sigma2) ** 0.5, n)).astype(np.int64)

    def gumbel(self, n: int, fraction_bits: int):
        return np.rint(self.generator.gumbel(0, 2.0**fraction_bits, n)).astype(np.int64)
