"""Jointly sampled Gaussians: exact plans, exact tables, exact distributions, claimed bounds."""

import math
import random
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.arrays import Array
from mpc.errors import MpcError
from mpc.noise.coins import TABLE_BITS, WORD
from mpc.noise.gaussian import (
    BASE_VARIANCE,
    CHUNK_SAMPLES,
    MAX_VARIANCE,
    MEASURE_DELTA,
    MEASURE_LOSS,
    SMOOTHING,
    WIDEST_TABLE,
    WIDTH_BOUND,
    Term,
    magnitude_bound,
    plan,
    sample_delta,
    sample_gaussian_shares,
    sample_loss,
    thresholds,
    variance,
)
from mpc.noise.sources import JointNoise
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.replicated import Algebra, Share, ring
from tests.support.secure.decimals import as_decimal, gaussian_weights
from tests.support.secure.sessions import STRUCTURES, deal, reveal, run_step
from tests.support.secure.words import planes_of

Probabilities = dict[int, Decimal]
AWKWARD = [
    Fraction(1),
    Fraction(10**12 + 1, 10**12),
    Fraction(4, 3),
    Fraction(WIDEST_TABLE),
    WIDEST_TABLE + Fraction(1, 10**30),
    BASE_VARIANCE,
    Fraction(55),
    Fraction(935),
    Fraction(374_935),
    374_935 + Fraction(1, 7),
    Fraction(2**61 - 1, 2**40 + 15),
    Fraction(91**2),
    Fraction(10**9),
    MAX_VARIANCE - Fraction(1, 3),
    Fraction(MAX_VARIANCE),
]


def log_grid(n: int, top: int) -> list[Fraction]:
    """Rationals from 1 to `top`, spread evenly on a logarithmic scale."""
    return [Fraction(math.exp(i / n * math.log(top))).limit_denominator(10**6) for i in range(n)]


