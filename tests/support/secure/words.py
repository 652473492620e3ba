"""Integers as bit planes of 64-bit words: value i is bit i % 64 of word i // 64."""

from collections.abc import Sequence

import numpy as np

from mpc.arrays import Array


def planes_of(values: Sequence[int], n_bits: int) -> Array:
    """Return the `(n_bits, n / 64)` planes of integers of any size, lowest bit first."""
    rows = np.zeros((n_bits, -(-len(values) // 64)), np.uint64)
    for i, value in enumerate(values):
        for j in range(n_bits):
            rows[j, i // 64] |= np.uint64((value >> j & 1) << i % 64)
    return rows


def values_of(words: Array, n: int) -> Array:
    """Return the bits of packed words, in the same order."""
    return np.unpackbits(words.astype("<u8").view(np.uint8), axis=-1, bitorder="little")[..., :n]
