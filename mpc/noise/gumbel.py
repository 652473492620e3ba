"""Jointly sampled Gumbel noise with a proved error, known to no party.

G = -ln E with E ~ Exp(1). On a lattice the binary digits of E are independent: the digit of weight
w is 1 with probability 1 / (1 + e^w) [Dwork et al., EUROCRYPT 2006]. Digits from 2^5 down to 2^-48
are biased coins; those below are uniform bits, which changes probabilities by a factor within
1 +- 2^-48. The logarithm is taken on bit shares: normalise E to 2^j (1 + u), look up a secant of
-ln(1 + u) in a table of 1024 segments, add up.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

import numpy as np

from mpc.arrays import Array
from mpc.errors import MpcError
from mpc.noise.coins import WORD, biased_coins, digit_indicators, random_share
from mpc.noise.in_the_clear import WORK_BITS, fixed_exp
from mpc.session.channel import Channel
from mpc.shares.circuits import add_many, count_flags, invert, look_up, prefix_all
from mpc.shares.conversion import weighted_bit_sum
from mpc.shares.replicated import Algebra, Share, add_public, concatenate, multiply

TOP_DIGIT = 5
LOW_DIGIT = -48
N_RARE = 3
RARE_BITS = 128
COIN_BITS = 64
N_DIGITS = 160
SHIFTS = (64, 32, 16, 8, 4, 2, 1)

INDEX_BITS = 10
REST_BITS = 14
MANTISSA_BITS = INDEX_BITS + REST_BITS
SLOPE_BITS = 12
WORK_FRACTION = 28
WORK_PLANES = WORK_FRACTION + 7
FRACTION_BITS = 24

# docs/protocol.md derives these four.
GUMBEL_ERROR = Fraction(1, 2**21)
GUMBEL_DELTA = Fraction(1, 2**91)
GUMBEL_BOUND = 96
MAX_CANDIDATES = 1 << 16


@lru_cache(maxsize=1)
def digit_thresholds() -> tuple[int, ...]:
    """Return floor(2^b / (1 + e^w)) for w = 2^5, 2^4, ..., 2^-48.

    The three rarest digits have b = 128, the others 64: every probability, of a 1 and of a 0, is
    then off by a factor within 1 +- 2^-57.
    """
    thresholds = []
    for exponent in range(TOP_DIGIT, LOW_DIGIT - 1, -1):
        n_bits = RARE_BITS if exponent > TOP_DIGIT - N_RARE else COIN_BITS
        weight = fixed_exp(Fraction(2) ** exponent)
        thresholds.append((weight << n_bits) // ((1 << WORK_BITS) + weight))
    return tuple(thresholds)


def _scaled_ln(argument: Fraction, fraction_bits: int) -> int:
    """Return ln(argument) in units of 2^-fraction_bits, rounded; the same on every machine."""
    with localcontext() as context:
        context.prec = 50
        ratio = Decimal(argument.numerator) / Decimal(argument.denominator)
        return int((ratio.ln() * 2**fraction_bits).to_integral_value())


@lru_cache(maxsize=1)
def secant_table() -> tuple[Array, Array]:
    """Return per segment h the value ln 2 - ln(1 + (h+1)/1024) and the slope of the secant.

    Units are 2^-28 and 2^-12; both are non-negative.
    """
    n = 1 << INDEX_BITS
    logs = [_scaled_ln(1 + Fraction(h, n), 60) for h in range(n + 1)]

    def rounded(value: int, fraction_bits: int) -> int:
        return (value + (1 << (59 - fraction_bits))) >> (60 - fraction_bits)

    values = [rounded(logs[n] - logs[h + 1], WORK_FRACTION) for h in range(n)]
    slopes = [rounded((logs[h + 1] - logs[h]) * n, SLOPE_BITS) for h in range(n)]
    return np.array(values), np.array(slopes)


async def _exponential_digits(channel: Channel, n_words: int) -> Share:
    """Return the binary digits of E ~ Exp(1), bit share `(160, n_words)`, highest first."""
    thresholds = digit_thresholds()
    pieces = channel.fork(2)
    rare, coins = await asyncio.gather(
        biased_coins(pieces[0], thresholds[:N_RARE], RARE_BITS, n_words),
        biased_coins(pieces[1], thresholds[N_RARE:], COIN_BITS, n_words),
    )
    channel.join(pieces)
    uniform = random_share(channel, WORD, (N_DIGITS - len(thresholds), n_words))
    return concatenate([rare, coins, uniform])


async def _normalise(channel: Channel, digits: Share) -> tuple[Share, Share]:
    """Shift the leading one of E to the front.

    Returns bit shares of the 24 digits behind the leading one, highest first, and of the shift's
    seven digits (64, 32, ..., 1).
    """
    leading = await prefix_all(channel, invert(digits[: 2 * SHIFTS[0] - 1], channel))
    flags = count_flags(leading, len(SHIFTS))[::-1]
    for row, shift in enumerate(SHIFTS):
        n_kept = MANTISSA_BITS + shift
        kept = digits[:n_kept]
        change = kept ^ digits[shift : shift + n_kept]
        digits = kept ^ await multiply(channel, change, flags[row])
    return digits[1:], flags


async def _segment_indicators(channel: Channel, index: Share) -> Share:
    """Return [index = h] for h = 0..1023 of the ten index bits, highest first."""
    n_words = index.shape[1]
    digits = concatenate([index[k][np.newaxis] for k in (3, 7, 2, 6, 1, 5, 0, 4)])
    shape = (4, 2, n_words)
    by_digit = await digit_indicators(channel, digits.map(lambda p: p.reshape(shape), shape))
    upper = await _outer_product(channel, by_digit[:, 0], by_digit[:, 1])
    both = (await multiply(channel, index[8], index[9]))[np.newaxis]
    first, second = index[8][np.newaxis] ^ both, index[9][np.newaxis] ^ both
    neither = invert(first ^ second ^ both, channel)
    lower = concatenate([neither, second, first, both])
    return await _outer_product(channel, upper, lower)


async def _outer_product(channel: Channel, high: Share, low: Share) -> Share:
    n_high, n_low = high.shape[0], low.shape[0]
    left = np.repeat(np.arange(n_high), n_low)
    right = np.tile(np.arange(n_low), n_high)
    return await multiply(channel, high[left], low[right])


async def _secant_addends(channel: Channel, mantissa: Share) -> list[Share]:
    """Return addends whose sum is ln 2 - ln(1 + u) in units of 2^-28.

    With u = (h + 1) 2^-10 - (r + 1) 2^-24 for the complement r of the lower 14 digits, the
    secant of segment h is its right end's value plus slope * r, up to 2^-24.
    """
    indicators = await _segment_indicators(channel, mantissa[:INDEX_BITS])
    values, slopes = secant_table()
    value = look_up(indicators, values, WORK_FRACTION)
    slope = look_up(indicators, slopes, SLOPE_BITS)
    rest = invert(mantissa[INDEX_BITS:][::-1], channel)
    dropped = SLOPE_BITS + MANTISSA_BITS - WORK_FRACTION
    kept = [(i, j) for i in range(SLOPE_BITS) for j in range(max(0, dropped - i), REST_BITS)]
    products = await multiply(channel, slope[[i for i, _ in kept]], rest[[j for _, j in kept]])
    addends = [_spread(value, range(WORK_FRACTION))]
    for i in range(SLOPE_BITS):
        chosen = [k for k, (row, _) in enumerate(kept) if row == i]
        weights = [i + kept[k][1] - dropped for k in chosen]
        addends.append(_spread(products[chosen], weights))
    return addends


def _spread(planes: Share, weights: Sequence[int]) -> Share:
    """Return `(WORK_PLANES, n_words)` planes, the given ones as the bits of these weights."""
    shape = (WORK_PLANES, planes.shape[1])

    def spread(rows: Array) -> Array:
        result = np.zeros(shape, rows.dtype)
        result[list(weights)] = rows
        return result

    return planes.map(spread, shape)


def _shift_addends(flags: Share) -> list[Share]:
    """Return shift * ln 2 as one addend per binary digit of the shift."""
    addends = []
    for row, shift in enumerate(SHIFTS):
        constant = _scaled_ln(Fraction(2**shift), WORK_FRACTION)
        weights = [j for j in range(WORK_PLANES) if constant >> j & 1]
        addends.append(_spread(flags[[row] * len(weights)], weights))
    return addends


async def sample_gumbel_shares(
    channel: Channel, algebra: Algebra, n: int, fraction_bits: int
) -> Share:
    """Return shared standard Gumbel samples in units of 2^-24, known to no party.

    -ln E = -(5 - shift) ln 2 - ln(1 + u); the addends hold this plus 6 ln 2.

    `algebra`: ring with at least 32 bits. `n`: number of samples, at most `MAX_CANDIDATES`.
    `fraction_bits`: has to be 24.

    Returns a ring share `(n,)` of signed integers below `GUMBEL_BOUND` * 2^24 in magnitude.

    Reveals: nothing.
    Cost: 43 rounds for t = 1, about 8,200 ANDs and 31 ring elements per sample.

    Raises MpcError: another precision or too many samples; the bounds would not hold.
    """
    if fraction_bits != FRACTION_BITS or n > MAX_CANDIDATES:
        raise MpcError(
            f"{n} Gumbels with {fraction_bits} fractional bits: at most {MAX_CANDIDATES} with "
            f"{FRACTION_BITS} bits have a proved error"
        )
    n_words = -(-n // 64)
    digits = await _exponential_digits(channel, n_words)
    mantissa, flags = await _normalise(channel, digits)
    addends = _shift_addends(flags) + await _secant_addends(channel, mantissa)
    total = await add_many(channel, addends)
    planes = total[WORK_FRACTION - FRACTION_BITS :]
    weights = (np.uint64(1) << np.arange(planes.shape[0], dtype=np.uint64)).astype(algebra.dtype)
    values = await weighted_bit_sum(channel, planes, weights, algebra)
    offset = _scaled_ln(Fraction(2 ** (TOP_DIGIT + 1)), FRACTION_BITS)
    return add_public(channel, values[:n], algebra.elements([-offset]))
