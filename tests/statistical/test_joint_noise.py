"""Statistics of jointly sampled noise and of the selections it makes.

Every test has error rate `ALPHA` and a fixed number of samples, at which the negative control, a
distribution that is off by 3 %, is rejected: on average it lies so far beyond the rejection bound
that a control escapes at a rate near `ALPHA` too. The noise is that of the real streams, fresh in
every run.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from scipy import integrate, stats

from aim_core.arrays import FloatArray
from mpc.arrays import Array, Integers
from mpc.noise.bank import NoiseBank
from mpc.noise.kinds import NoiseKind
from mpc.noise.sources import DealerNoise, JointNoise
from mpc.session.access import AccessStructure
from mpc.session.channel import Step
from mpc.session.in_memory import run_parties
from mpc.session.session import Session
from mpc.shares.opening import open_share
from mpc.shares.replicated import ring
from mpc.steps.job import FRACTION_BITS, RingParameters, SecureJob, make_noise
from parties.local.party_processes import run_local_parties
from tests.support.secure.sessions import deal

pytestmark = pytest.mark.statistical

ALPHA = 1e-6
N_GAUSSIANS = 640_000
N_GUMBELS = 524_288
SIGMAS = (1, 5, 91, 5000)
OFF = (0.97, 1.03)
RING = ring(32)
WIDE = ring(64)


def signed(values: Array, bits: int) -> Integers:
    wide = values.astype(np.uint64) << np.uint64(64 - bits)
    return wide.astype(np.int64) >> (64 - bits)


async def open_gaussians(session: Session, sigma: int) -> Integers:
    """Sample, open to all parties, and return what this party saw."""
    opened = []
    for number in range(10):
        with session.step(Step.CHECK, f"gaussian-{sigma}-{number}") as channel:
            share = await JointNoise().gaussian(
                channel, RING, N_GAUSSIANS // 10, Fraction(sigma**2)
            )
            opened.append(signed(await open_share(channel, share), RING.bits))
    return np.concatenate(opened)


def the_same_everywhere(answers: Sequence[Integers]) -> Integers:
    assert all(np.array_equal(answers[0], other) for other in answers[1:])
    return answers[0]


@cache
def gaussians(sigma: int) -> Integers:
    return the_same_everywhere(run_parties(3, 1, lambda s: open_gaussians(s, sigma)))


def exact_pmf(sigma: float, reach: int) -> FloatArray:
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-(values**2) / (2 * sigma**2))
    pmf: FloatArray = weights / weights.sum()
    return pmf


def chi_square_p_value(samples: Integers, sigma: float) -> float:
    """Chi-square of groups a quarter sigma wide; groups that expect less than 10 go together."""
    reach = math.ceil(10 * sigma)
    width = max(1, round(sigma / 4))
    groups = np.arange(2 * reach + 1) // width
    expected = np.bincount(groups, exact_pmf(sigma, reach)) * len(samples)
    clipped = np.clip(samples, -reach, reach)
    observed = np.bincount((clipped + reach) // width, minlength=len(expected))
    keep = expected >= 10
    observed = np.append(observed[keep], observed[~keep].sum())
    expected = np.append(expected[keep], expected[~keep].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    return float(stats.chi2.sf(statistic, len(expected) - 1))


def ks_p_value(samples: Integers, sigma: float) -> float:
    """Kolmogorov-Smirnov on the integers; for discrete values the p-value errs upwards."""
    reach = math.ceil(10 * sigma)
    cumulative = np.cumsum(exact_pmf(sigma, reach))
    clipped = np.clip(samples, -reach, reach)
    observed = np.cumsum(np.bincount(clipped + reach, minlength=2 * reach + 1)) / len(samples)
    distance = np.abs(observed - cumulative).max()
    return float(stats.kstwobign.sf(math.sqrt(len(samples)) * distance))


PValue = Callable[[Integers, float], float]
TESTS: list[PValue] = [chi_square_p_value, ks_p_value]


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("p_value", TESTS)
def test_opened_gaussians_have_the_exact_distribution(p_value: PValue, sigma: int) -> None:
    assert p_value(gaussians(sigma), sigma) > ALPHA


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("p_value", TESTS)
@pytest.mark.parametrize("factor", OFF)
def test_gaussians_of_a_width_off_by_three_percent_are_rejected(
    p_value: PValue, sigma: int, factor: float
) -> None:
    assert p_value(gaussians(sigma), sigma * factor) < ALPHA


@pytest.mark.parametrize("sigma", SIGMAS)
def test_opened_gaussians_are_independent(sigma: int) -> None:
    """Products of values at some distances (neighbours, words, chunks) are uncorrelated."""
    samples = gaussians(sigma)
    lags = (1, 2, 63, 64, 65, 128, 4095, 4096, N_GAUSSIANS // 10)
    for values in (samples, np.abs(samples), samples & 1):
        centred = (values - values.mean()) / values.std()
        for lag in lags:
            z = (centred[lag:] * centred[:-lag]).sum() / math.sqrt(len(centred) - lag)
            assert 2 * stats.norm.sf(abs(z)) * 3 * len(lags) > ALPHA


def test_gaussians_of_processes_over_tls() -> None:
    samples = the_same_everywhere(run_local_parties(3, 1, open_gaussians, 91, seconds=200))
    for p_value in TESTS:
        assert p_value(samples, 91) > ALPHA
        assert all(p_value(samples, 91 * factor) < ALPHA for factor in OFF)


async def open_gumbels(session: Session) -> Integers:
    opened = []
    for number in range(8):
        with session.step(Step.CHECK, f"gumbel-{number}") as channel:
            share = await JointNoise().gumbel(channel, WIDE, N_GUMBELS // 8, FRACTION_BITS)
            opened.append(signed(await open_share(channel, share), 64))
    return np.concatenate(opened)


@cache
def gumbels() -> Integers:
    return the_same_everywhere(run_parties(3, 1, open_gumbels))


def test_opened_gumbels_pass_kolmogorov_smirnov() -> None:
    samples = gumbels() / 2.0**FRACTION_BITS
    assert stats.kstest(samples, "gumbel_r").pvalue > ALPHA
    assert all(stats.kstest(samples * factor, "gumbel_r").pvalue < ALPHA for factor in OFF)
    assert all(stats.kstest(samples + shift, "gumbel_r").pvalue < ALPHA for shift in (-0.03, 0.03))


def test_low_bits_of_gumbels_are_uniform() -> None:
    low = gumbels() & 255
    assert stats.chisquare(np.bincount(low, minlength=256)).pvalue > ALPHA


def selected(scores: Sequence[float], noise: Integers) -> Integers:
    """Select again and again, each time with Gumbels of its own; the winners' frequencies."""
    n = len(scores)
    integer_scores = np.array([round(s * 2**FRACTION_BITS) for s in scores])
    table = noise[: len(noise) // n * n].reshape(-1, n) + integer_scores
    return np.bincount(table.argmax(axis=1), minlength=n)


def softmax_p_value(counts: Integers, scores: Sequence[float] | FloatArray) -> float:
    """Chi-square against the softmax; rare winners go together, two groups are tested exactly."""
    weights = np.exp(np.array(scores) - max(scores))
    expected = weights / weights.sum() * counts.sum()
    order = np.argsort(expected)
    observed, expected = counts[order], expected[order]
    while len(expected) > 2 and expected[0] < 10:
        observed = np.append(observed[:2].sum(), observed[2:])
        expected = np.append(expected[:2].sum(), expected[2:])
    if len(expected) == 2:
        share = expected[0] / expected.sum()
        return float(stats.binomtest(int(observed[0]), int(observed.sum()), share).pvalue)
    return float(stats.chisquare(observed, expected).pvalue)


@pytest.mark.parametrize("gap", range(21))
def test_two_candidates_win_as_the_softmax_says(gap: int) -> None:
    scores = (0, gap)
    assert softmax_p_value(selected(scores, gumbels()), scores) > ALPHA


@pytest.mark.parametrize(
    "scores",
    [
        (0, 0, 0),
        (0, 1, 2, 3),
        (5, 0, 5, 1, 4),
        (0, 3, 6, 9, 12, 15, 18, 20),
        (0.5, 0.25, 0, 0.75, 1, 1.25, 1.5, 1.75),
    ],
)
def test_several_candidates_win_as_the_softmax_says(scores: tuple[float, ...]) -> None:
    assert softmax_p_value(selected(scores, gumbels()), scores) > ALPHA


@pytest.mark.parametrize("factor", OFF)
@pytest.mark.parametrize("scores", [(0, 2), (0, 2.5), (0, 3)])
def test_scores_off_by_three_percent_are_rejected(scores: tuple[float, ...], factor: float) -> None:
    counts = selected([s * factor for s in scores], gumbels())
    assert softmax_p_value(counts, scores) < ALPHA


# Whole selections. The model is 0, so distances are the counts; a step of L is 1/4 in the score.
N_SELECTIONS = 400
DISTANCES = (1000, 1004, 1008, 1012, 980)
QUARTER = 1 << (FRACTION_BITS - 2)


async def select_often(session: Session) -> list[int]:
    access = AccessStructure(3, 1)
    noise = make_noise(NoiseKind.JOINT, access)
    parameters = RingParameters.choose(10_000, 10_000, noise.gaussian_bound(Fraction(4)))
    shares = deal(access, ring(parameters.ring_bits), np.array(DISTANCES))
    job = SecureJob(session, parameters, noise)
    n = len(DISTANCES)
    await job.load(shares[session.pid], [1] * n)
    zeros = [np.zeros(1, np.int64)] * n
    chosen = [
        await job.select(f"s{i}", range(n), zeros, [QUARTER] * n, [0] * n)
        for i in range(N_SELECTIONS)
    ]
    job.wipe()
    return chosen


def test_whole_selections_follow_the_softmax() -> None:
    answers = run_parties(3, 1, select_often)
    counts = np.bincount(the_same_everywhere([np.array(a) for a in answers]), minlength=5)
    scores = np.array(DISTANCES) / 4
    assert softmax_p_value(counts, scores) > ALPHA
    assert softmax_p_value(counts, scores / 3) < ALPHA
    assert softmax_p_value(counts, scores * 2) < ALPHA


def two_dealers_win(gap: float) -> float:
    """P[G1 + G2 + gap > G3 + G4]: differences of two Gumbels are logistic."""
    value, _ = integrate.quad(
        lambda x: stats.logistic.pdf(x) * stats.logistic.cdf(x + gap), -60, 60, epsabs=1e-12
    )
    return float(value)


async def deal_gumbels(session: Session) -> Integers:
    noise = DealerNoise(session.access, FRACTION_BITS)
    with session.step(Step.CHECK, "dealers") as channel:
        share = await noise.gumbel(channel, WIDE, 200_000, FRACTION_BITS)
        return signed(await open_share(channel, share), 64)


def test_dealt_gumbels_are_sums_of_two() -> None:
    samples = the_same_everywhere(run_parties(3, 1, deal_gumbels))
    for gap in (0, 1, 2, 4, 8):
        wins = selected((0, gap), samples)
        p_value = stats.binomtest(int(wins[1]), int(wins.sum()), two_dealers_win(gap)).pvalue
        assert p_value > ALPHA / 5
    assert softmax_p_value(selected((0, 2), samples), (0, 2)) < ALPHA, "wider than one Gumbel"


def test_bank_and_direct_samples_have_one_distribution() -> None:
    """What the bank hands out after much churn is as good as new."""

    async def program(session: Session) -> Integers:
        bank = NoiseBank(session, JointNoise(), RING, FRACTION_BITS, 64, 4096)
        opened = []
        for number in range(40):
            share = await bank.gaussians(N_GAUSSIANS // 40, Fraction(25))
            with session.step(Step.CHECK, f"open-{number}") as channel:
                opened.append(signed(await open_share(channel, share), RING.bits))
        bank.wipe()
        return np.concatenate(opened)

    samples = the_same_everywhere(run_parties(3, 1, program))
    for p_value in TESTS:
        assert p_value(samples, 5) > ALPHA
