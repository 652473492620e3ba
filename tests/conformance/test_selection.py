"""The parts of a selection against their plaintext twins, for several (m, t)."""

import numpy as np
import pytest

from mpc import reference
from mpc.arrays import Array
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.opening import open_share
from mpc.shares.planes import pad_values, to_planes
from mpc.shares.replicated import packed_bits, ring
from mpc.steps.selection import lift, tournament
from tests.support.secure.sessions import deal, reveal, run_step


def test_lift(mt: tuple[int, int]) -> None:
    access = AccessStructure(*mt)
    x = np.array([0, 1, (1 << 17) - 1, 12345], np.uint32)
    xs = deal(access, ring(18), x)
    shares = run_step(mt, lambda ch: lift(ch, xs[ch.pid], 17, ring(60)))
    assert np.array_equal(reveal(shares), x)


def winner_of(mt: tuple[int, int], values: Array, n_values: int) -> list[int]:
    """Play for the largest of the first values; return the opened position."""
    access = AccessStructure(*mt)
    planes = deal(access, packed_bits(np.uint64), to_planes(pad_values(values, 64), 40))

    async def step(channel: Channel) -> Array:
        return await open_share(channel, await tournament(channel, planes[channel.pid], n_values))

    opened: list[int] = run_step(mt, step)[0].tolist()
    return opened


@pytest.mark.parametrize("n_values", [1, 2, 3, 11, 12, 13, 145, 600])
def test_tournament(mt: tuple[int, int], n_values: int) -> None:
    generator = np.random.default_rng(n_values)
    values = generator.integers(1, 1 << 40, n_values, dtype=np.uint64)
    values[generator.integers(0, n_values, 3)] = values.max()
    assert winner_of(mt, values, n_values) == [reference.tournament(values.tolist())]


def test_tournament_of_equals_takes_the_first(mt: tuple[int, int]) -> None:
    assert winner_of(mt, np.full(64, 9, np.uint64), 50) == [0]
