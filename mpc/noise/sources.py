"""Noise for the measurement and the selection, as shares, behind one interface.

A noise source yields shared noise vectors and says in public numbers what they cost in privacy
and accuracy. `JointNoise` is sampled on shares, known to nobody, with central variance.
`DealerNoise` is the baseline: single parties deal noise, and enough honest dealers remain whoever
colludes.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from mpc.arrays import Integers
from mpc.errors import MpcError
from mpc.noise.gaussian import (
    MEASURE_DELTA,
    MEASURE_LOSS,
    MIN_VARIANCE,
    WIDTH_BOUND,
    check_variance,
    sample_gaussian_shares,
)
from mpc.noise.gumbel import GUMBEL_BOUND, GUMBEL_DELTA, GUMBEL_ERROR, sample_gumbel_shares
from mpc.noise.in_the_clear import (
    GUMBEL_RANGE,
    PER_SAMPLE_DELTA,
    gaussian_bound,
    gumbel_error,
    sample_gaussian,
    sample_gumbel,
)
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.replicated import Algebra, Share, reshare


class Sampler(Protocol):
    """Where a dealer's own noise comes from; tests script it."""

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        """Return `(n,)` samples of N_Z(0, sigma2)."""
        ...

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        """Return `(n,)` Gumbel samples in units of 2^-f."""
        ...


class SystemSampler:
    """Samples from the operating system's CSPRNG; the only sampler outside of tests."""

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        """See `in_the_clear.sample_gaussian`."""
        return sample_gaussian(n, sigma2)

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        """See `in_the_clear.sample_gumbel`."""
        return sample_gumbel(n, fraction_bits)


@dataclass(frozen=True)
class NoiseCosts:
    """What a noise source's noise is, in public numbers.

    `variance_factor`: true variance of an opened cell over the sigma2 asked for. `select_scale`:
    standard deviation of the selection noise over a single Gumbel's. `gumbel_eta`: error bound of
    the Gumbel that protects a selection. `measure_slack`: zCDP cost of a measurement beyond 1 / (2
    sigma2). `sigma2_min`: smallest sigma2 for which the bounds hold. `measure_delta`: statistical
    distance from the ideal noise, per measured marginal. `select_delta`: the same per candidate of
    a selection. `measure_loss`: bound on the log of a probability ratio to the ideal noise, per
    marginal.
    """

    variance_factor: Fraction
    select_scale: float
    gumbel_eta: Fraction
    measure_slack: Fraction
    sigma2_min: Fraction
    measure_delta: Fraction
    select_delta: Fraction
    measure_loss: Fraction


class NoiseSource(Protocol):
    """Shared noise for a job."""

    costs: NoiseCosts
    made_ahead: bool
    """Whether the bank makes noise before it is asked for; dealt noise is dealt on request."""

    def gaussian_bound(self, sigma2: Fraction) -> int:
        """Return the largest magnitude of a cell's noise; no ring value may wrap."""
        ...

    def gumbel_bound(self, fraction_bits: int) -> int:
        """Return the largest magnitude of a candidate's noise in units of 2^-f."""
        ...

    async def gaussian(self, channel: Channel, algebra: Algebra, n: int, sigma2: Fraction) -> Share:
        """Return a ring share `(n,)` of the noise of n cells."""
        ...

    async def gumbel(self, channel: Channel, algebra: Algebra, n: int, fraction_bits: int) -> Share:
        """Return a ring share `(n,)` of the noise of n candidates, in units of 2^-f."""
        ...


MIN_DEALER_SIGMA2 = 4


def dealer_costs(access: AccessStructure, fraction_bits: int) -> NoiseCosts:
    """Return the costs of the dealer baseline.

    Measurement: all m parties deal N_Z(0, sigma2 / (m - t)). The sum of the h = m - t honest ones
    is not exactly a discrete Gaussian; by [KLS21, Thm 1] it costs at most
    1 / (2 sigma2) + tau / 4 for sensitivity 1 in one cell, with
    tau = 10 sum_{j<h} exp(-2 pi^2 s^2 j / (j + 1)) <= 10 (h - 1) exp(-pi^2 s^2) and s^2 the
    variance of a dealer, which is at least `MIN_DEALER_SIGMA2`.

    Selection: t + 1 parties deal a Gumbel each; one honest dealer suffices, the others' values
    are a fixed base measure.
    """
    m, t = access.n_parties, access.threshold
    honest = m - t
    tau = 10 * (honest - 1) * math.exp(-(math.pi**2) * MIN_DEALER_SIGMA2) * 1.001
    return NoiseCosts(
        variance_factor=Fraction(m, honest),
        select_scale=math.sqrt(t + 1),
        gumbel_eta=gumbel_error(fraction_bits),
        measure_slack=Fraction(tau) / 4,
        sigma2_min=Fraction(MIN_DEALER_SIGMA2 * honest),
        measure_delta=honest * PER_SAMPLE_DELTA,
        select_delta=PER_SAMPLE_DELTA,
        measure_loss=Fraction(0),
    )


