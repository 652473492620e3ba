"""Circuits on shared bits against their plaintext twins, for several (m, t)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc import reference
from mpc.session.access import AccessStructure
from mpc.shares.circuits import (
    add_many,
    all_of,
    less_than,
    less_than_public,
    prefix_add,
    ripple_add,
)
from mpc.shares.conversion import Adder
from mpc.shares.planes import pad_values, plane_to_values, to_planes
from mpc.shares.replicated import packed_bits
from tests.support.secure.sessions import STRUCTURES, deal, reveal, run_step
from tests.support.secure.steps import EXAMPLES, words


@pytest.mark.parametrize("mt", STRUCTURES)
@pytest.mark.parametrize("n_planes", [1, 2, 5, 15, 16])
@given(numbers=words(16), seed=st.integers(0, 99))
@EXAMPLES
def test_less_than_public(
    mt: tuple[int, int], n_planes: int, numbers: list[int], seed: int
) -> None:
    access = AccessStructure(*mt)
    x = pad_values(np.array(numbers, np.uint16) & np.uint16((1 << n_planes) - 1), 64)
    y = np.random.default_rng(seed).permutation(x) ^ np.uint16(seed % 2)
    xs = deal(access, packed_bits(np.uint16), to_planes(x, n_planes), seed)
    y_planes = to_planes(y, n_planes)
    shares = run_step(mt, lambda ch: less_than_public(ch, xs[ch.pid], y_planes))
    assert np.array_equal(plane_to_values(reveal(shares), np.uint8), reference.less_than(x, y))


@pytest.mark.parametrize("n_planes", [1, 2, 31, 62])
def test_less_than(mt: tuple[int, int], n_planes: int) -> None:
    access = AccessStructure(*mt)
    generator = np.random.default_rng(n_planes)
    x = generator.integers(0, 1 << n_planes, 128, dtype=np.uint64)
    y = generator.integers(0, 1 << n_planes, 128, dtype=np.uint64)
    y[:40] = x[:40]
    y[40:50] = x[40:50] ^ np.uint64(1)
    algebra = packed_bits(np.uint64)
    xs = deal(access, algebra, to_planes(x, n_planes), 1)
    ys = deal(access, algebra, to_planes(y, n_planes), 2)
    shares = run_step(mt, lambda ch: less_than(ch, xs[ch.pid], ys[ch.pid]))
    assert np.array_equal(plane_to_values(reveal(shares), np.uint8), reference.less_than(x, y))


@pytest.mark.parametrize("adder", [ripple_add, prefix_add])
@pytest.mark.parametrize("n_planes", [1, 2, 3, 9, 16, 47, 64])
def test_adders(mt: tuple[int, int], adder: Adder, n_planes: int) -> None:
    access = AccessStructure(*mt)
    generator = np.random.default_rng(n_planes)
    high = (1 << n_planes) - 1
    x, y = generator.integers(0, high, (2, 128), dtype=np.uint64, endpoint=True)
    x[:3], y[:3] = high, [high, 1, 0]
    algebra = packed_bits(np.uint64)
    xs = deal(access, algebra, to_planes(x, n_planes), 1)
    ys = deal(access, algebra, to_planes(y, n_planes), 2)
    shares = run_step(mt, lambda ch: adder(ch, xs[ch.pid], ys[ch.pid]))
    assert np.array_equal(reveal(shares), to_planes(reference.add(x, y, n_planes), n_planes))


@pytest.mark.parametrize("n_addends", [1, 2, 3, 7, 20])
def test_add_many(mt: tuple[int, int], n_addends: int) -> None:
    access = AccessStructure(*mt)
    x = np.random.default_rng(n_addends).integers(0, 1 << 16, (n_addends, 64), dtype=np.uint32)
    algebra = packed_bits(np.uint32)
    addends = [deal(access, algebra, to_planes(row, 21), k) for k, row in enumerate(x)]
    shares = run_step(mt, lambda ch: add_many(ch, [share[ch.pid] for share in addends]))
    assert np.array_equal(reveal(shares), to_planes(x.sum(axis=0, dtype=np.uint32), 21))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_all_of(mt: tuple[int, int], n: int) -> None:
    access = AccessStructure(*mt)
    bits = np.random.default_rng(n).integers(0, 2**63, (n, 3), dtype=np.uint64) | np.uint64(0xFF)
    xs = deal(access, packed_bits(np.uint64), bits)
    shares = run_step(mt, lambda ch: all_of(ch, xs[ch.pid]))
    assert np.array_equal(reveal(shares), np.bitwise_and.reduce(bits, axis=0))
