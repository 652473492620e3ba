"""The samplers: tables and edge inputs in exact arithmetic, distributions by statistics."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import SupportsInt

import numpy as np
import pytest
from scipy import stats

from mpc.errors import MpcError
from mpc.noise.in_the_clear import (
    GUMBEL_RANGE,
    PER_SAMPLE_DELTA,
    gaussian_bound,
    gaussian_thresholds,
    gumbel_error,
    sample_gaussian,
    sample_gumbel,
)
from mpc.session.keystream import Keystream
from tests.support.secure.decimals import as_decimal, gaussian_weights

VARIANCES = [Fraction(1, 4), Fraction(1), Fraction(7, 3), Fraction(4), Fraction(150)]


def thresholds(sigma2: Fraction) -> list[int]:
    high, low = gaussian_thresholds(sigma2)
    return [(int(h) << 64) + int(v) for h, v in zip(high, low, strict=True)]


def exact_cumulative(sigma2: Fraction, n_values: int, n_terms: int) -> list[Decimal]:
    """P[|X| <= a] for a < n_values with 90 digits, normalised over |X| < n_terms."""
    with localcontext() as context:
        context.prec = 90
        zero, *others = gaussian_weights(sigma2, range(n_terms))
        weights = [zero, *(2 * weight for weight in others)]
        total = sum(weights)
        running, result = Decimal(0), []
        for weight in weights[:n_values]:
            running += weight
            result.append(running / total)
        return result


@pytest.mark.parametrize("sigma2", VARIANCES, ids=str)
def test_table_is_the_exact_distribution(sigma2: Fraction) -> None:
    table = thresholds(sigma2)
    bound = gaussian_bound(sigma2)
    assert len(table) == bound
    with localcontext() as context:
        context.prec = 90
        truncated = exact_cumulative(sigma2, bound, bound + 1)
        assert all(abs(t - p * 2**128) <= 2 for t, p in zip(table, truncated, strict=True))
        ideal = exact_cumulative(sigma2, bound, 3 * bound + 30)
        worst = max(abs(t / Decimal(2**128) - p) for t, p in zip(table, ideal, strict=True))
        assert worst < as_decimal(PER_SAMPLE_DELTA) / 2


@pytest.mark.parametrize("sigma2", VARIANCES, ids=str)
def test_table_rises_and_stays_below_one(sigma2: Fraction) -> None:
    table = thresholds(sigma2)
    assert all(a <= b for a, b in pairwise(table))
    assert table[0] > 0
    assert table[-1] < 2**128


@pytest.mark.parametrize("sigma2", [Fraction(0), Fraction(-1), Fraction(2**40 + 1)])
def test_impossible_variances_are_refused(sigma2: Fraction) -> None:
    with pytest.raises(MpcError, match="outside"):
        gaussian_thresholds(sigma2)


class Script:
    """Random bytes that the test chose; every request must have the scripted size."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)

    def __call__(self, n_bytes: int) -> bytes:
        part = self.parts.pop(0)
        assert len(part) == n_bytes
        return part


def word(value: SupportsInt) -> bytes:
    return int(value).to_bytes(8, "little")


def test_extreme_draws() -> None:
    bound = gaussian_bound(Fraction(4))
    script = Script(word(0) + word(2**64 - 1), word(2**64 - 1), b"\x00")
    assert sample_gaussian(2, Fraction(4), script).tolist() == [0, bound]
    assert script.parts == []


@pytest.mark.parametrize("position", [0, 1, 5, 12])
def test_a_draw_on_a_threshold_takes_64_more_bits(position: int) -> None:
    high, low = gaussian_thresholds(Fraction(4))
    for second, expected in [
        (0, position),
        (int(low[position]) - 1, position),
        (int(low[position]), position + 1),
        (2**64 - 1, position + 1),
    ]:
        script = Script(word(high[position]), word(second), b"\x00")
        assert sample_gaussian(1, Fraction(4), script).tolist() == [expected]
        assert script.parts == []


def test_equal_upper_words_of_the_tail() -> None:
    high, low = gaussian_thresholds(Fraction(4))
    first = int(np.searchsorted(high, high[-1], side="left"))
    assert len(high) - first > 2, "the tail of this table has equal upper words"
    for second in [0, int(low[first]), int(low[first + 1]) - 1, int(low[-1]), 2**64 - 1]:
        drawn = (int(high[-1]) << 64) + second
        expected = sum(t <= drawn for t in thresholds(Fraction(4)))
        script = Script(word(high[-1]), word(second), b"\x00")
        assert sample_gaussian(1, Fraction(4), script).tolist() == [expected]


