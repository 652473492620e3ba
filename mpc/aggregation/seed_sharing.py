"""Threshold sharing of 128-bit seeds [Sha79].

A seed is an element of the prime field of `PRIME` elements: the constant term of a polynomial of
degree t - 1 whose other coefficients are uniform. A share is its value at a public non-zero point.
Any t shares give the seed; fewer are uniform whatever the seed is.
"""

from collections.abc import Iterable, Sequence

from mpc.errors import MpcError
from mpc.session.keystream import RandomBytes

PRIME = 2**128 - 159
"""The largest prime below 2^128: seeds and shares fill 16 bytes."""
SHARE_BYTES = 16


def random_element(random_bytes: RandomBytes, prime: int = PRIME) -> int:
    """Return a uniform element of the field, by rejection (no bias)."""
    n_bits = prime.bit_length()
    n_bytes = (n_bits + 7) // 8
    while True:
        drawn = int.from_bytes(random_bytes(n_bytes), "little") >> (8 * n_bytes - n_bits)
        if drawn < prime:
            return drawn


def _check_points(points: Sequence[int], prime: int) -> None:
    if len({point % prime for point in points} - {0}) != len(points):
        raise MpcError("the points of a sharing must be distinct and not zero")


def split_seed(
    seed: int,
    threshold: int,
    points: Sequence[int],
    random_bytes: RandomBytes,
    prime: int = PRIME,
) -> list[int]:
    """Return one share per point; any `threshold` of them give the seed.

    `seed`: 0 <= seed < prime. `points`: distinct and not zero modulo the prime.

    Raises MpcError: unusable points, a threshold that no set of them meets, a seed out of range.
    """
    _check_points(points, prime)
    if not (1 <= threshold <= len(points) and 0 <= seed < prime):
        raise MpcError(f"a seed cannot be shared {threshold} of {len(points)} in this field")
    coefficients = [random_element(random_bytes, prime) for _ in range(threshold - 1)]
    shares = []
    for point in points:
        value = 0
        for coefficient in coefficients:
            value = (value + coefficient) * point % prime
        shares.append((value + seed) % prime)
    return shares


def weights_at_zero(points: Sequence[int], prime: int = PRIME) -> list[int]:
    """Return Lagrange's weights: the seed is the weighted sum of the shares at these points.

    Raises MpcError: points that repeat or are zero.
    """
    _check_points(points, prime)
    weights = []
    for point in points:
        numerator = denominator = 1
        for other in points:
            if other != point:
                numerator = numerator * other % prime
                denominator = denominator * (other - point) % prime
        weights.append(numerator * pow(denominator, -1, prime) % prime)
    return weights


def combine_shares(shares: Iterable[int], weights: Iterable[int], prime: int = PRIME) -> int:
    """Return the seed, of the threshold's number of shares and their points' weights."""
    return sum(s * w for s, w in zip(shares, weights, strict=True)) % prime
