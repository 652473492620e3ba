"""Plaintext twins of the secure steps: same names and arguments, arrays in place of shares.

The channel is left out, the noise is an argument. The conformance tests hold every secure step,
of both engines, against its twin.
"""

from collections.abc import Sequence

import numpy as np

from mpc.arrays import Array, Integers


def multiply(x: Array, y: Array, bits: int) -> Array:
    """Twin of `replicated.multiply`: product modulo 2^bits, AND for bits = 0."""
    if bits == 0:
        return x & y
    product = x.astype(object) * y.astype(object)
    return np.asarray(product % (1 << bits), dtype=np.uint64)


def less_than(x: Array, y: Array) -> Array:
    """Twin of `circuits.less_than` and `circuits.less_than_public`: 1 where x < y."""
    return (x < y).astype(np.uint8)


def add(x: Array, y: Array, n_planes: int) -> Array:
    """Twin of `circuits.ripple_add` and `circuits.prefix_add`: x + y mod 2^n_planes."""
    total: Array = (x + y) & x.dtype.type((1 << n_planes) - 1)
    return total


def ring_to_bits(x: Array, n_planes: int) -> Array:
    """Twin of `conversion.ring_to_bits`: `(n_planes, n)` bits, lowest first."""
    shifts = np.arange(n_planes, dtype=x.dtype)[:, np.newaxis]
    bits: Array = (x[np.newaxis] >> shifts) & x.dtype.type(1)
    return bits


def bit_products(d: Array, s: Array, bits: int) -> Array:
    """Twin of `distance.bit_products`: d where s is 1, modulo 2^bits."""
    products: Array = np.where(s, d, 0) & d.dtype.type((1 << bits) - 1)
    return products


def l1_distances(
    cells: Integers,
    sizes: Sequence[int],
    candidates: Sequence[int],
    model_counts: Sequence[Integers],
) -> list[int]:
    """Twin of `distance.l1_distances`: |x - y| summed over each candidate's cells."""
    marginals = np.split(cells, np.cumsum(sizes)[:-1])
    return [
        int(np.abs(marginals[c] - model).sum())
        for c, model in zip(candidates, model_counts, strict=True)
    ]


def tournament(values: Sequence[int]) -> int:
    """Twin of `selection.tournament`: position of the largest value, the first of equals."""
    return max(range(len(values)), key=lambda r: (values[r], -r))


def select(
    distances: Sequence[int],
    multipliers: Sequence[int],
    biases: Sequence[int],
    gumbel: Sequence[int],
) -> int:
    """Twin of `selection.select`: argmax_r of C_r (L_r - bias_r) + noise_r, exact integers."""
    scores = [
        c * (int(distance) - bias) + int(noise)
        for distance, c, bias, noise in zip(distances, multipliers, biases, gumbel, strict=True)
    ]
    return tournament(scores)


def measure(cells: Integers, gaussian: Integers) -> Integers:
    """Twin of the step "measure": the noisy counts."""
    return cells + gaussian