def test_signs_are_one_fair_bit_each() -> None:
    draws = Keystream(b"s" * 32, b"draws").read(8 * 40)
    positive = sample_gaussian(40, Fraction(9), Script(draws, bytes(5)))
    negative = sample_gaussian(40, Fraction(9), Script(draws, b"\xff" * 5))
    assert np.array_equal(positive, -negative)
    assert (positive >= 0).all()


def exact_gumbel(drawn: int) -> Decimal:
    """-ln(-ln U) for U = (drawn + 1/2) 2^-256 with 140 digits."""
    with localcontext() as context:
        context.prec = 140
        uniform = Decimal(2 * drawn + 1) / Decimal(2**257)
        return -(-uniform.ln()).ln()


def gumbel_inputs() -> list[int]:
    top, half = 2**256 - 1, 2**255
    edges = [0, 1, 2, top, top - 1, half, half - 1, half + 1, half - 2**200, half + 2**200]
    edges += [2**i for i in range(0, 256, 17)] + [top - 2**i for i in range(0, 256, 17)]
    stream = Keystream(b"g" * 32, b"gumbel")
    random = [int.from_bytes(stream.read(32), "little") for _ in range(60)]
    near_half = [half - 1 - int.from_bytes(stream.read(31), "little") for _ in range(60)]
    return edges + random + near_half


@pytest.mark.parametrize("fraction_bits", [24, 52])
def test_gumbel_is_within_its_error(fraction_bits: int) -> None:
    drawn = gumbel_inputs()
    data = b"".join(r.to_bytes(32, "little") for r in drawn)
    samples = sample_gumbel(len(drawn), fraction_bits, Script(data))
    error = gumbel_error(fraction_bits)
    for r, sample in zip(drawn, samples.tolist(), strict=True):
        with localcontext() as context:
            context.prec = 140
            difference = abs(Decimal(sample) / Decimal(2**fraction_bits) - exact_gumbel(r))
            assert difference <= as_decimal(error), r
        assert abs(sample) < GUMBEL_RANGE << fraction_bits


# Statistics. Draws are a fixed stream, so every outcome below is reproducible; the error rate that
# a fresh stream would have is ERROR_RATE per test.
ERROR_RATE = 1e-6
N_DRAWS = 400_000
SIGMAS = [1, 2, 3.3, 7, 20, 45, 91]


def gaussian_p_value(sigma: float, true_sigma: float) -> float:
    """Chi-square p-value of samples of width `true_sigma` against the pmf of `sigma`."""
    stream = Keystream(b"n" * 32, f"{true_sigma}".encode())
    sigma2 = Fraction(true_sigma).limit_denominator(10**6) ** 2
    samples = sample_gaussian(N_DRAWS, sigma2, stream.read)
    reach = math.ceil(8 * sigma)
    values = np.arange(-reach, reach + 1)
    pmf = np.exp(-(values**2) / (2 * sigma**2))
    pmf /= pmf.sum()
    width = max(1, round(sigma / 4))
    groups = (values + reach) // width
    expected = np.bincount(groups, pmf) * N_DRAWS
    clipped = np.clip(samples, -reach, reach)
    observed = np.bincount((clipped + reach) // width, minlength=len(expected))
    keep = expected >= 10
    observed = np.append(observed[keep], observed[~keep].sum())
    expected = np.append(expected[keep], expected[~keep].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    return float(stats.chi2.sf(statistic, len(expected) - 1))


@pytest.mark.statistical
@pytest.mark.parametrize("sigma", SIGMAS)
def test_gaussian_passes_chi_square(sigma: float) -> None:
    assert gaussian_p_value(sigma, sigma) > ERROR_RATE


@pytest.mark.statistical
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_a_width_off_by_three_percent_is_rejected(sigma: float, factor: float) -> None:
    assert gaussian_p_value(sigma, sigma * factor) < ERROR_RATE


def gumbel_p_value(scale: float) -> float:
    stream = Keystream(b"n" * 32, b"ks")
    samples = sample_gumbel(400_000, 24, stream.read) / 2.0**24
    return float(stats.kstest(samples * scale, "gumbel_r").pvalue)


@pytest.mark.statistical
def test_gumbel_passes_kolmogorov_smirnov() -> None:
    assert gumbel_p_value(1.0) > ERROR_RATE


@pytest.mark.statistical
@pytest.mark.parametrize("scale", [0.97, 1.03])
def test_a_gumbel_off_by_three_percent_is_rejected(scale: float) -> None:
    assert gumbel_p_value(scale) < ERROR_RATE
