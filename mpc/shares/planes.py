"""Bit-sliced vectors: plane j is a packed array of words with bit j of every value.

n values of w bits (w = 8, 16, 32, 64) are seen as a w x (n / w) matrix of words; transposing its
w x w bit blocks by masked swaps gives the w planes of n / w words. Bit r of word c of a plane
belongs to value r * (n / w) + c: a fixed public order, the same for all planes of a vector.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.arrays import Array


def word_dtype(n_bits: int) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds `n_bits` bits (at most 64)."""
    return np.dtype(next(f"u{size}" for size in (1, 2, 4, 8) if n_bits <= 8 * size))


def _swap_masks(width: int) -> list[tuple[int, int]]:
    """Return (distance, mask of the low halves of 2 * distance bits) from w/2 down to 1."""
    masks = []
    distance = width // 2
    while distance:
        low = (1 << distance) - 1
        masks.append((distance, sum(low << start for start in range(0, width, 2 * distance))))
        distance //= 2
    return masks


def transpose_bits(words: Array) -> Array:
    """Transpose the bit blocks of a `(w, c)` matrix of w-bit words. It is its own inverse."""
    width, n_columns = words.shape
    rows = words.copy()
    dtype = rows.dtype.type
    for distance, mask in _swap_masks(width):
        blocks = rows.reshape(width // (2 * distance), 2, distance, n_columns)
        low, high = blocks[:, 0], blocks[:, 1]
        swap = low >> dtype(distance)
        swap ^= high
        swap &= dtype(mask)
        high ^= swap
        swap <<= dtype(distance)
        low ^= swap
    return rows


def to_planes(values: Array, n_planes: int) -> Array:
    """Return the low `n_planes` bit planes, `(n_planes, n / w)` words.

    `values`: `(n,)` unsigned integers of w bits, n a multiple of w.
    """
    width = values.dtype.itemsize * 8
    return transpose_bits(values.reshape(width, -1))[:n_planes]


def from_planes(planes: Array) -> Array:
    """Return the `(n,)` values whose low planes these are. Inverse of `to_planes`."""
    width = planes.dtype.itemsize * 8
    rows = np.zeros((width, planes.shape[1]), planes.dtype)
    rows[: planes.shape[0]] = planes
    return transpose_bits(rows).reshape(-1)


def constant_planes(value: int, n_planes: int, n_words: int, dtype: npt.DTypeLike) -> Array:
    """Return the planes `(n_planes, n_words)` of one public integer, lowest bit first."""
    zero = np.zeros((), dtype)
    bits = np.array([~zero if value >> j & 1 else zero for j in range(n_planes)], dtype)
    return np.repeat(bits[:, np.newaxis], n_words, axis=1)


def plane_to_values(plane: Array, dtype: npt.DTypeLike) -> Array:
    """Return bit by bit one plane `(n / w,)` as `(n,)` zeros and ones of `dtype`."""
    width = plane.dtype.itemsize * 8
    words = np.ascontiguousarray(plane).view(np.uint8)
    bits = np.unpackbits(words, bitorder="little").reshape(-1, width)
    return bits.T.astype(dtype, order="C").reshape(-1)


def pad_values(values: Array, multiple: int) -> Array:
    """Append zeros up to a multiple of `multiple` values."""
    missing = -values.shape[0] % multiple
    return values if not missing else np.concatenate([values, np.zeros(missing, values.dtype)])
