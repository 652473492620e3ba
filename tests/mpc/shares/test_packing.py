"""k bits per ring element, both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.shares.packing import pack_ring, packed_size, unpack_ring


@given(bits=st.integers(1, 64), n=st.integers(0, 70), seed=st.integers(0, 99))
def test_round_trip_and_size(bits: int, n: int, seed: int) -> None:
    dtype = np.uint32 if bits <= 32 else np.uint64
    generator = np.random.default_rng(seed)
    values = generator.integers(0, (1 << bits) - 1, n, dtype=dtype, endpoint=True)
    packed = pack_ring(values, bits)
    assert len(packed) == packed_size(n, bits)
    unpacked = unpack_ring(np.frombuffer(packed, np.uint8), n, bits, dtype)
    assert unpacked.dtype == dtype
    assert np.array_equal(unpacked, values)


@given(bits=st.integers(1, 31), seed=st.integers(0, 99))
def test_higher_bits_are_not_sent(bits: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 1 << 32, 19, dtype=np.uint32)
    low = values & np.uint32((1 << bits) - 1)
    assert pack_ring(values, bits) == pack_ring(low, bits)


@pytest.mark.parametrize(("bits", "size"), [(18, 2_250_000), (16, 2_000_000), (1, 125_000)])
def test_a_million_elements(bits: int, size: int) -> None:
    assert packed_size(10**6, bits) == size


def test_elements_of_any_shape_are_taken_in_c_order() -> None:
    values = np.arange(12, dtype=np.uint32).reshape(3, 4)
    assert pack_ring(values.T, 9) == pack_ring(values.T.reshape(-1), 9)
