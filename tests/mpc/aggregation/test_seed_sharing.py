"""Threshold sharing of seeds: t shares give the seed, t - 1 give nothing."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.aggregation.seed_sharing import (
    PRIME,
    SHARE_BYTES,
    combine_shares,
    random_element,
    split_seed,
    weights_at_zero,
)
from mpc.errors import MpcError
from mpc.session.keystream import RandomBytes
from tests.support.secure.aggregation_sessions import seeded


def is_probable_prime(n: int) -> bool:
    """Miller-Rabin to the first 24 prime bases."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    bases = [p for p in range(2, 90) if all(p % q for q in range(2, p))]
    for base in bases:
        powers = [pow(base, odd << i, n) for i in range(twos)]
        if powers[0] != 1 and n - 1 not in powers:
            return False
    return True


def test_the_field_is_the_largest_one_of_16_bytes() -> None:
    assert is_probable_prime(PRIME)
    assert not any(is_probable_prime(n) for n in range(PRIME + 2, 2**128, 2))
    assert SHARE_BYTES == 16


@given(st.integers(0, PRIME - 1), st.integers(1, 9), st.integers(0, 3), st.randoms())
def test_any_threshold_of_shares_gives_the_seed(
    seed: int, threshold: int, spare: int, random: Random
) -> None:
    points = random.sample(range(1, 2**32), threshold + spare)
    shares = split_seed(seed, threshold, points, random.randbytes)
    chosen = random.sample(range(len(points)), threshold)
    weights = weights_at_zero([points[i] for i in chosen])
    assert combine_shares([shares[i] for i in chosen], weights) == seed


@pytest.mark.parametrize(("threshold", "n"), [(2, 3), (3, 4), (3, 3)])
def test_fewer_shares_are_uniform_whatever_the_seed_is(threshold: int, n: int) -> None:
    """All polynomials over seven elements, fed to the sharing as its random bytes."""
    prime, points = 7, list(range(1, n + 1))

    def from_stream(stream: Iterator[int]) -> RandomBytes:
        return lambda n_bytes: bytes([next(stream) << 5])

    for seed in range(prime):
        seen = {few: Counter[tuple[int, ...]]() for few in combinations(range(n), threshold - 1)}
        for coefficients in product(range(prime), repeat=threshold - 1):
            random_bytes = from_stream(iter(coefficients))
            shares = split_seed(seed, threshold, points, random_bytes, prime)
            for few, counter in seen.items():
                counter[tuple(shares[i] for i in few)] += 1
        for counter in seen.values():
            assert counter == Counter(dict.fromkeys(product(range(prime), repeat=threshold - 1), 1))


@given(st.integers(0, PRIME - 1), st.integers(0, PRIME - 1))
def test_fewer_shares_fit_any_seed(seed: int, other: int) -> None:
    """t - 1 shares and any other seed have a polynomial in common: a last share that fits."""
    points = [3, 8, 11, 20]
    shares = split_seed(seed, 4, points, seeded(seed))
    *weights, last = weights_at_zero(points)
    missing = (other - combine_shares(shares[:3], weights)) * pow(last, -1, PRIME) % PRIME
    assert combine_shares([*shares[:3], missing], [*weights, last]) == other
    assert (missing == shares[3]) == (other == seed)


def test_elements_are_drawn_by_rejection() -> None:
    draws = iter([b"\xff" * 16, PRIME.to_bytes(16, "little"), (PRIME - 1).to_bytes(16, "little")])
    assert random_element(lambda n: next(draws)) == PRIME - 1

    def of_one_byte(byte: int) -> int:
        return random_element(lambda n: bytes([byte]), 2**3 - 1)

    counts = Counter(map(of_one_byte, range(224)))
    assert set(counts) == set(range(7))
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize(
    ("seed", "threshold", "points"),
    [
        (1, 3, [1, 2]),
        (1, 0, [1, 2]),
        (1, 2, [1, 1]),
        (1, 2, [0, 1]),
        (1, 2, [1, PRIME + 1]),
        (1, 2, [1, PRIME]),
        (-1, 1, [1]),
        (PRIME, 1, [1]),
    ],
)
def test_impossible_sharings_are_refused(seed: int, threshold: int, points: list[int]) -> None:
    with pytest.raises(MpcError):
        split_seed(seed, threshold, points, seeded())


def test_weights_need_distinct_points() -> None:
    with pytest.raises(MpcError):
        weights_at_zero([1, 2, 1])
