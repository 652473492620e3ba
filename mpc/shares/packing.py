"""Ring elements on the wire: exactly k bits each.

n elements of k bits become whole bytes (16 and 8 bits at a time, element by element) followed by
one bit plane per remaining bit, so 10^6 elements of 18 bits take 2,250,000 bytes.
"""

import numpy as np
import numpy.typing as npt

from mpc.arrays import Array


def packed_size(n_elements: int, bits: int) -> int:
    """Return the number of bytes of `n_elements` packed elements of `bits` bits."""
    return n_elements * (bits // 8) + (bits % 8) * ((n_elements + 7) // 8)


def _limbs(bits: int) -> list[tuple[int, int]]:
    """Split k bits into (first bit, width) limbs of 16 bits, then 8, leaving k mod 8 bits."""
    limbs = [(16 * i, 16) for i in range(bits // 16)]
    if bits % 16 >= 8:
        limbs.append((16 * len(limbs), 8))
    return limbs


def pack_ring(values: Array, bits: int) -> bytes:
    """Return the low `bits` bits of every element, packed.

    `values`: unsigned integers of any shape, taken in C order; higher bits are ignored. `bits`: k,
    1 <= k <= the width of the dtype.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    parts = []
    for first, width in _limbs(bits):
        limb = flat >> flat.dtype.type(first) if first else flat
        parts.append(limb.astype(f"<u{width // 8}").tobytes())
    start = bits - bits % 8
    if bits % 8:
        rest = (flat >> flat.dtype.type(start)).astype(np.uint8)
        parts += [
            np.packbits(rest & np.uint8(1 << j), bitorder="little").tobytes()
            for j in range(bits % 8)
        ]
    return b"".join(parts)


def unpack_ring(packed: Array, n_elements: int, bits: int, dtype: npt.DTypeLike) -> Array:
    """Inverse of `pack_ring`: return `(n_elements,)` integers below 2**bits.

    `packed`: `(packed_size(n_elements, bits),)` bytes.
    """
    result = np.zeros(n_elements, dtype)
    position = 0
    for first, width in _limbs(bits):
        size = n_elements * width // 8
        limb = packed[position : position + size].view(f"<u{width // 8}").astype(dtype)
        result |= limb << result.dtype.type(first) if first else limb
        position += size
    if bits % 8:
        plane_size = (n_elements + 7) // 8
        rest = np.zeros(n_elements, np.uint8)
        for j in range(bits % 8):
            plane = packed[position : position + plane_size]
            rest |= np.unpackbits(plane, count=n_elements, bitorder="little") << np.uint8(j)
            position += plane_size
        result |= rest.astype(dtype) << result.dtype.type(bits - bits % 8)
    return result
