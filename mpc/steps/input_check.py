"""Checks of the data holders' inputs under MPC: opened is one bit, pass or fail.

Every bound of this engine rests on counts that are what they claim: cells that are not negative,
sums that do not wrap, at most n_max records. A holder that breaks one could void the privacy of
all others, so this is checked on shares, once per job, before anything else is opened.
"""

import asyncio
from collections.abc import Sequence

import numpy as np

from mpc.arrays import Array
from mpc.session.channel import Channel
from mpc.shares.circuits import all_of, invert, less_than_public, ripple_add
from mpc.shares.conversion import ring_to_bits
from mpc.shares.opening import open_share
from mpc.shares.planes import constant_planes, plane_to_values, word_dtype
from mpc.shares.replicated import Share, concatenate, packed_bits

CHUNK_VALUES = 1 << 17
BYTE = packed_bits(np.uint8)


async def inputs_are_valid(
    channel: Channel,
    cells: Share,
    sizes: Sequence[int],
    differences: Share,
    n_max: int,
    count_bits: int,
) -> bool:
    """Return whether shared marginals are counts of one table of at most `n_max` records.

    Checked are: every cell lies in [0, 2^b); so does every node of a summation tree over each
    marginal, with so few children per node that no sum of theirs can wrap, hence all sums are
    exact; each marginal's total is at most `n_max`; the `differences` (of totals and shared
    projections, which are exact sums by now) are zero.

    `cells`: ring share `(n_cells,)`, marginals one after the other. `sizes`: cells per marginal.
    `differences`: ring share `(n,)` of what has to be zero. `n_max`: public bound on the number of
    records, below 2**count_bits. `count_bits`: b, at most k - 1.

    Reveals: the one bit, to all parties.
    Cost: about k + 30 rounds per tree level; about 3 bytes per checked value and party for k = 18.
    """
    n_bits = cells.algebra.bits
    tree, totals = _summation_tree(cells, sizes, 1 << (n_bits - count_bits))
    pieces = channel.fork(3)
    verdicts = await asyncio.gather(
        _all_below(pieces[0], tree, count_bits),
        _all_below(pieces[1], differences, 0),
        _all_at_most(pieces[2], totals, n_max),
    )
    channel.join(pieces)
    verdict = await open_share(channel, await all_of(channel, concatenate(list(verdicts))))
    return bool(verdict)


def _summation_tree(cells: Share, sizes: Sequence[int], arity: int) -> tuple[Share, Share]:
    """Return all nodes of a tree of sums over each marginal, cells included, and the roots.

    All marginals are reduced level by level together; a node has at most `arity` children.
    """
    nodes = [cells]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    lengths = np.asarray(sizes)
    level = cells
    while int(lengths.max()) > 1:
        groups = -(-lengths // arity)
        first = np.concatenate(
            [start + arity * np.arange(count) for start, count in zip(starts, groups, strict=True)]
        )
        level = _segment_sums(level, first)
        nodes.append(level)
        starts, lengths = np.concatenate([[0], np.cumsum(groups)[:-1]]), groups
    return concatenate(nodes), level


def _segment_sums(level: Share, first: Array) -> Share:
    return level.map(lambda x: np.add.reduceat(x, first, dtype=x.dtype), first.shape)


async def _all_below(channel: Channel, values: Share, n_low: int) -> Share:
    """Return the shared bit `(1,)` of whether all ring elements are below 2**n_low."""

    async def check(piece: Channel, chunk: slice, number: int) -> Share:
        n_bits = values.algebra.bits
        planes = await ring_to_bits(piece, values[chunk], n_bits, ripple_add, number)
        small = await all_of(piece, invert(planes[n_low:], piece))
        return await _all_bits(piece, small)

    passed = await channel.in_chunks(values.shape[0], CHUNK_VALUES, check)
    return (await all_of(channel, concatenate(passed)))[np.newaxis]


async def _all_at_most(channel: Channel, values: Share, largest: int) -> Share:
    """Return the shared bit `(1,)` of whether all ring elements are at most `largest`."""
    n_bits = values.algebra.bits
    planes = await ring_to_bits(channel, values, n_bits, ripple_add)
    limits = constant_planes(largest + 1, n_bits, planes.shape[1], word_dtype(n_bits))
    return await _all_bits(channel, await less_than_public(channel, planes, limits))


async def _all_bits(channel: Channel, plane: Share) -> Share:
    """Return the AND of all bits of a plane `(n_words,)` as a byte `(1,)` of 0 or 1."""
    word = await all_of(channel, plane.map(lambda p: p[:, np.newaxis], (plane.shape[0], 1)))
    width = 8 * word.algebra.dtype.itemsize

    def rows(p: Array) -> Array:
        return plane_to_values(p, np.uint8)[:, np.newaxis]

    return await all_of(channel, word.cast(BYTE, rows, (width, 1)))
