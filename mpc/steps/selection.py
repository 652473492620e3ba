"""The exponential mechanism on shares: integer scores, Gumbel noise, a tournament, one index.

Report-noisy-max with Gumbel noise is the exponential mechanism [DDR20]. Scores are
S_r = C_r (L_r - bias_r) in units of 2^-f, with public integers C_r and bias_r, so nothing secret
meets a float.
"""

import asyncio
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from mpc.arrays import Array
from mpc.errors import EncodingOverflow
from mpc.noise.bank import NoiseBank
from mpc.session.channel import Channel
from mpc.shares.circuits import all_of, less_than, prefix_add
from mpc.shares.conversion import bits_to_ring, ring_to_bits
from mpc.shares.opening import open_share
from mpc.shares.planes import from_planes, pad_values, plane_to_values, to_planes, word_dtype
from mpc.shares.replicated import (
    Algebra,
    Share,
    add_public,
    concatenate,
    multiply,
    packed_bits,
    public_share,
    ring,
)

MAX_SCORE_BITS = 62
MAX_GROUP = 32


def score_bits(
    multipliers: Sequence[int], biases: Sequence[int], distance_bound: int, noise_bound: int
) -> int:
    """Return K such that every noisy score lies strictly within +-2^(K-1).

    Raises EncodingOverflow: K exceeds `MAX_SCORE_BITS`; nothing would be correct beyond.
    """
    largest = max(
        c * (distance_bound + abs(bias)) for c, bias in zip(multipliers, biases, strict=True)
    )
    bits = (largest + noise_bound + 1).bit_length() + 1
    if bits > MAX_SCORE_BITS:
        raise EncodingOverflow(
            f"scores of {bits} bits do not fit into {MAX_SCORE_BITS}: epsilon, the number of "
            "records or the noise of this round is too large"
        )
    return bits


async def lift(channel: Channel, values: Share, n_bits: int, algebra: Algebra) -> Share:
    """Bring shared values below 2**n_bits from a small ring to a larger one, by their bits.

    Reveals: nothing. Cost: 2 + ceil(log2 n_bits) rounds for the bits, 2 t for the lift.
    """
    n = values.shape[0]
    bits = await ring_to_bits(channel, values, n_bits, prefix_add)
    in_ring = await bits_to_ring(channel, bits, algebra)
    weights = (np.uint64(1) << np.arange(n_bits, dtype=np.uint64)).astype(algebra.dtype)

    def weigh(planes: Array) -> Array:
        result: Array = (planes[:, :n] * weights[:, np.newaxis]).sum(axis=0, dtype=algebra.dtype)
        return result

    return in_ring.map(weigh, (n,))


async def select(
    channel: Channel,
    distances: Share,
    distance_bits: int,
    multipliers: Sequence[int],
    biases: Sequence[int],
    bank: NoiseBank,
    noise_bound: int,
) -> int:
    """Return argmax_r of C_r (L_r - bias_r) + 2^f G_r, ties to the lowest index.

    `distances`: ring share `(n,)` of L_r, each below 2**distance_bits. `multipliers`: public C_r >=
    0. `biases`: public bias_r, in counts. `bank`: where the Gumbels come from. `noise_bound`: the
    largest magnitude of a candidate's noise, in units of 2^-f.

    Reveals: the index, to all compute parties. One candidate is chosen without any message.
    Cost: see `tournament`; 600 candidates with K = 48 take about 50 rounds.

    Raises EncodingOverflow: see `score_bits`.
    """
    if len(multipliers) == 1:
        return 0
    n_bits = score_bits(multipliers, biases, 1 << distance_bits, noise_bound)
    algebra = ring(n_bits)
    (piece,) = channel.fork(1)
    lifted, gumbel = await asyncio.gather(
        lift(piece, distances, distance_bits, algebra), bank.gumbels(algebra, len(multipliers))
    )
    channel.join([piece])
    offset = 1 << (n_bits - 1)
    constants = [offset - c * bias for c, bias in zip(multipliers, biases, strict=True)]
    noisy = lifted.scale(algebra.elements(multipliers)) + gumbel
    shifted = add_public(channel, noisy, algebra.elements(constants))
    planes = await ring_to_bits(channel, shifted, n_bits, prefix_add)
    index = await tournament(channel, planes, len(multipliers))
    return int((await open_share(channel, index))[0])


