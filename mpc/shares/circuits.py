"""Circuits on bit-sliced shares: comparison and addition.

A bit share has shape `(n_planes, n_words)`, plane 0 the lowest bit (see `planes.py`). The only
interactive operation is `multiply`, that is AND; everything else is local.
"""

import numpy as np

from mpc.arrays import Array
from mpc.session.channel import Channel
from mpc.shares.replicated import Share, add_public, concatenate, multiply, public_share


def invert(share: Share, channel: Channel) -> Share:
    """Return NOT of every bit. Local."""
    return add_public(channel, share, np.array(~share.algebra.dtype.type(0)))


async def combine_pairs(channel: Channel, generate: Share, propagate: Share) -> Share:
    """Fold (g, p) pairs, lowest first, with (g, p) o (g', p') = (g + p g', p p').

    `propagate` lacks the entry of the lowest element, which is never needed. Returns the g of
    the whole. Cost: ceil(log2 n) rounds, less than 2 (n - 1) ANDs.
    """
    while generate.shape[0] > 1:
        n_pairs = generate.shape[0] // 2
        high = propagate[: 2 * n_pairs - 1 : 2]
        low_generate = generate[: 2 * n_pairs : 2]
        low_propagate = propagate[1 : 2 * n_pairs - 1 : 2]
        product = await multiply(
            channel, concatenate([high, high[1:]]), concatenate([low_generate, low_propagate])
        )
        odd = slice(2 * n_pairs, None)
        rest = slice(2 * n_pairs - 1, None)
        combined = generate[1 : 2 * n_pairs : 2] ^ product[:n_pairs]
        generate = concatenate([combined, generate[odd]])
        propagate = concatenate([product[n_pairs:], propagate[rest]])
    return generate[0]


async def less_than_public(channel: Channel, x: Share, y: Array) -> Share:
    """Return [x < y] per value, x shared and y public.

    Since y is public, (g, p) of a bit are y (1 - x) and 1 + x + y, and the product of two
    neighbouring ones needs the single AND q = p_high (1 - x_low):
    p_high g_low = y_low q and p_high p_low = q + y_low p_high.

    `x`: bit share `(b, n_words)`. `y`: public planes `(b, n_words)`.

    Returns a bit share `(n_words,)`.

    Reveals: nothing.
    Cost: ceil(log2 b) rounds (at least 1 where b > 1); for b = 16 19 ANDs per value.
    """
    n_pairs = x.shape[0] // 2
    inverse = invert(x, channel)
    generate = inverse.scale(y)
    propagate = add_public(channel, inverse, y)
    if n_pairs == 0:
        return generate[0]
    low, high = slice(0, 2 * n_pairs, 2), slice(1, 2 * n_pairs, 2)
    product = await multiply(channel, propagate[high], inverse[low])
    paired_generate = generate[high] ^ product.scale(y[low])
    paired_propagate = product[1:] ^ propagate[high][1:].scale(y[low][1:])
    odd = slice(2 * n_pairs, None)
    return await combine_pairs(
        channel,
        concatenate([paired_generate, generate[odd]]),
        concatenate([paired_propagate, propagate[odd]]),
    )


async def less_than(channel: Channel, x: Share, y: Share) -> Share:
    """Return [x < y] per value, both shared, as unsigned integers of b planes.

    Reveals: nothing. Cost: 1 + ceil(log2 b) rounds, less than 3 b ANDs per value.
    """
    inverse = invert(x, channel)
    generate = await multiply(channel, inverse, y)
    return await combine_pairs(channel, generate, (inverse ^ y)[1:])


async def ripple_add(channel: Channel, x: Share, y: Share) -> Share:
    """Return x + y mod 2^b with one AND per bit: the fewest bytes, for many values.

    Reveals: nothing. Cost: b - 1 rounds, b - 1 ANDs per value.
    """
    n_planes, n_words = x.shape
    carry = public_share(channel, x.algebra, np.zeros(n_words, x.algebra.dtype))
    planes = []
    for j in range(n_planes):
        with_x = x[j] ^ carry
        planes.append((with_x ^ y[j])[np.newaxis])
        if j < n_planes - 1:
            carry = carry ^ await multiply(channel, with_x, y[j] ^ carry)
    return concatenate(planes)


