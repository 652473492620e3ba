"""Replicated secret sharing over bits and over Z_2^k: shares, local operations, multiplication.

A share maps component numbers to arrays; a component that is absent is zero at every party
(`support` says which are not, the same at all parties). XOR/AND over packed bits and +/* modulo
2^k differ only in their ufuncs, so one multiplication protocol serves both.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.arrays import Array
from mpc.errors import EncodingOverflow
from mpc.session.channel import Channel
from mpc.session.frames import array_from_bytes
from mpc.shares.packing import pack_ring, packed_size, unpack_ring


@dataclass(frozen=True)
class Algebra:
    """A ring whose elements are array entries.

    `bits` is k for Z_2^k and 0 for vectors of packed bits. Ring elements are kept in the
    smallest of uint32 and uint64 and reduced modulo 2^k only where they are sent or opened.
    """

    bits: int
    dtype: np.dtype[Any]

    @property
    def add(self) -> np.ufunc:
        """Addition of the ring."""
        return np.add if self.bits else np.bitwise_xor

    @property
    def subtract(self) -> np.ufunc:
        """Subtraction of the ring."""
        return np.subtract if self.bits else np.bitwise_xor

    @property
    def multiply(self) -> np.ufunc:
        """Multiplication of the ring."""
        return np.multiply if self.bits else np.bitwise_and

    def elements(self, values: Iterable[int]) -> Array:
        """Return public integers of any sign as ring elements."""
        modulus = 1 << (8 * self.dtype.itemsize)
        return np.array([value % modulus for value in values], self.dtype)

    def encode(self, values: Array) -> bytes:
        """Serialise elements: k bits each, or the packed bits as they are."""
        return pack_ring(values, self.bits) if self.bits else values.tobytes()

    def encoded_size(self, shape: tuple[int, ...]) -> int:
        """Return how many bytes `encode` makes of elements in this shape."""
        n = math.prod(shape)
        return packed_size(n, self.bits) if self.bits else n * self.dtype.itemsize

    def decode(self, payload: bytes, shape: tuple[int, ...], party: int) -> Array:
        """Inverse of `encode`; raises ProtocolViolation on a wrong length."""
        if not self.bits:
            return array_from_bytes(payload, self.dtype, shape, party)
        n = math.prod(shape)
        raw = array_from_bytes(payload, np.uint8, (self.encoded_size(shape),), party)
        return unpack_ring(raw, n, self.bits, self.dtype).reshape(shape)


def ring(bits: int) -> Algebra:
    """Return Z_2^bits for 1 <= bits <= 64."""
    if not 1 <= bits <= 64:
        raise EncodingOverflow(f"a ring of {bits} bits is not supported, at most 64 are")
    return Algebra(bits, np.dtype(np.uint32 if bits <= 32 else np.uint64))


def packed_bits(dtype: npt.DTypeLike) -> Algebra:
    """Return the algebra of bits packed into words of `dtype`."""
    return Algebra(0, np.dtype(dtype))


@dataclass(frozen=True, eq=False)
class Share:
    """One party's components of a shared array.

    `components` has an array of `shape` for every component of `support` that this party
    holds. The representation never shows values and a share cannot be serialised.
    """

    algebra: Algebra
    shape: tuple[int, ...]
    support: frozenset[int]
    components: dict[int, Array] = field(repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a share is never serialised")

    def map(self, function: Callable[[Array], Array], shape: tuple[int, ...]) -> "Share":
        """Apply a function that is linear over the ring to every component."""
        return self.cast(self.algebra, function, shape)

    def cast(
        self, algebra: Algebra, function: Callable[[Array], Array], shape: tuple[int, ...]
    ) -> "Share":
        """Apply a function that is linear from this ring to another one to every component."""
        changed = {i: function(x) for i, x in self.components.items()}
        return Share(algebra, shape, self.support, changed)

    def zeros(self) -> Array:
        """Return zeros in this share's shape and type."""
        return np.zeros(self.shape, self.algebra.dtype)

    def __getitem__(self, index: Any) -> "Share":
        components = {i: x[index] for i, x in self.components.items()}
        some = next(iter(components.values()), None)
        shape = self.zeros()[index].shape if some is None else some.shape
        return Share(self.algebra, shape, self.support, components)

    def scale(self, factor: Array) -> "Share":
        """Multiply by public ring elements (bits: AND with public bits)."""
        shape = np.broadcast_shapes(self.shape, factor.shape)
        return self.map(lambda x: self.algebra.multiply(x, factor), shape)

    def __add__(self, other: "Share") -> "Share":
        return _combine(self, other, self.algebra.add)

    def __sub__(self, other: "Share") -> "Share":
        return _combine(self, other, self.algebra.subtract)

    __xor__ = __add__


