"""Conversions between ring elements and bits against their plaintext twins, for several (m, t)."""

import numpy as np
import pytest

from mpc import reference
from mpc.session.access import AccessStructure
from mpc.shares.circuits import prefix_add, ripple_add
from mpc.shares.conversion import Adder, bits_to_ring, ring_to_bits, weighted_bit_sum
from mpc.shares.planes import plane_to_values, to_planes
from mpc.shares.replicated import packed_bits, ring
from tests.support.secure.sessions import deal, reveal, run_step


@pytest.mark.parametrize("rotation", range(5))
@pytest.mark.parametrize("adder", [ripple_add, prefix_add])
def test_ring_to_bits(mt: tuple[int, int], adder: Adder, rotation: int) -> None:
    access = AccessStructure(*mt)
    x = np.random.default_rng(rotation).integers(0, 1 << 18, 77).astype(np.uint32)
    x[:2] = [0, (1 << 18) - 1]
    xs = deal(access, ring(18), x, rotation)
    shares = run_step(mt, lambda ch: ring_to_bits(ch, xs[ch.pid], 18, adder, rotation))
    bits = np.stack([plane_to_values(plane, np.uint32)[:77] for plane in reveal(shares)])
    assert np.array_equal(bits, reference.ring_to_bits(x, 18))


@pytest.mark.parametrize("rotation", range(5))
def test_bits_to_ring(mt: tuple[int, int], rotation: int) -> None:
    access = AccessStructure(*mt)
    x = np.random.default_rng(rotation).integers(0, 8, 64).astype(np.uint8)
    bits = deal(access, packed_bits(np.uint8), to_planes(x, 3), rotation)
    shares = run_step(mt, lambda ch: bits_to_ring(ch, bits[ch.pid], ring(40), rotation))
    assert np.array_equal(reveal(shares), reference.ring_to_bits(x, 3))


@pytest.mark.parametrize("rotation", range(5))
def test_weighted_bit_sum(mt: tuple[int, int], rotation: int) -> None:
    access = AccessStructure(*mt)
    x = np.random.default_rng(rotation).integers(0, 1 << 9, 64).astype(np.uint16)
    weights = np.array([1, 2, 4, 1 << 17, 16, (1 << 18) - 5, 64, 0, 3], np.uint32)
    planes = deal(access, packed_bits(np.uint16), to_planes(x, 9), rotation)
    shares = run_step(
        mt, lambda ch: weighted_bit_sum(ch, planes[ch.pid], weights, ring(18), rotation)
    )
    bits = reference.ring_to_bits(x, 9).astype(np.uint64)
    expected = (bits * weights[:, np.newaxis]).sum(axis=0) % (1 << 18)
    assert np.array_equal(reveal(shares), expected)