async def tournament(channel: Channel, planes: Share, n_values: int) -> Share:
    """Return the position of the largest of n shared values, the first of equals.

    Groups of g values are compared pairwise at once, so that few levels, and so few rounds, are
    needed; the winner of a group goes on with its index.

    `planes`: bit share `(K, n_words)` of values in [1, 2^K).

    Returns a bit share `(1,)` of one word: the index.

    Reveals: nothing.
    Cost: per level 2 + ceil(log2 K) + ceil(log2 (g - 1)) rounds, (g - 1) / 2 comparisons per value.
    """
    n_planes = planes.shape[0]
    wide = packed_bits(np.uint64)
    values = planes.cast(wide, lambda p: from_planes(p)[:n_values].astype(wide.dtype), (n_values,))
    index = public_share(channel, wide, np.arange(n_values, dtype=np.uint64))
    while values.shape[0] > 1:
        group = _group_size(values.shape[0])
        values, index = await _play_level(channel, values, index, n_planes, group)
    return index


def _group_size(n_values: int) -> int:
    """Return the smallest group size that needs as few levels as groups of `MAX_GROUP` do."""
    levels = 1
    while MAX_GROUP**levels < n_values:
        levels += 1
    return next(g for g in range(2, MAX_GROUP + 1) if g**levels >= n_values)


async def _play_level(
    channel: Channel, values: Share, index: Share, n_planes: int, group: int
) -> tuple[Share, Share]:
    """Reduce every `group` values to their largest. Missing values are 0 and lose all ties."""
    n_groups = -(-values.shape[0] // group)

    def pad(words: Array) -> Array:
        return np.pad(words, (0, n_groups * group - words.shape[0])).reshape(n_groups, group).T

    shape = (group, n_groups)
    values, index = values.map(pad, shape), index.map(pad, shape)
    wins = await _pairwise_wins(channel, values, n_planes)
    # A bit as a word of 64 equal bits selects a whole value with one AND per bit.
    masks = wins.cast(values.algebra, lambda bits: np.uint64(0) - bits.astype(np.uint64), shape)
    chosen = await multiply(channel, concatenate([masks, masks]), concatenate([values, index]))

    def fold(words: Array) -> Array:
        result: Array = np.bitwise_xor.reduce(words, axis=0)
        return result

    return chosen[:group].map(fold, (n_groups,)), chosen[group:].map(fold, (n_groups,))


async def _pairwise_wins(channel: Channel, values: Share, n_planes: int) -> Share:
    """Return, as 0 / 1 bytes `(g, n_groups)`, which value is the largest of its group."""
    group, n_groups = values.shape
    pairs = list(combinations(range(group), 2))
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    n_bits = len(pairs) * n_groups
    dtype = word_dtype(n_planes)
    n_words = -(-n_bits // 64) * 64 // (8 * dtype.itemsize)

    def planes(words: Array) -> Array:
        return to_planes(pad_values(words.reshape(-1).astype(dtype), 64), n_planes)

    x, y = (
        values[side].cast(packed_bits(dtype), planes, (n_planes, n_words))
        for side in (first, second)
    )
    shape, byte = (len(pairs), n_groups), packed_bits(np.uint8)
    second_wins = (await less_than(channel, x, y)).cast(
        byte, lambda p: plane_to_values(p, byte.dtype)[:n_bits].reshape(shape), shape
    )
    first_wins = add_public(channel, second_wins, np.array(1, np.uint8))
    return await _all_against_all(channel, concatenate([first_wins, second_wins]), pairs, group)


async def _all_against_all(
    channel: Channel, wins: Share, pairs: list[tuple[int, int]], group: int
) -> Share:
    """Return the AND of each value's results against all rivals, as 0 / 1 bytes.

    `wins` holds, per pair, whether its first member won and then whether its second did.
    """
    n_groups = wins.shape[1]
    row = {pair: k for k, pair in enumerate(pairs)}
    row |= {(b, a): len(pairs) + k for (a, b), k in row.items()}
    results = np.array(
        [[row[a, (a + rival) % group] for a in range(group)] for rival in range(1, group)]
    )
    n_bits = group * n_groups

    def pack(bits: Array) -> Array:
        return np.packbits(bits[results].reshape(group - 1, n_bits), axis=1)

    won = await all_of(channel, wins.map(pack, (group - 1, (n_bits + 7) // 8)))

    def unpack(packed: Array) -> Array:
        return np.unpackbits(packed, count=n_bits).reshape(group, n_groups)

    return won.map(unpack, (group, n_groups))
