"""Shared random bits and biased coins that no party knows.

A uniform bit costs nothing: its components come from the key streams. A biased coin is
[U < threshold] for a shared uniform integer U and a public threshold.
"""

import asyncio
from collections.abc import Sequence

import numpy as np

from mpc.arrays import Array
from mpc.session.channel import Channel
from mpc.shares.circuits import all_of, combine_pairs, less_than_public
from mpc.shares.planes import constant_planes
from mpc.shares.replicated import Algebra, Share, add_public, concatenate, multiply, packed_bits

TABLE_BITS = 72
GROUP_BITS = 4
N_DIGITS = TABLE_BITS // GROUP_BITS
QUARTER = N_DIGITS // 4
WORD = packed_bits(np.uint64)


def random_share(channel: Channel, algebra: Algebra, shape: tuple[int, ...]) -> Share:
    """Return a uniform shared array. Local; any t parties lack one component [CDI05]."""
    access = channel.access
    components = {
        i: channel.stream("uniform", i, access.holders[i][0]).words(shape, algebra.dtype)
        for i in access.held[channel.pid]
    }
    return Share(algebra, shape, frozenset(range(len(access.sets))), components)


async def biased_coins(
    channel: Channel, thresholds: Sequence[int], n_bits: int, n_words: int
) -> Share:
    """Return independent coins, 64 per word: coin i is 1 with probability threshold_i / 2^n_bits.

    Returns a bit share `(n_coins, n_words)`.

    Reveals: nothing. Cost: log2 n_bits rounds; 89 ANDs per coin of 64 bits, 184 of 128.
    """
    n_coins = len(thresholds)
    uniform = random_share(channel, WORD, (n_bits, n_coins * n_words))
    planes = [constant_planes(c, n_bits, n_words, WORD.dtype) for c in thresholds]
    public = np.concatenate(planes, axis=1)
    coins = await less_than_public(channel, uniform, public)
    return coins.map(lambda plane: plane.reshape(n_coins, n_words), (n_coins, n_words))


async def digit_indicators(channel: Channel, digits: Share) -> Share:
    """Return [digit = v] for v = 0..15 of shared 4-bit digits.

    All products of subsets of the four bits are computed (11 ANDs); the indicators are sums of
    them (a Moebius transform over the subsets).

    `digits`: bit share `(4, ...)`, lowest bit first.

    Returns a bit share `(16, ...)`.

    Reveals: nothing. Cost: 2 rounds, 11 ANDs per digit.
    """
    shape = digits.shape[1:]
    pairs = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    product = await multiply(channel, digits[[a for a, _ in pairs]], digits[[b for _, b in pairs]])
    by_subset: dict[int, Share] = {1 << j: digits[j] for j in range(GROUP_BITS)}
    by_subset |= {1 << a | 1 << b: product[k] for k, (a, b) in enumerate(pairs)}
    larger = [(0b0011, 0b0100), (0b0011, 0b1000), (0b1100, 0b0001), (0b1100, 0b0010)]
    larger.append((0b0011, 0b1100))
    product = await multiply(
        channel,
        _stack([by_subset[a] for a, _ in larger]),
        _stack([by_subset[b] for _, b in larger]),
    )
    by_subset |= {a | b: product[k] for k, (a, b) in enumerate(larger)}
    zeros = digits[:1].scale(np.zeros((), digits.algebra.dtype))
    one = add_public(channel, zeros, np.array(~digits.algebra.dtype.type(0)))
    monomials = concatenate([one, *(by_subset[s][np.newaxis] for s in range(1, 16))])
    return monomials.map(_moebius, (16, *shape))


def _stack(shares: list[Share]) -> Share:
    return concatenate([share[np.newaxis] for share in shares])


def _moebius(monomials: Array) -> Array:
    """Turn products over subsets into indicators: XOR over all supersets."""
    planes = np.array(monomials)
    for j in range(GROUP_BITS):
        for subset in range(16):
            if not subset >> j & 1:
                planes[subset] ^= planes[subset | 1 << j]
    return planes


async def below_thresholds(channel: Channel, thresholds: Sequence[int], n_words: int) -> Share:
    """Return [U < threshold] for many public thresholds and one uniform 72-bit U per bit position.

    The thresholds share the indicators of the 4-bit digits of U, from which digit-wise "less" and
    "equal" are local for every threshold; only their combination needs ANDs. A threshold with
    leading zero digits (a tail probability) is compared on its other digits, and the shared
    indicator of a zero prefix is multiplied in.

    `thresholds`: below 2**72, in descending order.

    Returns a bit share `(n_thresholds, n_words)`, 64 values per word.

    Reveals: nothing.
    Cost: 9 rounds at most; 209 ANDs per U, and per threshold 8 to 29.
    """
    uniform = random_share(channel, WORD, (GROUP_BITS, N_DIGITS, n_words))
    equal = await digit_indicators(channel, uniform)
    less = equal.map(_strictly_below, equal.shape)
    by_prefix: list[list[int]] = [[] for _ in range(4)]
    for threshold in thresholds:
        leading = N_DIGITS - -(-threshold.bit_length() // GROUP_BITS)
        by_prefix[min(leading // QUARTER, 3)].append(threshold)
    used = [quarter for quarter, part in enumerate(by_prefix) if part]
    *pieces, prefix_piece = channel.fork(len(used) + 1)
    prefixes, compared = await asyncio.gather(
        _zero_prefixes(prefix_piece, equal[0]),
        asyncio.gather(
            *(
                _compare_digits(piece, less, equal, by_prefix[q], N_DIGITS - QUARTER * q)
                for piece, q in zip(pieces, used, strict=True)
            )
        ),
    )
    channel.join([*pieces, prefix_piece])
    if used[-1] == 0:
        return compared[0]
    split = 1 if used[0] == 0 else 0
    masks = [prefixes[q][np.newaxis][[0] * len(by_prefix[q])] for q in used[split:]]
    tails = await multiply(channel, concatenate(compared[split:]), concatenate(masks))
    return concatenate([*compared[:split], tails])


def _strictly_below(equal: Array) -> Array:
    """Turn [digit = v] into [digit < v]: XOR over the smaller values, of which one at most is 1."""
    below = np.zeros_like(equal)
    below[1:] = np.bitwise_xor.accumulate(equal[:-1], axis=0)
    return below


async def _compare_digits(
    channel: Channel, less: Share, equal: Share, thresholds: Sequence[int], n_digits: int
) -> Share:
    """Return [U mod 16^n_digits < threshold] for thresholds of so many digits."""
    digits = np.array([[c >> 4 * d & 15 for c in thresholds] for d in range(n_digits)])
    position = np.arange(n_digits)[:, np.newaxis]
    generate = less[digits, position]
    propagate = equal[digits[1:], position[1:]]
    return await combine_pairs(channel, generate, propagate)


async def _zero_prefixes(channel: Channel, zero: Share) -> dict[int, Share]:
    """Return [the top 4 q digits are zero] for q = 1, 2, 3, of the digits' zero indicators."""
    n_words = zero.shape[1]
    top = zero.map(
        lambda p: p[::-1][: 3 * QUARTER].reshape(3, QUARTER, n_words).swapaxes(0, 1),
        (QUARTER, 3, n_words),
    )
    quarter = await all_of(channel, top)
    two = await multiply(channel, quarter[0], quarter[1])
    three = await multiply(channel, two, quarter[2])
    return {1: quarter[0], 2: two, 3: three}