def _combine(x: Share, y: Share, operation: np.ufunc) -> Share:
    shape = np.broadcast_shapes(x.shape, y.shape)
    components = {}
    for i in x.components.keys() | y.components.keys():
        if i not in y.components:
            result = x.components[i]
        else:
            result = operation(x.components.get(i, x.algebra.dtype.type(0)), y.components[i])
        components[i] = result if result.shape == shape else np.broadcast_to(result, shape)
    return Share(x.algebra, shape, x.support | y.support, components)


def public_share(channel: Channel, algebra: Algebra, values: Array) -> Share:
    """Return the trivial sharing of public values: component 0 holds them."""
    held = channel.access.held[channel.pid]
    components = {0: values.astype(algebra.dtype, copy=False)} if 0 in held else {}
    return Share(algebra, values.shape, frozenset([0]), components)


def add_public(channel: Channel, share: Share, values: Array) -> Share:
    """Add public ring elements (bits: XOR public bits). Local."""
    return share + public_share(channel, share.algebra, values)


def component_share(
    algebra: Algebra, shape: tuple[int, ...], component: int, values: Array | None
) -> Share:
    """Return the trivial sharing of a value that exactly one component's holders know.

    `values` is None at the parties that do not hold the component.
    """
    components = {} if values is None else {component: values}
    return Share(algebra, shape, frozenset([component]), components)


def _held_masks(
    channel: Channel, algebra: Algebra, shape: tuple[int, ...], contributor: int
) -> Iterator[tuple[int, Array]]:
    """Yield the masks of a contributor's summand that this party knows, with their components."""
    for component in channel.access.held[contributor]:
        corrects = component == channel.access.correction[contributor]
        if not corrects and component in channel.access.held[channel.pid]:
            stream = channel.stream("reshare", component, contributor)
            yield component, stream.words(shape, algebra.dtype)


async def reshare(
    channel: Channel,
    algebra: Algebra,
    shape: tuple[int, ...],
    summand: Array | None,
    contributors: Iterable[int],
) -> Share:
    """Turn summands that single parties know into a fresh sharing of their sum.

    Contributor i masks its summand z_i with one pseudo-random stream per component that it holds
    except one, its correction component, whose other holders get z_i minus the masks
    [CDI05; m = 3: Araki et al. 2016]. Products of shares never leave a party unmasked.

    `summand`: this party's z_i, of `shape`; None where the party contributes nothing.
    `contributors`: the parties with a summand, the same set at all parties.

    Reveals: nothing; any t others lack the mask or the correction of one component.
    Cost: 1 round; per contributor m - t - 1 messages of one element per entry.
    """
    access, pid = channel.access, channel.pid
    contributors = sorted(contributors)
    total: dict[int, Array] = {}
    outgoing: dict[int, bytes] = {}

    def accumulate(component: int, values: Array) -> None:
        if component in total:
            algebra.add(total[component], values, out=total[component])
        else:
            total[component] = values.copy()

    correction = summand
    for contributor in contributors:
        for component, mask in _held_masks(channel, algebra, shape, contributor):
            accumulate(component, mask)
            if contributor == pid and correction is not None:
                correction = algebra.subtract(correction, mask)
    if pid in contributors and correction is not None:
        component = access.correction[pid]
        accumulate(component, correction)
        payload = algebra.encode(correction)
        outgoing = {p: payload for p in access.holders[component] if p != pid}
    senders = [c for c in contributors if c != pid and access.correction[c] in access.held[pid]]
    for sender, payload in (await channel.exchange(outgoing, senders)).items():
        accumulate(access.correction[sender], algebra.decode(payload, shape, sender))
    support = frozenset(i for c in contributors for i in access.held[c])
    return Share(algebra, shape, support, total)


