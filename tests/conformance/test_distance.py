"""Distances of shared marginals to public ones against their twins, for several (m, t)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc import reference
from mpc.arrays import Integers
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.planes import to_planes
from mpc.shares.replicated import Share, packed_bits, reshare, ring
from mpc.steps.distance import bit_products, l1_distances, prepare_cells
from tests.support.secure.sessions import STRUCTURES, deal, reveal, run_step
from tests.support.secure.steps import EXAMPLES


@pytest.mark.parametrize("rotation", range(5))
def test_bit_products(mt: tuple[int, int], rotation: int) -> None:
    access = AccessStructure(*mt)
    generator = np.random.default_rng(rotation)
    d = generator.integers(0, 1 << 19, 128).astype(np.uint32)
    s = generator.integers(0, 2, 128).astype(np.uint16)
    ds = deal(access, ring(19), d, 1)
    planes = deal(access, packed_bits(np.uint16), to_planes(s, 1), 2)

    async def step(channel: Channel) -> Share:
        summand = await bit_products(channel, ds[channel.pid], planes[channel.pid][0], rotation)
        everyone = range(access.n_parties)
        own = np.zeros(128, np.uint32) if summand is None else summand
        return await reshare(channel, ring(19), (128,), own, everyone)

    assert np.array_equal(reveal(run_step(mt, step)), reference.bit_products(d, s, 19))


def check_l1_distances(mt: tuple[int, int], sizes: list[int], n: int, seed: int) -> None:
    access = AccessStructure(*mt)
    generator = np.random.default_rng(seed)
    n_planes = max(n.bit_length(), 1)

    def table(size: int) -> Integers:
        return generator.multinomial(n, generator.dirichlet(np.full(size, 0.2)))

    cells = np.concatenate([table(size) for size in sizes])
    chosen = generator.choice(len(sizes), (len(sizes) + 1) // 2, replace=False)
    candidates = sorted(chosen.tolist())
    models = [table(sizes[c]) for c in candidates]
    counts = deal(access, ring(n_planes + 2), cells, seed)

    async def step(channel: Channel) -> Share:
        prepared = await prepare_cells(channel, counts[channel.pid], sizes, n_planes)
        return await l1_distances(channel, prepared, candidates, models)

    expected = reference.l1_distances(cells, sizes, candidates, models)
    assert reveal(run_step(mt, step)).tolist() == expected


@pytest.mark.parametrize("mt", STRUCTURES)
@given(
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    n=st.sampled_from([0, 1, 7, 255, 256, 40_000]),
    seed=st.integers(0, 999),
)
@EXAMPLES
def test_l1_distances(mt: tuple[int, int], sizes: list[int], n: int, seed: int) -> None:
    check_l1_distances(mt, sizes, n, seed)


def test_l1_distances_over_several_chunks(
    mt: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpc.steps.distance.CHUNK_CELLS", 128)
    check_l1_distances(mt, [1, 300, 64, 90, 500], 40_000, 5)
