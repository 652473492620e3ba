"""Products, resharing and opening of shares, for several (m, t)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc import reference
from mpc.noise.coins import random_share
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.opening import open_share
from mpc.shares.replicated import Share, multiply, packed_bits, reshare, ring
from tests.support.secure.sessions import STRUCTURES, deal, reveal, run_step
from tests.support.secure.steps import EXAMPLES, words


@pytest.mark.parametrize("mt", STRUCTURES)
@given(numbers=words(19), seed=st.integers(0, 99))
@EXAMPLES
def test_multiply_in_the_ring(mt: tuple[int, int], numbers: list[int], seed: int) -> None:
    access, algebra = AccessStructure(*mt), ring(19)
    x = np.array(numbers, np.uint32)
    y = np.random.default_rng(seed).permutation(x)
    xs, ys = deal(access, algebra, x, seed), deal(access, algebra, y, seed + 1)
    shares = run_step(mt, lambda ch: multiply(ch, xs[ch.pid], ys[ch.pid]))
    assert np.array_equal(reveal(shares), reference.multiply(x, y, 19))


def test_multiply_bits(mt: tuple[int, int]) -> None:
    access = AccessStructure(*mt)
    x, y = np.random.default_rng(3).integers(0, 2**63, (2, 5, 7), dtype=np.uint64)
    algebra = packed_bits(np.uint64)
    xs, ys = deal(access, algebra, x, 1), deal(access, algebra, y, 2)
    shares = run_step(mt, lambda ch: multiply(ch, xs[ch.pid], ys[ch.pid]))
    assert np.array_equal(reveal(shares), reference.multiply(x, y, 0))


def test_reshare_sums_the_contributions(mt: tuple[int, int]) -> None:
    access = AccessStructure(*mt)
    values = np.arange(10, dtype=np.uint32)
    contributors = range(access.threshold + 1)

    async def step(channel: Channel) -> Share:
        own = values * np.uint32(channel.pid + 1) if channel.pid in contributors else None
        return await reshare(channel, ring(20), (10,), own, contributors)

    total = sum(p + 1 for p in contributors)
    assert np.array_equal(reveal(run_step(mt, step)), values * total)


@pytest.mark.parametrize("bits", [1, 3, 8, 16, 17])
def test_opening(mt: tuple[int, int], bits: int) -> None:
    access = AccessStructure(*mt)
    values = np.random.default_rng(bits).integers(0, 1 << bits, 33)
    shares = deal(access, ring(bits), values)
    for opened in run_step(mt, lambda ch: open_share(ch, shares[ch.pid])):
        assert np.array_equal(opened, values)


def test_random_shares_are_consistent_and_never_repeat(mt: tuple[int, int]) -> None:
    async def two_random_shares(channel: Channel) -> list[Share]:
        return [random_share(channel, packed_bits(np.uint64), (50,)) for _ in range(2)]

    drawn = run_step(mt, two_random_shares)
    first, second = (reveal(shares) for shares in zip(*drawn, strict=True))
    assert not np.intersect1d(first, second).size
