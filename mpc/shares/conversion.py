"""Conversions between shares over Z_2^k and bit shares.

The components of a sharing form t + 1 addends, each known to one party (the last one to all
holders of a single component). Bits of a sum follow from the addends' bits by binary adders;
a bit in the ring follows from its addends by a + b - 2 a b.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from mpc.arrays import Array
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.planes import pad_values, plane_to_values, to_planes, word_dtype
from mpc.shares.replicated import (
    Algebra,
    Share,
    component_share,
    component_sum,
    multiply,
    packed_bits,
    reshare,
    share_input,
)

Adder = Callable[[Channel, Share, Share], Awaitable[Share]]


async def _share_addends(
    channel: Channel,
    share: Share,
    algebra: Algebra,
    shape: tuple[int, ...],
    rotation: int,
    encode: Callable[[Array], Array],
) -> list[Share]:
    """Share each of the t + 1 addends of `share`, encoded, in another algebra.

    An addend of a single component is shared without communication. Cost: at most t rounds.
    """
    shares = []
    for party, components in channel.access.addends(rotation):
        if len(components) == 1:
            (component,) = components
            held = component in channel.access.held[channel.pid]
            values = encode(component_sum(share, components)) if held else None
            shares.append(component_share(algebra, shape, component, values))
        else:
            known = channel.pid == party
            values = encode(component_sum(share, components)) if known else None
            shares.append(await share_input(channel, algebra, shape, party, values))
    return shares


async def ring_to_bits(
    channel: Channel, x: Share, n_planes: int, adder: Adder, rotation: int = 0
) -> Share:
    """Return the low `n_planes` bits of shared ring elements as a bit share.

    `x`: ring share `(n,)`. `n_planes`: at most k. `adder`: `ripple_add` (fewest bytes) or
    `prefix_add` (fewest rounds). `rotation`: shifts the parties' roles, for balance between chunks.

    Returns a bit share `(n_planes, n_words)` of n values padded with zeros to a multiple of 64.

    Reveals: nothing. Cost: t inputs of n_planes bits per value and t additions.
    """
    dtype = word_dtype(n_planes)
    algebra = packed_bits(dtype)
    n_words = -(-x.shape[0] // 64) * 64 // (8 * dtype.itemsize)

    def encode(values: Array) -> Array:
        return to_planes(pad_values(values.astype(dtype), 64), n_planes)

    addends = await _share_addends(channel, x, algebra, (n_planes, n_words), rotation, encode)
    total = addends[0]
    for addend in addends[1:]:
        total = await adder(channel, total, addend)
    return total


async def bits_to_ring(channel: Channel, bits: Share, algebra: Algebra, rotation: int = 0) -> Share:
    """Return shared bits as shared ring elements 0 and 1.

    `bits`: bit share `(n_planes, n_words)`.

    Returns a ring share `(n_planes, n)`.

    Reveals: nothing. Cost: at most 2 t rounds and (2 t + 1) ring elements per bit and party.
    """
    width = 8 * bits.algebra.dtype.itemsize
    shape = (bits.shape[0], bits.shape[1] * width)

    def encode(planes: Array) -> Array:
        return _ring_values(planes, algebra)

    addends = await _share_addends(channel, bits, algebra, shape, rotation, encode)
    total = addends[0]
    for addend in addends[1:]:
        product = await multiply(channel, total, addend)
        total = total + addend - product.scale(np.array(2, algebra.dtype))
    return total


@dataclass(frozen=True)
class Trio:
    """The roles in a product for t = 1: P knows one addend of a secret, Q and R the other one.

    `known` is the component that P lacks, Q and R's addend; `hidden` is the one that R lacks, from
    whose stream P and Q draw.
    """

    p: int
    q: int
    r: int
    known: int
    hidden: int

    @classmethod
    def of(cls, access: AccessStructure, rotation: int) -> Self:
        """Return the roles of three neighbours; `rotation` shifts them, for balance."""
        p, q, r = ((rotation + j) % access.n_parties for j in range(3))
        known, hidden = (access.component_excluding(frozenset([party])) for party in (p, r))
        return cls(p, q, r, known, hidden)


async def split_addends(
    channel: Channel,
    algebra: Algebra,
    shape: tuple[int, ...],
    trio: Trio,
    addends: Sequence[Array],
    n: int,
) -> list[Array]:
    """Split n arrays that P knows additively between Q (by a stream) and R (by a message).

    `addends` has them at P and is empty at the others. Returns the parts of Q and of R, and
    nothing at the other parties.

    Reveals: nothing; R lacks the stream. Cost: 1 round, n ring elements per entry from P to R.
    """
    if channel.pid in (trio.p, trio.q):
        stream = channel.stream("split", trio.hidden, trio.p)
        masks = [stream.words(shape, algebra.dtype) for _ in range(n)]
    outgoing = {}
    if channel.pid == trio.p:
        rests = zip(addends, masks, strict=True)
        outgoing[trio.r] = b"".join(algebra.encode(addend - mask) for addend, mask in rests)
    received = await channel.exchange(outgoing, [trio.p] if channel.pid == trio.r else [])
    if channel.pid == trio.r:
        size = algebra.encoded_size(shape)
        cuts = [*range(0, n * size, size), None]
        spans = map(slice, cuts, cuts[1:])
        return [algebra.decode(received[trio.p][span], shape, trio.p) for span in spans]
    return masks if channel.pid == trio.q else []


async def weighted_bit_sum(
    channel: Channel, bits: Share, weights: Array, algebra: Algebra, rotation: int = 0
) -> Share:
    """Return sum_j weights_j bit_j over the planes, in the ring.

    For t = 1 a bit is u + v - 2 u v with u known to party P and v to the others. P splits u between
    Q and R; the sum of all products is reshared as one element.

    `bits`: bit share `(n_planes, n_words)`. `weights`: `(n_planes,)` public ring elements.

    Returns a ring share `(n,)`, n values in the planes' order.

    Reveals: nothing.
    Cost: t = 1: 2 rounds, one element per bit from P to R and one per value and party; otherwise
    as `bits_to_ring`.
    """
    n_planes, n_words = bits.shape
    n = n_words * 8 * bits.algebra.dtype.itemsize
    if channel.access.threshold > 1:
        in_ring = await bits_to_ring(channel, bits, algebra, rotation)
        return in_ring.map(lambda x: _weigh(x, weights), (n,))
    trio, addends = Trio.of(channel.access, rotation), []
    summand = np.zeros(n, algebra.dtype)
    if channel.pid == trio.p:
        u = _ring_values(component_sum(bits, channel.access.held[trio.p]), algebra)
        addends, summand = [u], _weigh(u, weights)
    parts = await split_addends(channel, algebra, (n_planes, n), trio, addends, 1)
    if parts:
        v = _ring_values(bits.components[trio.known], algebra)
        if channel.pid == trio.r:
            summand = _weigh(v, weights)
        summand = summand - algebra.dtype.type(2) * _weigh(parts[0] * v, weights)
    return await reshare(channel, algebra, (n,), summand, [trio.p, trio.q, trio.r])


def _ring_values(planes: Array, algebra: Algebra) -> Array:
    return np.stack([plane_to_values(plane, algebra.dtype) for plane in planes])


def _weigh(values: Array, weights: Array) -> Array:
    """Return the weighted sum over the first axis, modulo the word."""
    total = np.zeros(values.shape[1:], values.dtype)
    for row, weight in zip(values, weights, strict=True):
        total += row * weight
    return total
