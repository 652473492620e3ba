"""Jointly sampled Gumbels: the digits' probabilities, the tables, the error of the logarithm."""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from mpc.arrays import Array, Integers
from mpc.errors import MpcError
from mpc.noise.coins import WORD
from mpc.noise.gumbel import (
    COIN_BITS,
    FRACTION_BITS,
    GUMBEL_BOUND,
    GUMBEL_DELTA,
    GUMBEL_ERROR,
    INDEX_BITS,
    LOW_DIGIT,
    MANTISSA_BITS,
    MAX_CANDIDATES,
    N_DIGITS,
    N_RARE,
    RARE_BITS,
    REST_BITS,
    SHIFTS,
    SLOPE_BITS,
    TOP_DIGIT,
    WORK_FRACTION,
    digit_thresholds,
    sample_gumbel_shares,
    secant_table,
)
from mpc.noise.sources import JointNoise
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.replicated import Share, ring
from tests.support.secure.decimals import as_decimal
from tests.support.secure.sessions import STRUCTURES, deal, reveal, run_step

LOWEST = N_DIGITS - 1 - TOP_DIGIT  # E is a multiple of 2^-154
N_SHIFTED = sum(SHIFTS)


def exact(digits: int) -> Decimal:
    """-ln E with 60 digits, for the integer whose binary digits are E's."""
    with localcontext() as context:
        context.prec = 60
        return -(Decimal(digits).ln() - LOWEST * Decimal(2).ln())


def twin(digits: int) -> int:
    """What the circuit has to compute, in integers; `digits` is at least 2^32."""
    shift = N_DIGITS - digits.bit_length()
    mantissa = (digits << shift) >> (N_DIGITS - 1 - MANTISSA_BITS) & ((1 << MANTISSA_BITS) - 1)
    total = int(secant_values(np.array([mantissa]))[0])
    for step in SHIFTS:
        if shift & step:
            total += round(step * math.log(2) * (1 << WORK_FRACTION))
    offset = round((TOP_DIGIT + 1) * math.log(2) * (1 << FRACTION_BITS))
    return (total >> (WORK_FRACTION - FRACTION_BITS)) - offset


def secant_values(mantissas: Integers) -> Integers:
    """ln 2 - ln(1 + u) in units of 2^-28 as the partial products that are kept give it."""
    values, slopes = secant_table()
    index = mantissas >> REST_BITS
    rest = ~mantissas & ((1 << REST_BITS) - 1)
    slope = slopes[index]
    dropped = SLOPE_BITS + MANTISSA_BITS - WORK_FRACTION
    low = np.zeros_like(mantissas)
    for j in range(dropped):
        low += ((rest >> j & 1) * (slope & ((1 << (dropped - j)) - 1))) << j
    kept: Integers = values[index] + ((slope * rest - low) >> dropped)
    return kept


