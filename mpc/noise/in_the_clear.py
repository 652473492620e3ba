"""Samplers of the noise distributions in the clear, from the operating system's CSPRNG.

A dealer uses them for the noise that it contributes, the plaintext oracle for the whole noise. All
thresholds are exact integers; `PER_SAMPLE_DELTA` bounds the statistical distance of one sample
from its ideal distribution (docs/protocol.md proves it).
"""

import math
import secrets
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

import numpy as np

from mpc.arrays import Array, Integers
from mpc.errors import MpcError
from mpc.session.keystream import RandomBytes

PER_SAMPLE_DELTA = Fraction(1, 2**100)
TAIL_SIGMAS = 12
MAX_SIGMA = 2**20
GUMBEL_BITS = 256
GUMBEL_RANGE = 180
GUMBEL_FLOAT_ERROR = Fraction(1, 2**44)

WORK_BITS = 200
_TABLE_BITS = 128


def gumbel_error(fraction_bits: int) -> Fraction:
    """Return eta: a sample is within eta of a true Gumbel (rounding to 2^-f, then floats)."""
    return Fraction(1, 2 ** (fraction_bits + 1)) + GUMBEL_FLOAT_ERROR


def gaussian_bound(sigma2: Fraction) -> int:
    """Return the largest magnitude that `sample_gaussian` yields for this variance."""
    return math.isqrt(math.ceil(sigma2 * TAIL_SIGMAS**2)) + 1


def fixed_exp(exponent: Fraction) -> int:
    """Return exp(-exponent) in units of 2^-WORK_BITS, off by a few units, for exponent >= 0.

    The Taylor series of exp(exponent / 2^h) <= e, inverted and squared h times.
    """
    halvings = math.ceil(exponent).bit_length()
    one = 1 << (WORK_BITS + 64)
    x = exponent.numerator * one // (exponent.denominator << halvings)
    term = total = one
    n = 1
    while term:
        term = term * x // (one * n)
        total += term
        n += 1
    result = one * one // total
    for _ in range(halvings):
        result = result * result // one
    return result >> 64


@lru_cache(maxsize=64)
def magnitude_weights(sigma2: Fraction) -> tuple[int, ...]:
    """Return weights proportional to P[|X| = a], X ~ N_Z(0, sigma2), for a up to the bound.

    Entry a is exp(-a^2 r), twice that for a > 0, with r = 1 / (2 sigma2), in 200-bit fixed point:
    exp(-(a+1)^2 r) = exp(-a^2 r) exp(-(2a+1) r).

    Raises MpcError: sigma2 is not positive or above `MAX_SIGMA` squared.
    """
    if not 0 < sigma2 <= MAX_SIGMA**2:
        raise MpcError(f"a noise variance of {float(sigma2):g} is outside (0, 2^40]")
    rate = 1 / (2 * sigma2)
    ratio, step = fixed_exp(rate), fixed_exp(2 * rate)
    weight = 1 << WORK_BITS
    weights = [weight]
    for _ in range(gaussian_bound(sigma2)):
        weight = weight * ratio >> WORK_BITS
        ratio = ratio * step >> WORK_BITS
        weights.append(2 * weight)
    return tuple(weights)


@lru_cache(maxsize=64)
def gaussian_thresholds(sigma2: Fraction) -> tuple[Array, Array]:
    """Return the cumulative table of |X| for X ~ N_Z(0, sigma2), 128-bit thresholds.

    Entry a is floor(2^128 * P[|X| <= a]), for a below `gaussian_bound(sigma2)`, as its upper
    and lower 64 bits.

    Raises MpcError: see `magnitude_weights`.
    """
    cumulative = list(accumulate(magnitude_weights(sigma2)))
    total = cumulative.pop()
    scaled = [(c << _TABLE_BITS) // total for c in cumulative]
    low = (1 << 64) - 1
    return (
        np.array([c >> 64 for c in scaled], np.uint64),
        np.array([c & low for c in scaled], np.uint64),
    )


def sample_gaussian(
    n: int, sigma2: Fraction, random_bytes: RandomBytes = secrets.token_bytes
) -> Integers:
    """Return `(n,)` samples of the discrete Gaussian N_Z(0, sigma2) [CKS20].

    By inversion of the 128-bit table; a draw whose upper word meets a threshold's (probability
    below 2^-40 per sample) is resolved with 64 further bits.
    """
    high, low = gaussian_thresholds(sigma2)
    draws = np.frombuffer(random_bytes(8 * n), np.uint64)
    magnitude = np.searchsorted(high, draws, side="right").astype(np.int64)
    for i in np.flatnonzero((magnitude > 0) & (high[magnitude - 1] == draws)):
        second = int.from_bytes(random_bytes(8), "little")
        first = int(np.searchsorted(high, draws[i], side="left"))
        magnitude[i] = first + sum(int(c) <= second for c in low[first : int(magnitude[i])])
    signs = np.frombuffer(random_bytes((n + 7) // 8), np.uint8)
    negative = np.unpackbits(signs, count=n).astype(bool)
    return np.where(negative, -magnitude, magnitude)


def sample_gumbel(
    n: int, fraction_bits: int, random_bytes: RandomBytes = secrets.token_bytes
) -> Integers:
    """Return `(n,)` standard Gumbel samples, rounded to multiples of 2^-f, as integers.

    G = -ln(-ln U) with U uniform on (R + 1/2) 2^-256. The half of U near 1 is computed from
    1 - U, so that -ln U always has a relative error of a few float roundings. Then
    |G| < `GUMBEL_RANGE` and the error is at most `gumbel_error(fraction_bits)`, except with a
    probability below 2^-200 that `PER_SAMPLE_DELTA` covers.
    """
    scale = 1 << fraction_bits
    size = GUMBEL_BITS // 8
    data = random_bytes(n * size)
    samples = np.empty(n, np.int64)
    for i in range(n):
        drawn = 2 * int.from_bytes(data[i * size : (i + 1) * size], "little") + 1
        if drawn >> GUMBEL_BITS:
            rest = (1 << (GUMBEL_BITS + 1)) - drawn
            exponential = -math.log1p(-math.ldexp(rest, -GUMBEL_BITS - 1))
        else:
            exponential = (GUMBEL_BITS + 1) * math.log(2) - math.log(drawn)
        samples[i] = round(Fraction(-math.log(exponential)) * scale)
    return samples
