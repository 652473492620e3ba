"""Jointly sampled discrete Gaussian noise of the asked variance, known to no party.

Base samples N_Z(0, s^2) of small width come from a 72-bit cumulative table by shared comparisons.
Wider ones are integer combinations of base samples (Micciancio, Walter, CRYPTO 2017): for
X ~ N_Z(0, v) and W ~ N_Z(0, w), X + z W is within 1 +- 4 exp(-2 pi^2 s^2) of N_Z(0, v + z^2 w),
pointwise, with s^2 = v w / (v + z^2 w). Every step here has s^2 >= `SMOOTHING`; the last width is
chosen so that the variance comes out exactly as asked (docs/protocol.md has the proofs).
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from mpc.errors import MpcError
from mpc.noise.coins import TABLE_BITS, WORD, below_thresholds, random_share
from mpc.noise.in_the_clear import magnitude_weights
from mpc.session.channel import Channel
from mpc.shares.circuits import count_flags
from mpc.shares.conversion import weighted_bit_sum
from mpc.shares.replicated import Algebra, Share, concatenate

BASE_VARIANCE = Fraction(11)
SMOOTHING = Fraction(11, 5)
WIDEST_TABLE = 144
MIN_VARIANCE = 1
MAX_VARIANCE = 10**10
# Bounds on sample_delta, sample_loss and magnitude_bound / sigma for every plan; a test goes
# through the whole range.
MEASURE_DELTA = Fraction(1, 2**62)
MEASURE_LOSS = Fraction(1, 2**55)
WIDTH_BOUND = 40
CHUNK_SAMPLES = 1 << 12

# Each step squares the width: X + z X' with X, X' of the same kind and the largest allowed z.
_DOUBLING = (2, 4, 20)


@dataclass(frozen=True)
class Term:
    """coefficient * X with X ~ N_Z(0, variance), sampled from a table."""

    coefficient: int
    variance: Fraction


def _doubled(n_steps: int) -> tuple[Term, ...]:
    """Return the combination of 2^n base samples after n doubling steps."""
    terms = [Term(1, BASE_VARIANCE)]
    for z in _DOUBLING[:n_steps]:
        terms += [Term(z * term.coefficient, term.variance) for term in terms]
    return tuple(terms)


def variance(terms: Sequence[Term]) -> Fraction:
    """Return the exact variance parameter of a combination."""
    return sum((t.coefficient**2 * t.variance for t in terms), start=Fraction(0))


@lru_cache(maxsize=256)
def thresholds(table_variance: Fraction) -> tuple[int, ...]:
    """Return floor(2^72 P[|X| > a]) for a = 0, 1, ... as long as it is not 0."""
    weights = magnitude_weights(table_variance)
    total = sum(weights)
    tails, tail = [], total
    for weight in weights:
        tail -= weight
        threshold = (tail << TABLE_BITS) // total
        if threshold == 0:
            break
        tails.append(threshold)
    return tuple(tails)


def _n_ands(terms: Sequence[Term]) -> int:
    """Return roughly the ANDs per sample: what `plan` minimises."""
    return sum(209 + 22 * len(thresholds(term.variance)) for term in terms)


@lru_cache(maxsize=256)
def plan(sigma2: Fraction) -> tuple[Term, ...]:
    """Return base samples and coefficients whose combination has variance sigma2 exactly.

    Raises MpcError: sigma2 is outside [MIN_VARIANCE, MAX_VARIANCE].
    """
    check_variance(sigma2)
    return _plan(sigma2)


def check_variance(sigma2: Fraction) -> None:
    """Refuse a variance outside [MIN_VARIANCE, MAX_VARIANCE] with an MpcError."""
    if not MIN_VARIANCE <= sigma2 <= MAX_VARIANCE:
        raise MpcError(
            f"a noise variance of {float(sigma2):g} is outside [{MIN_VARIANCE}, {MAX_VARIANCE:g}], "
            "where joint noise has proved bounds: take a larger epsilon or fewer rounds"
        )


def _plan(sigma2: Fraction) -> tuple[Term, ...]:
    options: list[tuple[Term, ...]] = []
    if sigma2 <= WIDEST_TABLE:
        options.append((Term(1, sigma2),))
    for n_steps in range(len(_DOUBLING) + 1):
        narrow = _doubled(n_steps)
        v = variance(narrow)
        if sigma2 <= v:
            break
        # s^2 = v w / sigma2 >= SMOOTHING and v + z^2 w = sigma2 bound the largest z.
        z = math.isqrt(math.floor(v * (sigma2 - v) / (SMOOTHING * sigma2)))
        if z >= 1:
            wide = _plan((sigma2 - v) / z**2)
            options.append((*narrow, *(Term(z * t.coefficient, t.variance) for t in wide)))
    return min(options, key=_n_ands)


def sample_delta(terms: Sequence[Term]) -> Fraction:
    """Return a bound on what the tables add to a sample's statistical distance from its ideal.

    A table with c thresholds is off by at most (c + 1) 2^-72.
    """
    return Fraction(sum(len(thresholds(t.variance)) + 1 for t in terms), 2**TABLE_BITS)


def sample_loss(terms: Sequence[Term]) -> Fraction:
    """Return a bound on |ln| of the ratio that the combination steps put on any probability.

    Each of at most len(terms) - 1 steps has a ratio within 1 +- 2^-60, since
    4 exp(-2 pi^2 11/5) < 2^-60.
    """
    return Fraction(len(terms) - 1, 2**59)


def magnitude_bound(terms: Sequence[Term]) -> int:
    """Return the largest magnitude of a sample."""
    return sum(t.coefficient * len(thresholds(t.variance)) for t in terms)


async def _table_bits(channel: Channel, table_variance: Fraction, n_words: int) -> Share:
    """Return samples of N_Z(0, table_variance) as planes of V with X = V + sign.

    The magnitude's bits are sums of the indicators [|X| > a], so they cost nothing more. With a
    random sign, V is the magnitude, all bits inverted where the sign is 1: in two's complement
    V = -|X| - 1 there, so that X = V + sign either way.

    Returns a bit share `(n_bits + 1, n_words)`: low bits of V, then the sign.
    """
    table = thresholds(table_variance)
    n_bits = len(table).bit_length()
    above = await below_thresholds(channel, table, n_words)
    sign = random_share(channel, WORD, (1, n_words))
    return concatenate([count_flags(above, n_bits) ^ sign, sign])


def _bit_weights(term: Term) -> list[int]:
    n_bits = len(thresholds(term.variance)).bit_length()
    signed = [1 << j for j in range(n_bits)] + [1 - (1 << n_bits)]
    return [term.coefficient * weight for weight in signed]


async def _sample_chunk(
    channel: Channel, algebra: Algebra, terms: Sequence[Term], n_words: int, rotation: int
) -> Share:
    by_variance: dict[Fraction, list[Term]] = {}
    for term in terms:
        by_variance.setdefault(term.variance, []).append(term)
    pieces = channel.fork(len(by_variance))
    sampled = await asyncio.gather(
        *(
            _table_bits(piece, table_variance, len(group) * n_words)
            for piece, (table_variance, group) in zip(pieces, by_variance.items(), strict=True)
        )
    )
    channel.join(pieces)
    planes, weights = [], []
    for group, bits in zip(by_variance.values(), sampled, strict=True):
        for k, term in enumerate(group):
            planes.append(bits[:, k * n_words : (k + 1) * n_words])
            weights += _bit_weights(term)
    return await weighted_bit_sum(
        channel, concatenate(planes), algebra.elements(weights), algebra, rotation
    )


async def sample_gaussian_shares(
    channel: Channel, algebra: Algebra, n: int, sigma2: Fraction
) -> Share:
    """Return shared samples of N_Z(0, sigma2), known to no party.

    `algebra`: ring whose k bits hold `magnitude_bound(plan(sigma2))` with a sign. `n`: number of
    samples. `sigma2`: variance parameter, between 1 and 10^10.

    Returns a ring share `(n,)`.

    Reveals: nothing.
    Cost: 10 rounds for t = 1; sigma = 91: about 4,700 ANDs and 33 ring elements per sample in all.
    """
    terms = plan(sigma2)

    async def sample(piece: Channel, chunk: slice, number: int) -> Share:
        n_words = -(-(chunk.stop - chunk.start) // 64)
        return await _sample_chunk(piece, algebra, terms, n_words, number)

    return concatenate(await channel.in_chunks(n, CHUNK_SAMPLES, sample, at_once=n))[:n]