class DealerNoise:
    """The dealer baseline: every Gaussian is a sum of m dealt ones, every Gumbel of t + 1.

    Reveals: nothing; a dealer knows its own part, which the privacy bound does not count.
    Cost: 1 round and m - t - 1 ring elements per value and dealer.
    """

    made_ahead = False

    def __init__(
        self, access: AccessStructure, fraction_bits: int, sampler: Sampler | None = None
    ) -> None:
        self.costs = dealer_costs(access, fraction_bits)
        self._access = access
        self._sampler = sampler if sampler is not None else SystemSampler()

    def _dealer_sigma2(self, sigma2: Fraction) -> Fraction:
        if sigma2 < self.costs.sigma2_min:
            raise MpcError(
                f"dealt noise needs sigma^2 of at least {self.costs.sigma2_min}, not "
                f"{float(sigma2):g}: the sum of so narrow discrete Gaussians has no proved bound"
            )
        return sigma2 / (self._access.n_parties - self._access.threshold)

    def gaussian_bound(self, sigma2: Fraction) -> int:
        """See `NoiseSource`."""
        return self._access.n_parties * gaussian_bound(self._dealer_sigma2(sigma2))

    def gumbel_bound(self, fraction_bits: int) -> int:
        """See `NoiseSource`."""
        return (self._access.threshold + 1) * GUMBEL_RANGE << fraction_bits

    async def gaussian(self, channel: Channel, algebra: Algebra, n: int, sigma2: Fraction) -> Share:
        """See `NoiseSource`; raises MpcError below `NoiseCosts.sigma2_min`."""
        own = self._sampler.gaussian(n, self._dealer_sigma2(sigma2)).astype(algebra.dtype)
        return await reshare(channel, algebra, (n,), own, range(self._access.n_parties))

    async def gumbel(self, channel: Channel, algebra: Algebra, n: int, fraction_bits: int) -> Share:
        """See `NoiseSource`."""
        dealers = range(self._access.threshold + 1)
        own = None
        if channel.pid in dealers:
            own = self._sampler.gumbel(n, fraction_bits).astype(algebra.dtype)
        return await reshare(channel, algebra, (n,), own, dealers)


JOINT_COSTS = NoiseCosts(
    variance_factor=Fraction(1),
    select_scale=1.0,
    gumbel_eta=GUMBEL_ERROR,
    measure_slack=Fraction(0),
    sigma2_min=Fraction(MIN_VARIANCE),
    measure_delta=MEASURE_DELTA,
    select_delta=GUMBEL_DELTA,
    measure_loss=MEASURE_LOSS,
)


class JointNoise:
    """Noise that is sampled on shares: no party knows it and its variance is the central one.

    See `gaussian.sample_gaussian_shares` and `gumbel.sample_gumbel_shares`.
    """

    costs = JOINT_COSTS

    def __init__(self, *, made_ahead: bool = True) -> None:
        self.made_ahead = made_ahead

    def gaussian_bound(self, sigma2: Fraction) -> int:
        """See `NoiseSource`; above `gaussian.magnitude_bound` of every plan up to sigma2."""
        check_variance(sigma2)
        return math.isqrt(math.ceil(WIDTH_BOUND**2 * sigma2))

    def gumbel_bound(self, fraction_bits: int) -> int:
        """See `NoiseSource`."""
        return GUMBEL_BOUND << fraction_bits

    async def gaussian(self, channel: Channel, algebra: Algebra, n: int, sigma2: Fraction) -> Share:
        """See `NoiseSource`; raises MpcError outside sigma2's range."""
        return await sample_gaussian_shares(channel, algebra, n, sigma2)

    async def gumbel(self, channel: Channel, algebra: Algebra, n: int, fraction_bits: int) -> Share:
        """See `NoiseSource`."""
        return await sample_gumbel_shares(channel, algebra, n, fraction_bits)
