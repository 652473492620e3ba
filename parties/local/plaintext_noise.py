"""The plaintext oracle's noise: that of all dealers, or that of the joint sampler."""

from fractions import Fraction

import numpy as np

from aim_core.arrays import Counts
from mpc.noise.sources import SystemSampler


class PlaintextNoise:
    """All dealers' noise in one: Gaussians of variance sigma2 / (m - t), m of them, and so on.

    `n_gaussians` draws of variance sigma2 / `divisor` are summed per cell, `n_gumbels` per
    candidate; (1, 1, 1) is central noise.
    """

    def __init__(self, n_gaussians: int, divisor: int, n_gumbels: int) -> None:
        self._n_gaussians, self._divisor, self._n_gumbels = n_gaussians, divisor, n_gumbels
        self._sampler = SystemSampler()

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
