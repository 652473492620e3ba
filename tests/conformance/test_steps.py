"""Every secure step of the replicated engine against its plaintext twin, for several (m, t)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import reference
from mpc.noise.coins import random_share
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel, Step
from mpc.session.in_memory import run_parties
from mpc.session.session import Session
from mpc.shares.circuits import (
    add_many,
    all_of,
    less_than,
    less_than_public,
    prefix_add,
    ripple_add,
)
from mpc.shares.conversion import bits_to_ring, ring_to_bits, weighted_bit_sum
from mpc.shares.opening import open_share
from mpc.shares.planes import pad_values, plane_to_values, to_planes
from mpc.shares.replicated import multiply, packed_bits, reshare, ring
from mpc.steps.distance import bit_products, l1_distances, prepare_cells
from mpc.steps.selection import lift, tournament
from tests.support.sessions import deal, reveal

STRUCTURES = [(3, 1), (4, 1), (5, 2)]
EXAMPLES = settings(max_examples=12, deadline=None)


@pytest.fixture(params=STRUCTURES, ids=lambda mt: f"m{mt[0]}t{mt[1]}")
def access(request):
    return AccessStructure(*request.param)


def run(access: AccessStructure, program):
    return run_parties(access.n_parties, access.threshold, program)


def words(width: int, n_max: int = 150):
    top = (1 << width) - 1
    edge = st.sampled_from([0, 1, top, top // 2, top // 2 + 1])
    return st.lists(st.integers(0, top) | edge, min_size=1, max_size=n_max)


def on_channel(step):
    async def program(session: Session):
        with session.step(Step.CHECK, "step") as channel:
            return await step(channel, session.pid)

    return program


@pytest.mark.parametrize("mt", STRUCTURES)
@given(x=words(19), seed=st.integers(0, 99))
@EXAMPLES
def test_multiply_in_the_ring(mt: tuple[int, int], x, seed: int) -> None:
    access, algebra = AccessStructure(*mt), ring(19)
    x = np.array(x, np.uint32)
    y = np.random.default_rng(seed).permutation(x)
    xs, ys = deal(access, algebra, x, seed), deal(access, algebra, y, seed + 1)
    shares = run(access, on_channel(lambda ch, pid: multiply(ch, xs[pid], ys[pid])))
    assert np.array_equal(reveal(shares), reference.multiply(x, y, 19))


def test_multiply_bits(access: AccessStructure) -> None:
    x, y = np.random.default_rng(3).integers(0, 2**63, (2, 5, 7), dtype=np.uint64)
    algebra = packed_bits(np.uint64)
    xs, ys = deal(access, algebra, x, 1), deal(access, algebra, y, 2)
    shares = run(access, on_channel(lambda ch, pid: multiply(ch, xs[pid], ys[pid])))
    assert np.array_equal(reveal(shares), reference.multiply(x, y, 0))


def test_reshare_sums_the_contributions(access: AccessStructure) -> None:
    values = np.arange(10, dtype=np.uint32)
    contributors = range(access.threshold + 1)

    def step(channel: Channel, pid: int):
        own = values * np.uint32(pid + 1) if pid in contributors else None
        return reshare(channel, ring(20), (10,), own, contributors)

    total = sum(p + 1 for p in contributors)
    assert np.array_equal(reveal(run(access, on_channel(step))), values * total)


@pytest.mark.parametrize("bits", [1, 3, 8, 16, 17])
def test_opening(access: AccessStructure, bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, 33)
    shares = deal(access, ring(bits), values)
    for opened in run(access, on_channel(lambda ch, pid: open_share(ch, shares[pid]))):
        assert np.array_equal(opened, values)


@pytest.mark.parametrize("mt", STRUCTURES)
@pytest.mark.parametrize("n_planes", [1, 2, 5, 15, 16])
@given(x=words(16), seed=st.integers(0, 99))
@EXAMPLES
def test_less_than_public(mt: tuple[int, int], n_planes: int, x, seed: int) -> None:
    access = AccessStructure(*mt)
    x = pad_values(np.array(x, np.uint16) & np.uint16((1 << n_planes) - 1), 64)
    y = np.random.default_rng(seed).permutation(x) ^ np.uint16(seed % 2)
    xs = deal(access, packed_bits(np.uint16), to_planes(x, n_planes), seed)
    y_planes = to_planes(y, n_planes)
    shares = run(access, on_channel(lambda ch, pid: less_than_public(ch, xs[pid], y_planes)))
    assert np.array_equal(plane_to_values(reveal(shares), np.uint8), reference.less_than(x, y))


@pytest.mark.parametrize("n_planes", [1, 2, 31, 62])
def test_less_than(access: AccessStructure, n_planes: int) -> None:
    generator = np.random.default_rng(n_planes)
    x = generator.integers(0, 1 << n_planes, 128, dtype=np.uint64)
    y = generator.integers(0, 1 << n_planes, 128, dtype=np.uint64)
    y[:40] = x[:40]
    y[40:50] = x[40:50] ^ np.uint64(1)
    algebra = packed_bits(np.uint64)
    xs = deal(access, algebra, to_planes(x, n_planes), 1)
    ys = deal(access, algebra, to_planes(y, n_planes), 2)
    shares = run(access, on_channel(lambda ch, pid: less_than(ch, xs[pid], ys[pid])))
    assert np.array_equal(plane_to_values(reveal(shares), np.uint8), reference.less_than(x, y))


@pytest.mark.parametrize("adder", [ripple_add, prefix_add])
@pytest.mark.parametrize("n_planes", [1, 2, 3, 9, 16, 47, 64])
def test_adders(access: AccessStructure, adder, n_planes: int) -> None:
    generator = np.random.default_rng(n_planes)
    high = (1 << n_planes) - 1
    x, y = generator.integers(0, high, (2, 128), dtype=np.uint64, endpoint=True)
    x[:3], y[:3] = high, [high, 1, 0]
    algebra = packed_bits(np.uint64)
    xs = deal(access, algebra, to_planes(x, n_planes), 1)
    ys = deal(access, algebra, to_planes(y, n_planes), 2)
    shares = run(access, on_channel(lambda ch, pid: adder(ch, xs[pid], ys[pid])))
    assert np.array_equal(reveal(shares), to_planes(reference.add(x, y, n_planes), n_planes))


@pytest.mark.parametrize("rotation", range(5))
@pytest.mark.parametrize("adder", [ripple_add, prefix_add])
def test_ring_to_bits(access: AccessStructure, adder, rotation: int) -> None:
    x = np.random.default_rng(rotation).integers(0, 1 << 18, 77).astype(np.uint32)
    x[:2] = [0, (1 << 18) - 1]
    xs = deal(access, ring(18), x, rotation)
    step = on_channel(lambda ch, pid: ring_to_bits(ch, xs[pid], 18, adder, rotation))
    planes = reveal(run(access, step))
    bits = np.stack([plane_to_values(plane, np.uint32)[:77] for plane in planes])
    assert np.array_equal(bits, reference.ring_to_bits(x, 18))


@pytest.mark.parametrize("rotation", range(5))
def test_bits_to_ring(access: AccessStructure, rotation: int) -> None:
    x = np.random.default_rng(rotation).integers(0, 8, 64).astype(np.uint8)
    bits = deal(access, packed_bits(np.uint8), to_planes(x, 3), rotation)
    step = on_channel(lambda ch, pid: bits_to_ring(ch, bits[pid], ring(40), rotation))
    assert np.array_equal(reveal(run(access, step)), reference.ring_to_bits(x, 3))


def test_lift(access: AccessStructure) -> None:
    x = np.array([0, 1, (1 << 17) - 1, 12345], np.uint32)
    xs = deal(access, ring(18), x)
    step = on_channel(lambda ch, pid: lift(ch, xs[pid], 17, ring(60)))
    assert np.array_equal(reveal(run(access, step)), x)


@pytest.mark.parametrize("rotation", range(5))
def test_bit_products(access: AccessStructure, rotation: int) -> None:
    generator = np.random.default_rng(rotation)
    d = generator.integers(0, 1 << 19, 128).astype(np.uint32)
    s = generator.integers(0, 2, 128).astype(np.uint16)
    ds = deal(access, ring(19), d, 1)
    planes = deal(access, packed_bits(np.uint16), to_planes(s, 1), 2)

    async def step(channel: Channel, pid: int):
        summand = await bit_products(channel, ds[pid], planes[pid][0], rotation)
        everyone = range(access.n_parties)
        own = np.zeros(128, np.uint32) if summand is None else summand
        return await reshare(channel, ring(19), (128,), own, everyone)

    assert np.array_equal(reveal(run(access, on_channel(step))), reference.bit_products(d, s, 19))


@pytest.mark.parametrize("mt", STRUCTURES)
@given(
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    n=st.sampled_from([0, 1, 7, 255, 256, 40_000]),
    seed=st.integers(0, 999),
)
@EXAMPLES
def test_l1_distances(mt: tuple[int, int], sizes, n: int, seed: int) -> None:
    access, generator = AccessStructure(*mt), np.random.default_rng(seed)
    n_planes = max(n.bit_length(), 1)

    def table(size):
        return generator.multinomial(n, generator.dirichlet(np.full(size, 0.2)))

    cells = np.concatenate([table(size) for size in sizes])
    candidates = sorted(generator.choice(len(sizes), (len(sizes) + 1) // 2, replace=False))
    models = [table(sizes[c]) for c in candidates]
    counts = deal(access, ring(n_planes + 2), cells, seed)

    async def step(channel: Channel, pid: int):
        prepared = await prepare_cells(channel, counts[pid], sizes, n_planes)
        return await l1_distances(channel, prepared, candidates, models)

    expected = reference.l1_distances(cells, sizes, candidates, models)
    assert reveal(run(access, on_channel(step))).tolist() == expected


def test_l1_distances_over_several_chunks(
    access: AccessStructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpc.steps.distance.CHUNK_CELLS", 128)
    test_l1_distances.hypothesis.inner_test(
        (access.n_parties, access.threshold), [1, 300, 64, 90, 500], 40_000, 5
    )


@pytest.mark.parametrize("n_values", [1, 2, 3, 11, 12, 13, 145, 600])
def test_tournament(access: AccessStructure, n_values: int) -> None:
    generator = np.random.default_rng(n_values)
    values = generator.integers(1, 1 << 40, n_values, dtype=np.uint64)
    values[generator.integers(0, n_values, 3)] = values.max()
    planes = deal(access, packed_bits(np.uint64), to_planes(pad_values(values, 64), 40))

    async def step(channel: Channel, pid: int):
        return await open_share(channel, await tournament(channel, planes[pid], n_values))

    index = run(access, on_channel(step))[0]
    assert index.tolist() == [reference.tournament(values.tolist())]


def test_tournament_of_equals_takes_the_first(access: AccessStructure) -> None:
    values = np.full(64, 9, np.uint64)
    planes = deal(access, packed_bits(np.uint64), to_planes(values, 40))

    async def step(channel: Channel, pid: int):
        return await open_share(channel, await tournament(channel, planes[pid], 50))

    assert run(access, on_channel(step))[0].tolist() == [0]


@pytest.mark.parametrize("n_addends", [1, 2, 3, 7, 20])
def test_add_many(access: AccessStructure, n_addends) -> None:
    x = np.random.default_rng(n_addends).integers(0, 1 << 16, (n_addends, 64), dtype=np.uint32)
    algebra = packed_bits(np.uint32)
    addends = [deal(access, algebra, to_planes(row, 21), k) for k, row in enumerate(x)]
    step = on_channel(lambda ch, pid: add_many(ch, [share[pid] for share in addends]))
    planes = reveal(run(access, step))
    assert np.array_equal(planes, to_planes(x.sum(axis=0, dtype=np.uint32), 21))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_all_of(access: AccessStructure, n: int) -> None:
    bits = np.random.default_rng(n).integers(0, 2**63, (n, 3), dtype=np.uint64) | np.uint64(0xFF)
    shares = deal(access, packed_bits(np.uint64), bits)
    step = on_channel(lambda ch, pid: all_of(ch, shares[pid]))
    assert np.array_equal(reveal(run(access, step)), np.bitwise_and.reduce(bits, axis=0))


@pytest.mark.parametrize("rotation", range(5))
def test_weighted_bit_sum(access: AccessStructure, rotation: int) -> None:
    x = np.random.default_rng(rotation).integers(0, 1 << 9, 64).astype(np.uint16)
    planes = to_planes(x, 9)
    weights = np.array([1, 2, 4, 1 << 17, 16, (1 << 18) - 5, 64, 0, 3], np.uint32)
    shares = deal(access, packed_bits(np.uint16), planes, rotation)
    step = on_channel(
        lambda ch, pid: weighted_bit_sum(ch, shares[pid], weights, ring(18), rotation)
    )
    bits = reference.ring_to_bits(x, 9).astype(np.uint64)
    expected = (bits * weights[:, np.newaxis]).sum(axis=0) % (1 << 18)
    assert np.array_equal(reveal(run(access, step)), expected)


def test_random_shares_are_consistent_and_never_repeat(access: AccessStructure) -> None:
    step = on_channel(_two_random_shares)
    first, second = (reveal(list(shares)) for shares in zip(*run(access, step), strict=True))
    assert not np.intersect1d(first, second).size


async def _two_random_shares(channel: Channel, pid: int):
    return [random_share(channel, packed_bits(np.uint64), (50,)) for _ in range(2)]
