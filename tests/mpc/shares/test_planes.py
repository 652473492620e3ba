"""Bit planes: their definition, bit by bit, and back."""

import numpy as np
import pytest

from mpc.shares.planes import (
    constant_planes,
    from_planes,
    pad_values,
    plane_to_values,
    to_planes,
    transpose_bits,
    word_dtype,
)

WIDTHS = [8, 16, 32, 64]


@pytest.mark.parametrize("width", WIDTHS)
def test_bit_r_of_word_c_belongs_to_value_r_n_over_w_plus_c(width: int) -> None:
    n_words = 3
    values = np.random.default_rng(width).integers(
        0, (1 << width) - 1, width * n_words, dtype=f"u{width // 8}", endpoint=True
    )
    planes = to_planes(values, width)
    for j in (0, 1, width // 2, width - 1):
        for r in (0, 1, width - 1):
            for c in range(n_words):
                bit = int(planes[j, c]) >> r & 1
                assert bit == int(values[r * n_words + c]) >> j & 1


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_planes", [1, 5, 8])
def test_round_trip_of_the_low_planes(width: int, n_planes: int) -> None:
    values = np.random.default_rng(1).integers(0, 1 << n_planes, 2 * width).astype(f"u{width // 8}")
    planes = to_planes(values, n_planes)
    assert planes.shape == (n_planes, 2)
    assert np.array_equal(from_planes(planes), values)
    assert np.array_equal(plane_to_values(planes[0], np.uint32), values & 1)


@pytest.mark.parametrize("width", WIDTHS)
def test_transposing_twice_gives_the_words_back(width: int) -> None:
    words = np.random.default_rng(2).integers(0, 1 << 8, (width, 5)).astype(f"u{width // 8}")
    assert np.array_equal(transpose_bits(transpose_bits(words)), words)


def test_padding() -> None:
    assert pad_values(np.arange(3, dtype=np.uint8), 4).tolist() == [0, 1, 2, 0]
    values = np.arange(4, dtype=np.uint8)
    assert pad_values(values, 4) is values


@pytest.mark.parametrize(("bits", "size"), [(1, 1), (8, 1), (9, 2), (17, 4), (33, 8), (64, 8)])
def test_word_sizes(bits: int, size: int) -> None:
    assert word_dtype(bits).itemsize == size


@pytest.mark.parametrize("width", WIDTHS)
def test_planes_of_a_constant_have_its_bits(width: int) -> None:
    planes = constant_planes(0b1011, 5, 2, f"u{width // 8}")
    ones = 2**width - 1
    assert planes.dtype.itemsize == width // 8
    assert planes.tolist() == [[ones, ones], [ones, ones], [0, 0], [ones, ones], [0, 0]]