def product_contributors(channel: Channel, x: Share, y: Share) -> list[int]:
    """Return the parties that compute a part of x * y, given the supports."""
    return [
        party
        for party, row in enumerate(channel.access.products)
        if any(i in x.support and y.support.intersection(row[i]) for i in row)
    ]


def local_product(channel: Channel, x: Share, y: Share) -> Array | None:
    """Return this party's summand of the entrywise product x * y; None where it has none.

    The summands must never be sent as they are: `reshare` masks them.
    """
    algebra = x.algebra
    total: Array | None = None
    for left, rights in channel.access.products[channel.pid].items():
        if left not in x.support:
            continue
        factors = [y.components[right] for right in rights if right in y.support]
        if not factors:
            continue
        factor = factors[0]
        for other in factors[1:]:
            factor = algebra.add(factor, other)
        term = algebra.multiply(x.components[left], factor)
        total = term if total is None else algebra.add(total, term, out=total)
    return total


async def multiply(channel: Channel, x: Share, y: Share) -> Share:
    """Return a sharing of the entrywise product (bits: AND).

    Reveals: nothing. Cost: 1 round; m - t - 1 elements per entry and party; with m = 3 one bit per
    AND and party [Araki et al. 2016].
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    summand = local_product(channel, x, y)
    if summand is not None:
        summand = np.broadcast_to(summand, shape)
    return await reshare(channel, x.algebra, shape, summand, product_contributors(channel, x, y))


async def share_input(
    channel: Channel, algebra: Algebra, shape: tuple[int, ...], owner: int, values: Array | None
) -> Share:
    """Share values that party `owner` knows; None at the others. Cost: as `reshare`."""
    return await reshare(channel, algebra, shape, values if channel.pid == owner else None, [owner])


def component_sum(share: Share, components: Iterable[int]) -> Array:
    """Return the sum of some held components: an addend that this party knows.

    Raises KeyError: a component is not held by this party.
    """
    total: Array | None = None
    for i in components:
        if i in share.support:
            held = share.components[i]
            total = held if total is None else share.algebra.add(total, held)
    return np.zeros(share.shape, share.algebra.dtype) if total is None else total


def reduce_ring(values: Array, bits: int) -> Array:
    """Reduce ring elements modulo 2^bits."""
    width = values.dtype.itemsize * 8
    return values if bits == width else values & values.dtype.type((1 << bits) - 1)


def narrow(share: Share, algebra: Algebra) -> Share:
    """Reduce a ring share to a ring of fewer bits. Local, since 2^k divides 2^64."""
    return share.cast(algebra, lambda x: x.astype(algebra.dtype), share.shape)


def concatenate(shares: list[Share]) -> Share:
    """Concatenate shares of one algebra along their first axis; absent components become zeros."""
    algebra = shares[0].algebra
    support = frozenset(i for share in shares for i in share.support)
    held = {i for share in shares for i in share.components}
    parts = {
        i: [s.components.get(i, np.zeros(s.shape, algebra.dtype)) for s in shares] for i in held
    }
    shape = (sum(share.shape[0] for share in shares), *shares[0].shape[1:])
    return Share(algebra, shape, support, {i: np.concatenate(p) for i, p in parts.items()})