def open_gumbels(
    monkeypatch: pytest.MonkeyPatch, mt: tuple[int, int], numbers: Sequence[int]
) -> Integers:
    """Run the circuit on scripted digits of E; return signed values in units of 2^-24."""
    n_words = -(-len(numbers) // 64)
    planes = np.zeros((N_DIGITS, n_words), np.uint64)
    for i, number in enumerate(numbers):
        for j in range(N_DIGITS):
            bit = np.uint64(number >> (N_DIGITS - 1 - j) & 1)
            planes[j, i % n_words] |= bit << np.uint64(i // n_words)

    async def scripted(channel: Channel, words: int) -> Share:
        assert words == n_words
        return deal(AccessStructure(*mt), WORD, planes, 5)[channel.pid]

    monkeypatch.setattr("mpc.noise.gumbel._exponential_digits", scripted)
    return sampled(mt, len(numbers))


def sampled(mt: tuple[int, int], n: int) -> Integers:
    shares = run_step(mt, lambda ch: sample_gumbel_shares(ch, ring(64), n, FRACTION_BITS))
    return reveal(shares).astype(np.int64)


def with_leading_one(place: int, behind: int) -> int:
    """Digits of E with the first one at `place` (0 is 2^5), then the given 24, then ones."""
    tail = N_DIGITS - 1 - place
    number = 1 << tail
    return number | (behind << (tail - MANTISSA_BITS)) | ((1 << (tail - MANTISSA_BITS)) - 1)


def edge_numbers(places: Iterable[int], n_random: int) -> Iterator[int]:
    generator = random.Random(4)
    ones = (1 << MANTISSA_BITS) - 1
    edges = [0, ones, 1, 1 << (MANTISSA_BITS - 1), 0xAAAAAA, 0x555555, (1 << REST_BITS) - 1]
    for place in places:
        for behind in edges + [generator.randrange(ones) for _ in range(n_random)]:
            yield with_leading_one(place, behind)
            yield (1 << (N_DIGITS - 1 - place)) | generator.getrandbits(N_DIGITS - 1 - place)
    yield (1 << N_DIGITS) - 1


def check_errors(numbers: Sequence[int], opened: Integers) -> None:
    bound = as_decimal(GUMBEL_ERROR)
    for number, value in zip(numbers, opened.tolist(), strict=True):
        assert value == twin(number), hex(number)
        assert abs(Decimal(value) / 2**FRACTION_BITS - exact(number)) <= bound, hex(number)
        assert abs(value) < GUMBEL_BOUND << FRACTION_BITS


def test_every_leading_place_is_within_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = list(edge_numbers(range(N_SHIFTED + 1), 2))
    check_errors(numbers, open_gumbels(monkeypatch, (3, 1), numbers))


@pytest.mark.parametrize("mt", STRUCTURES[1:])
def test_more_parties_compute_the_same(
    mt: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = list(edge_numbers([0, 1, 5, 6, 60, 127], 1))
    check_errors(numbers, open_gumbels(monkeypatch, mt, numbers))


@pytest.mark.parametrize("segments", [range(512), range(512, 1024)])
def test_every_segment_is_within_the_error(
    segments: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ends and two inner places of every segment, just below 2^0."""
    rests = (0, (1 << REST_BITS) - 1, 1 << (REST_BITS - 1), 0x1555)
    numbers = [with_leading_one(6, (h << REST_BITS) | r) for h in segments for r in rests]
    check_errors(numbers, open_gumbels(monkeypatch, (3, 1), numbers))


def test_numbers_too_small_to_occur_stay_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """E < 2^-122 has no claimed error, only a bound: the ring must not wrap."""
    numbers = [0, 1, 2**31, 2**32 - 1, 2**20 + 5]
    opened = open_gumbels(monkeypatch, (3, 1), numbers)
    assert (np.abs(opened) < GUMBEL_BOUND << FRACTION_BITS).all()


def mantissa_errors(mantissas: Integers) -> tuple[Array, Array]:
    """Bounds over what follows the mantissa of the error of ln 2 - ln(1 + u), from both sides."""
    made = secant_values(mantissas) / 2.0**WORK_FRACTION
    first = np.log(2) - np.log1p(mantissas / 2.0**MANTISSA_BITS)
    last = np.log(2) - np.log1p((mantissas + 1) / 2.0**MANTISSA_BITS)
    return made - first, made - last


def other_errors() -> tuple[float, float]:
    """The ln 2 constants, each rounded, and the final truncation, which only lowers."""
    constants = [step * math.log(2) for step in SHIFTS]
    rounding = sum(abs(round(c * 2**28) / 2**28 - c) for c in constants)
    offset = (TOP_DIGIT + 1) * math.log(2)
    rounding += abs(round(offset * 2**FRACTION_BITS) / 2**FRACTION_BITS - offset)
    return rounding, 2.0**-FRACTION_BITS - 2.0**-WORK_FRACTION


def check_mantissas(mantissas: Integers) -> float:
    """Worst case plus the rest stays below eta, with room for the density ratio's share."""
    low, high = mantissa_errors(mantissas)
    rounding, truncation = other_errors()
    density_share = MAX_CANDIDATES * 2.0**-48
    eta = float(GUMBEL_ERROR) - density_share
    assert low.min() - rounding - truncation >= -eta
    assert high.max() + rounding <= eta
    return float(min(low.min() - truncation, -high.max())) - rounding


def test_the_worst_mantissas_leave_room() -> None:
    rests = np.unique(np.concatenate([np.arange(0, 1 << REST_BITS, 97), [0, (1 << REST_BITS) - 1]]))
    every = (np.arange(1 << INDEX_BITS)[:, np.newaxis] << REST_BITS) + rests
    worst = check_mantissas(every.ravel())
    assert worst < -float(GUMBEL_ERROR) / 3, "the claimed error is not far from the true one"


@pytest.mark.slow
def test_all_mantissas_leave_room() -> None:
    for start in range(0, 1 << MANTISSA_BITS, 1 << 20):
        check_mantissas(np.arange(start, start + (1 << 20)))


def test_digit_probabilities_have_the_claimed_relative_error() -> None:
    thresholds = digit_thresholds()
    assert len(thresholds) == TOP_DIGIT - LOW_DIGIT + 1
    assert all(a < b for a, b in pairwise(thresholds[N_RARE:]))
    total = Decimal(0)
    with localcontext() as context:
        context.prec = 80
        for place, threshold in enumerate(thresholds):
            n_bits = RARE_BITS if place < N_RARE else COIN_BITS
            made = Decimal(threshold) / Decimal(2**n_bits)
            ideal = 1 / (1 + (Decimal(2) ** (TOP_DIGIT - place)).exp())
            error = max(abs(made / ideal - 1), abs((1 - made) / (1 - ideal) - 1))
            assert error < Decimal(2) ** -57, place
            total += error
        # All coins and the uniform digits below 2^-48: a density ratio within 1 +- 2^-47.
        assert total + Decimal(2) ** LOW_DIGIT < Decimal(2) ** -47


def test_what_the_ideal_exponential_rarely_does_is_in_delta() -> None:
    too_large = math.exp(-(2.0 ** (TOP_DIGIT + 1)))
    too_small = 2.0 ** (TOP_DIGIT - N_SHIFTED)
    assert too_large + too_small <= float(GUMBEL_DELTA)


def test_secant_table_is_monotone_and_exact() -> None:
    values, slopes = secant_table()
    n = 1 << INDEX_BITS
    assert (np.diff(values) < 0).all()
    assert values[-1] == 0
    assert (np.diff(slopes) <= 0).all()
    assert 0 <= values.min() <= values.max() < 1 << WORK_FRACTION
    assert 1 << (SLOPE_BITS - 1) <= slopes.min() <= slopes.max() < 1 << SLOPE_BITS
    ends = np.log1p(np.arange(n + 1) / n)
    assert np.abs(values / 2**WORK_FRACTION - (np.log(2) - ends[1:])).max() <= 2.0**-29 + 1e-15
    assert np.abs(slopes / 2**SLOPE_BITS - np.diff(ends) * n).max() <= 2.0**-13 + 1e-12


def test_public_bounds() -> None:
    noise = JointNoise()
    assert noise.gumbel_bound(FRACTION_BITS) == GUMBEL_BOUND << FRACTION_BITS
    assert noise.costs.gumbel_eta == GUMBEL_ERROR == Fraction(1, 2**21)
    assert (N_SHIFTED + 1) * math.log(2) - (TOP_DIGIT + 1) * math.log(2) < GUMBEL_BOUND


@pytest.mark.parametrize(("n", "fraction_bits"), [(5, 23), (5, 25), (MAX_CANDIDATES + 1, 24)])
def test_what_has_no_proof_is_refused(n: int, fraction_bits: int) -> None:
    with pytest.raises(MpcError, match="proved error"):
        run_step((3, 1), lambda ch: sample_gumbel_shares(ch, ring(64), n, fraction_bits))


@pytest.mark.parametrize("n", [1, 64, 65])
def test_any_number_of_samples(n: int) -> None:
    assert sampled((3, 1), n).shape == (n,)


@pytest.mark.parametrize("mt", STRUCTURES)
def test_samples_look_like_gumbels(mt: tuple[int, int]) -> None:
    """Kolmogorov-Smirnov at a rate of 1e-9; scripts above replace the coins, so here they run."""
    samples = sampled(mt, 6000) / 2.0**FRACTION_BITS
    assert stats.kstest(samples, "gumbel_r").pvalue > 1e-9
    assert stats.kstest(samples * 1.5, "gumbel_r").pvalue < 1e-9