def is_proved(terms: Sequence[Term]) -> bool:
    """Whether the sum can be bracketed into steps X + z W that all have s^2 >= SMOOTHING.

    Every way to cut the terms in two is tried. Each of the len(terms) - 1 steps has the claimed
    ratio, whichever brackets the plan had in mind.
    """
    if len(terms) == 1:
        return terms[0].coefficient == 1
    for cut in range(1, len(terms)):
        narrow, wide = terms[:cut], terms[cut:]
        z = wide[0].coefficient
        if any(t.coefficient % z for t in wide):
            continue
        scaled = tuple(Term(t.coefficient // z, t.variance) for t in wide)
        v, w = variance(narrow), variance(scaled)
        smooth = v * w / (v + z * z * w) >= SMOOTHING
        if smooth and is_proved(narrow) and is_proved(scaled):
            return True
    return False


def check_plan(sigma2: Fraction) -> None:
    terms = plan(sigma2)
    assert variance(terms) == sigma2
    assert all(1 <= t.variance <= WIDEST_TABLE for t in terms)
    assert is_proved(terms)
    assert sample_delta(terms) <= MEASURE_DELTA
    assert sample_loss(terms) <= MEASURE_LOSS
    assert sample_loss(terms) == Fraction(len(terms) - 1, 2**59)
    assert magnitude_bound(terms) ** 2 <= WIDTH_BOUND**2 * sigma2
    assert magnitude_bound(terms) <= JointNoise().gaussian_bound(sigma2)


@pytest.mark.parametrize("sigma2", AWKWARD, ids=lambda s: f"{float(s):.17g}")
def test_plan_of_an_awkward_variance(sigma2: Fraction) -> None:
    check_plan(sigma2)


def test_plans_over_the_whole_range() -> None:
    for sigma2 in log_grid(300, 10**6) + log_grid(20, MAX_VARIANCE):
        check_plan(sigma2)


@pytest.mark.slow
def test_plans_on_a_dense_grid() -> None:
    for sigma2 in log_grid(3000, MAX_VARIANCE):
        check_plan(sigma2)


@given(st.fractions(1, 10**5, max_denominator=10**9))
@settings(max_examples=60)
def test_plan_of_any_variance(sigma2: Fraction) -> None:
    check_plan(sigma2)


@pytest.mark.parametrize(
    "sigma2", [Fraction(0), Fraction(-3), Fraction(999, 1000), MAX_VARIANCE + Fraction(1, 10**9)]
)
def test_a_variance_out_of_range_is_refused(sigma2: Fraction) -> None:
    with pytest.raises(MpcError, match="outside"):
        plan(sigma2)
    with pytest.raises(MpcError, match="outside"):
        run_step((3, 1), lambda ch: sample_gaussian_shares(ch, ring(32), 1, sigma2))


# Distributions, to 50 digits.


def ideal(sigma2: Fraction, reach: int) -> Probabilities:
    """The probabilities of -reach .. reach under N_Z(0, sigma2), normalised over far more."""
    far = max(reach, math.ceil(16 * math.sqrt(sigma2)) + 3)
    weights = gaussian_weights(sigma2, range(far + 1))
    total = 2 * sum(weights) - weights[0]
    return {x: weights[abs(x)] / total for x in range(-reach, reach + 1)}


def of_table(table_variance: Fraction) -> Probabilities:
    """The probabilities that a table of thresholds gives."""
    scaled = [1 << TABLE_BITS, *thresholds(table_variance), 0]
    magnitude = [a - b for a, b in pairwise(scaled)]
    unit = Decimal(1 << TABLE_BITS)
    pmf = {0: magnitude[0] / unit}
    for a, weight in enumerate(magnitude[1:], start=1):
        pmf[a] = pmf[-a] = Decimal(weight) / 2 / unit
    return pmf


def combined(terms: Sequence[Term], pmf_of: Callable[[Fraction], Probabilities]) -> Probabilities:
    """The distribution of the sum of coefficient * X."""
    total = {0: Decimal(1)}
    for term in terms:
        one = pmf_of(term.variance)
        result: Probabilities = {}
        for x, p in total.items():
            for y, q in one.items():
                place = x + term.coefficient * y
                result[place] = result.get(place, Decimal(0)) + p * q
        total = result
    return total


def total_variation(target: Probabilities, made: Probabilities) -> Decimal:
    """Half the sum of the differences over the target's values."""
    zero = Decimal(0)
    return sum((abs(p - made.get(x, zero)) for x, p in target.items()), start=zero) / 2


@pytest.mark.parametrize("sigma2", [Fraction(1), Fraction(7, 3), Fraction(11), Fraction(144)])
def test_table_is_the_exact_distribution(sigma2: Fraction) -> None:
    table = thresholds(sigma2)
    with localcontext() as context:
        context.prec = 60
        pmf = ideal(sigma2, len(table) + 5)
        tail = Decimal(1) - pmf[0]
        for a, threshold in enumerate(table):
            assert abs(threshold - tail * 2**TABLE_BITS) <= 1, a
            tail -= 2 * pmf[a + 1]
        assert tail * 2**TABLE_BITS < 1
        made = of_table(sigma2)
        distance = total_variation(pmf, made) + tail
        assert distance <= (len(table) + 1) / Decimal(2**TABLE_BITS)
    assert all(a > b for a, b in pairwise(table))


@pytest.mark.parametrize("sigma", [8, 13, 21, 40])
def test_distribution_of_a_combination(sigma: int) -> None:
    """Ideal base samples: within exp(+-loss), pointwise. Tables: delta more in all."""
    sigma2, reach = Fraction(sigma) ** 2, 10 * sigma
    terms = plan(sigma2)
    assert len(terms) > 1
    with localcontext() as context:
        context.prec = 50
        target = ideal(sigma2, reach)
        made = combined(terms, lambda v: ideal(v, math.ceil(20 * math.sqrt(v))))
        loss = as_decimal(sample_loss(terms)) + Decimal("1e-40")
        worst = max(abs((made[x] / p).ln()) for x, p in target.items())
        assert worst <= loss
        sampled = combined(terms, of_table)
        assert abs(sum(sampled.values(), start=Decimal(-1))) < Decimal("1e-40")
        outside = 1 - sum(target.values())
        distance = total_variation(target, sampled) + outside
        assert distance <= as_decimal(sample_delta(terms)) + worst


def test_negative_control_the_bracketing_notices_a_wide_gap() -> None:
    assert is_proved((Term(1, Fraction(11)), Term(2, Fraction(11))))
    assert not is_proved((Term(1, Fraction(11)), Term(3, Fraction(11))))


def test_too_little_smoothing_breaks_the_pointwise_bound() -> None:
    """Negative control: one step with s^2 = 1 leaves 2^-26, far above the claim."""
    v, z = Fraction(11), 3
    w = v / (v - z * z)  # v w / (v + z^2 w) = 1
    terms = (Term(1, v), Term(z, w))
    with localcontext() as context:
        context.prec = 50
        target = ideal(variance(terms), 30)
        made = combined(terms, lambda u: ideal(u, math.ceil(20 * math.sqrt(u))))
        worst = max(abs((made[x] / p).ln()) for x, p in target.items())
    assert worst > 2**30 * as_decimal(sample_loss(terms))


def test_smoothing_gives_the_claimed_ratio() -> None:
    with localcontext() as context:
        context.prec = 40
        pi = Decimal("3.14159265358979323846264338327950288")
        error = 4 * (-2 * pi * pi * as_decimal(SMOOTHING)).exp()
        assert error < Decimal(2) ** -60


# The circuit, for scripted uniform values.


def scripted_planes(shape: tuple[int, ...], values: Sequence[int]) -> Array:
    """Planes (4, 18, n_words) of 72-bit values, or (1, n_words) of signs."""
    if len(shape) == 2:
        return planes_of(values, shape[0])
    n_bits, n_digits, _ = shape
    return planes_of(values, n_bits * n_digits).reshape(n_digits, n_bits, -1).swapaxes(0, 1)


@pytest.mark.parametrize("mt", STRUCTURES)
@pytest.mark.parametrize("sigma2", [Fraction(1), Fraction(9), Fraction(169), Fraction(1600)])
def test_samples_are_the_table_entries_of_the_uniform_values(
    mt: tuple[int, int], sigma2: Fraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table value with either sign, combined with the coefficients, signed in the ring."""
    terms, n = plan(sigma2), 128
    groups: dict[Fraction, list[Term]] = {}
    for term in terms:
        groups.setdefault(term.variance, []).append(term)
    generator, drawn = random.Random(5), {}
    for v, group in groups.items():
        table = [*thresholds(v), 0]
        magnitudes = [i % len(table) for i in range(n)] + [
            generator.randrange(len(table)) for _ in range(n * (len(group) - 1))
        ]
        uniform = [table[a] + generator.choice([0, 1]) * (table[a] < table[a - 1] - 1 or a == 0)
                   for a in magnitudes]  # fmt: skip
        signs = [generator.getrandbits(1) for _ in magnitudes]
        drawn[v] = magnitudes, uniform, signs
    waiting: dict[tuple[int, bool], list[Fraction]] = {}

    def dealt(channel: Channel, algebra: Algebra, shape: tuple[int, ...]) -> Share:
        assert algebra == WORD
        pid, is_sign = channel.pid, len(shape) == 2
        queue = waiting.setdefault((pid, is_sign), list(groups))
        entry = drawn[queue.pop(0)]
        planes = scripted_planes(shape, entry[2] if is_sign else entry[1])
        return deal(AccessStructure(*mt), WORD, planes, 3)[pid]

    monkeypatch.setattr("mpc.noise.coins.random_share", dealt)
    monkeypatch.setattr("mpc.noise.gaussian.random_share", dealt)
    shares = run_step(mt, lambda ch: sample_gaussian_shares(ch, ring(20), n, sigma2))
    opened = reveal(shares).astype(np.int64)
    signed = opened - ((opened >> 19) << 20)
    expected = np.zeros(n, np.int64)
    for v, group in groups.items():
        magnitudes, _, signs = drawn[v]
        values = np.where(signs, -np.array(magnitudes), magnitudes).reshape(len(group), n)
        for term, row in zip(group, values, strict=True):
            expected += term.coefficient * row
    order = np.arange(n).reshape(-1, 64).T.reshape(-1)  # bit r of word c is value r n_words + c
    assert np.array_equal(signed, expected[order])


@pytest.mark.parametrize("n", [1, 63, 64, 65, CHUNK_SAMPLES, CHUNK_SAMPLES + 1])
def test_any_number_of_samples(n: int) -> None:
    shares = run_step((3, 1), lambda ch: sample_gaussian_shares(ch, ring(16), n, Fraction(9)))
    opened = reveal(shares).astype(np.int64)
    signed = opened - ((opened >> 15) << 16)
    assert signed.shape == (n,)
    assert np.abs(signed).max() <= magnitude_bound(plan(Fraction(9)))
    if n > 1000:
        assert abs(signed.mean()) < 10 * 3 / math.sqrt(n)
        assert 7.5 < signed.var() < 10.5  # 7 standard errors
        assert len(np.unique(signed[:64] - signed[64:128])) > 1