async def prefix_add(channel: Channel, x: Share, y: Share) -> Share:
    """Return x + y mod 2^b with Sklansky's prefix tree: the fewest rounds, for few values.

    Reveals: nothing. Cost: 1 + ceil(log2 (b - 1)) rounds, about b (1 + log2 b) ANDs per value.
    """
    n_planes = x.shape[0]
    half_sum = x ^ y
    if n_planes == 1:
        return half_sum
    n_carries = n_planes - 1
    generate = await multiply(channel, x[:n_carries], y[:n_carries])
    propagate = half_sum[:n_carries]
    block = 1
    while block < n_carries:
        targets = [j for j in range(n_carries) if j & block]
        sources = [(j // block) * block - 1 for j in targets]
        inner = [a for a, j in enumerate(targets) if j >= 2 * block]
        left, low = propagate[targets], generate[sources]
        product = await multiply(
            channel,
            concatenate([left, left[inner]]),
            concatenate([low, propagate[[sources[a] for a in inner]]]),
        )
        generate = _scatter(generate, targets, generate[targets] ^ product[: len(targets)])
        propagate = _scatter(propagate, [targets[a] for a in inner], product[len(targets) :])
        block *= 2
    carries = concatenate([generate[:1].scale(np.zeros((), x.algebra.dtype)), generate])
    return half_sum ^ carries


def _scatter(share: Share, index: list[int], planes: Share) -> Share:
    """Return `share` with some planes replaced."""
    components = {}
    for i in share.components.keys() | planes.components.keys():
        zero = np.zeros(share.shape, share.algebra.dtype)
        changed = np.array(share.components.get(i, zero))
        changed[index] = planes.components.get(i, 0)
        components[i] = changed
    return Share(share.algebra, share.shape, share.support | planes.support, components)


async def all_of(channel: Channel, bits: Share) -> Share:
    """Return the AND over the first axis.

    Reveals: nothing. Cost: ceil(log2 n) rounds, n - 1 ANDs per bit.
    """
    while bits.shape[0] > 1:
        half = bits.shape[0] // 2
        product = await multiply(channel, bits[:half], bits[half : 2 * half])
        bits = concatenate([product, bits[2 * half :]])
    return bits[0]


async def prefix_all(channel: Channel, bits: Share) -> Share:
    """Return, for every k, the AND of the first k + 1 planes, by Sklansky's prefix tree.

    Reveals: nothing. Cost: ceil(log2 n) rounds, about n log2(n) / 2 ANDs per bit.
    """
    n, block = bits.shape[0], 1
    while block < n:
        targets = [j for j in range(n) if j & block]
        sources = [(j // block) * block - 1 for j in targets]
        bits = _scatter(bits, targets, await multiply(channel, bits[targets], bits[sources]))
        block *= 2
    return bits


def look_up(indicators: Share, table: Array, n_planes: int) -> Share:
    """Return the XOR of table[h] over all h whose indicator is 1, lowest bit first. Local."""

    def combine(planes: Array) -> Array:
        return np.stack(
            [np.bitwise_xor.reduce(planes[table >> j & 1 == 1], axis=0) for j in range(n_planes)]
        )

    return indicators.map(combine, (n_planes, indicators.shape[1]))


def count_flags(flags: Share, n_planes: int) -> Share:
    """Return how many flags are 1, lowest bit first, where a flag implies all before it. Local.

    The count rises by one with each flag, so a bit of it is the sum of the flags at which that bit
    changes.
    """
    counts = np.arange(flags.shape[0])
    return look_up(flags, counts ^ (counts + 1), n_planes)


async def add_many(channel: Channel, addends: list[Share]) -> Share:
    """Return the sum of many numbers whose total fits into their planes.

    Carry-save adders turn three numbers into two with one AND per bit; the last two go through
    `prefix_add`. No carry leaves the top plane, since every intermediate sum is the total.

    `addends`: bit shares `(n_planes, n_words)`, lowest bit first.

    Reveals: nothing. Cost: about log_1.5 n rounds and those of `prefix_add`.
    """
    while len(addends) > 2:
        n_triples = len(addends) // 3
        x, y, z = (
            concatenate([share[np.newaxis] for share in addends[k : 3 * n_triples : 3]])
            for k in range(3)
        )
        with_z = x ^ z
        carry = z ^ await multiply(channel, with_z, y ^ z)
        total = with_z ^ y
        moved = carry.map(_shift_up, carry.shape)
        rest = addends[3 * n_triples :]
        addends = [total[k] for k in range(n_triples)] + [moved[k] for k in range(n_triples)] + rest
    return addends[0] if len(addends) == 1 else await prefix_add(channel, *addends)


def _shift_up(planes: Array) -> Array:
    """Multiply by two: move every plane (second axis) one place up."""
    result = np.zeros_like(planes)
    result[:, 1:] = planes[:, :-1]
    return result
