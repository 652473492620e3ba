"""The noise of the federated mode: each contributor to a slot adds its part, on a grid."""

from fractions import Fraction

from mpc.noise.in_the_clear import PER_SAMPLE_DELTA, gumbel_error
from mpc.noise.sources import NoiseCosts
from mpc.steps.job import FRACTION_BITS

GRID_BITS = 8
"""Vectors are summed in units of 2**-GRID_BITS counts, so that small parts of noise are fine."""

MIN_GRID_SIGMA2 = 16
"""Least variance, in squared units of the grid, of one holder's part of the noise."""


def federated_costs(n_holders: int) -> NoiseCosts:
    """Return what the holders' noise costs.

    A slot of variance sigma2 needs h contributors; each adds N_Z(0, sigma2 4**GRID_BITS / h) on the
    grid. By [KLS21, Thm 1], with one cell of sensitivity 1, the sum of h costs at most
    1 / (2 sigma2) + tau / 4 where tau <= 10 (h - 1) exp(-pi^2 s^2), s^2 the variance of a part in
    grid units. At s^2 = MIN_GRID_SIGMA2 = 16 and h <= 2**16 that is below 2**-200.
    """
    return NoiseCosts(
        variance_factor=Fraction(1),
        select_scale=1.0,
        gumbel_eta=gumbel_error(FRACTION_BITS),
        measure_slack=Fraction(1, 2**200),
        sigma2_min=Fraction(MIN_GRID_SIGMA2 * n_holders, 4**GRID_BITS),
        measure_delta=n_holders * PER_SAMPLE_DELTA,
        select_delta=PER_SAMPLE_DELTA,
        measure_loss=Fraction(0),
    )


def noise_part(sigma2: Fraction, minimum: int) -> Fraction:
    """Return the variance, in squared units of the grid, that each of `minimum` holders adds."""
    return sigma2 * Fraction(4**GRID_BITS, minimum)
