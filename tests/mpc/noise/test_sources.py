"""Dealt noise: what it sums to, what it costs, and the bound of [KLS21] computed exactly."""

import math
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from mpc.arrays import Array, Integers
from mpc.errors import MpcError
from mpc.noise.in_the_clear import GUMBEL_RANGE, PER_SAMPLE_DELTA, gaussian_bound
from mpc.noise.sources import MIN_DEALER_SIGMA2, DealerNoise, SystemSampler, dealer_costs
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.replicated import Share, ring
from tests.support.secure.decimals import gaussian_weights
from tests.support.secure.sessions import STRUCTURES, reveal, run_step


class FixedSampler:
    """Deals known numbers and remembers what it was asked for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.asked: list[Fraction | int] = []

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        self.asked.append(sigma2)
        return np.arange(n) * np.int64(-3) ** self.pid - self.pid

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        self.asked.append(fraction_bits)
        return (np.arange(n) - 2) << (fraction_bits + self.pid)


def dealt(
    mt: tuple[int, int], request: Callable[[DealerNoise, Channel], Awaitable[Share]]
) -> tuple[Array, list[FixedSampler]]:
    access = AccessStructure(*mt)
    samplers = [FixedSampler(pid) for pid in range(access.n_parties)]
    shares = run_step(mt, lambda ch: request(DealerNoise(access, 24, samplers[ch.pid]), ch))
    return reveal(shares), samplers


@pytest.mark.parametrize("mt", STRUCTURES)
def test_every_party_deals_a_gaussian(mt: tuple[int, int]) -> None:
    m, t = mt
    opened, samplers = dealt(mt, lambda noise, ch: noise.gaussian(ch, ring(20), 7, Fraction(100)))
    total = sum(FixedSampler(pid).gaussian(7, Fraction(100)) for pid in range(m))
    assert np.array_equal(opened, total % 2**20)
    assert [s.asked for s in samplers] == [[Fraction(100, m - t)]] * m


@pytest.mark.parametrize("mt", STRUCTURES)
def test_t_plus_one_parties_deal_a_gumbel(mt: tuple[int, int]) -> None:
    m, t = mt
    opened, samplers = dealt(mt, lambda noise, ch: noise.gumbel(ch, ring(60), 5, 24))
    total = sum(FixedSampler(pid).gumbel(5, 24) for pid in range(t + 1))
    assert np.array_equal(opened, total % 2**60)
    assert [len(s.asked) for s in samplers] == [1] * (t + 1) + [0] * (m - t - 1)


def test_too_small_a_variance_is_refused() -> None:
    noise = DealerNoise(AccessStructure(5, 2), 24)
    assert noise.costs.sigma2_min == 3 * MIN_DEALER_SIGMA2
    too_small = noise.costs.sigma2_min - Fraction(1, 10**9)
    with pytest.raises(MpcError, match="no proved bound"):
        run_step((5, 2), lambda ch: noise.gaussian(ch, ring(20), 1, too_small))


@pytest.mark.parametrize("mt", STRUCTURES)
def test_public_costs(mt: tuple[int, int]) -> None:
    m, t = mt
    access = AccessStructure(m, t)
    costs, noise = dealer_costs(access, 24), DealerNoise(access, 24)
    assert costs.variance_factor == Fraction(m, m - t)
    assert costs.measure_delta == (m - t) * PER_SAMPLE_DELTA
    assert costs.select_scale == math.sqrt(t + 1)
    assert noise.gaussian_bound(Fraction(90)) == m * gaussian_bound(Fraction(90, m - t))
    assert noise.gumbel_bound(24) == (t + 1) * GUMBEL_RANGE * 2**24


def test_the_system_sampler_samples() -> None:
    values = SystemSampler().gaussian(4000, Fraction(100))
    assert 80 < values.var() < 120  # 9 standard errors
    assert abs(SystemSampler().gumbel(4000, 24).mean() / 2**24 - math.log(2) / 1.2) < 0.2


# The zCDP bound of a sum of discrete Gaussians, in 60 digits.


def discrete_gaussian(sigma2: Fraction, reach: int) -> list[Decimal]:
    weights = gaussian_weights(sigma2, range(-reach, reach + 1))
    total = sum(weights)
    return [w / total for w in weights]


def convolve(p: Sequence[Decimal], q: Sequence[Decimal]) -> list[Decimal]:
    result = [Decimal(0)] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            result[i + j] += a * b
    return result


def renyi_divergence(p: Sequence[Decimal], alpha: Decimal) -> Decimal:
    """D_alpha(P || P shifted by one)."""
    total = Decimal(sum(a * (a / b) ** (alpha - 1) for a, b in zip(p[1:], p[:-1], strict=True)))
    return total.ln() / (alpha - 1)


def tau(dealer_sigma2: Fraction | int, n_honest: int) -> float:
    return 10 * sum(
        math.exp(-2 * math.pi**2 * float(dealer_sigma2) * j / (j + 1)) for j in range(1, n_honest)
    )


def worst_rate(dealer_sigma2: Fraction, n_honest: int) -> Decimal:
    """The largest D_alpha / alpha over some alpha, of the sum of the honest dealers' samples."""
    with localcontext() as context:
        context.prec = 60
        reach = 12 + math.ceil(9 * math.sqrt(dealer_sigma2))
        one = discrete_gaussian(dealer_sigma2, reach)
        total = one
        for _ in range(n_honest - 1):
            total = convolve(total, one)
        # Far in the tails the truncation shows, where no noise of a bound ever is.
        middle = total[reach : len(total) - reach]
        return max(
            renyi_divergence(middle, Decimal(a)) / Decimal(a) for a in ("1.25", "2", "3", "8", "20")
        )


@pytest.mark.parametrize("n_honest", [2, 3])
@pytest.mark.parametrize(
    "dealer_sigma2", [Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2)]
)
def test_kls21_bound_holds(n_honest: int, dealer_sigma2: Fraction) -> None:
    sigma2 = n_honest * dealer_sigma2
    bound = 1 / (2 * float(sigma2)) + tau(dealer_sigma2, n_honest) / 4
    assert worst_rate(dealer_sigma2, n_honest) <= bound * (1 + 1e-12)


def test_the_slack_is_needed_for_narrow_dealers() -> None:
    sigma2 = Fraction(1, 4)
    assert float(worst_rate(sigma2, 2)) > 1 / (4 * float(sigma2)) * (1 + 1e-6)


@pytest.mark.parametrize("mt", STRUCTURES)
def test_measure_slack_covers_tau_of_the_narrowest_dealers(mt: tuple[int, int]) -> None:
    m, t = mt
    slack = dealer_costs(AccessStructure(m, t), 24).measure_slack
    assert tau(MIN_DEALER_SIGMA2, m - t) / 4 <= slack < 1e-15
