"""The plaintext oracle's noise: that of all dealers, or that of the joint sampler."""

from fractions import Fraction

import numpy as np

from aim_core.arrays import Counts
from mpc.arrays import Integers
from mpc.noise.in_the_clear import sample_gaussian, sample_gumbel
from mpc.noise.sources import Sampler, SystemSampler


class DryRunSampler:
    """NO PRIVACY: the samplers of real noise on a public seed, so that a dry run can be repeated.

    It lives above all that a compute party imports, and only `distaim run --oracle plaintext` asks
    for it: no noise that is meant to protect can come from here.
    """

    def __init__(self, seed: int) -> None:
        self._random_bytes = np.random.default_rng(seed).bytes

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        """Return (n,) discrete Gaussian noise, see `sample_gaussian`."""
        return sample_gaussian(n, sigma2, self._random_bytes)

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        """Return (n,) Gumbel noise, see `sample_gumbel`."""
        return sample_gumbel(n, fraction_bits, self._random_bytes)


class PlaintextNoise:
    """All dealers' noise in one: Gaussians of variance sigma2 / (m - t), m of them, and so on.

    `n_gaussians` draws of variance sigma2 / `divisor` are summed per cell, `n_gumbels` per
    candidate; (1, 1, 1) is central noise. `sampler` draws them, by default privately.
    """

    def __init__(
        self, n_gaussians: int, divisor: int, n_gumbels: int, sampler: Sampler | None = None
    ) -> None:
        self._n_gaussians, self._divisor, self._n_gumbels = n_gaussians, divisor, n_gumbels
        self._sampler = SystemSampler() if sampler is None else sampler

    def gaussian(self, n: int, sigma2: Fraction) -> Counts:
        """Return (n,) int64 noise in counts."""
        share = sigma2 / self._divisor
        return sum(
            (self._sampler.gaussian(n, share) for _ in range(self._n_gaussians)),
            start=np.zeros(n, np.int64),
        )

    def gumbel(self, n: int, fraction_bits: int) -> Counts:
        """Return (n,) int64 noise in units of 2**-fraction_bits."""
        return sum(
            (self._sampler.gumbel(n, fraction_bits) for _ in range(self._n_gumbels)),
            start=np.zeros(n, np.int64),
        )
