"""L1 distances between shared marginals and public model marginals.

For a candidate r with cells x (shared) and model counts y (public), |x - y| summed over cells is
sum d - 2 sum d [x < y] with d = x - y. A cell with y = 0 has |x - 0| = x and needs no comparison,
so the interactive work is proportional to the cells where the public model is not zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.errors import EncodingOverflow
from mpc.session.channel import Channel
from mpc.shares.circuits import less_than_public, ripple_add
from mpc.shares.conversion import Trio, bits_to_ring, ring_to_bits, split_addends
from mpc.shares.planes import from_planes, plane_to_values, to_planes, word_dtype
from mpc.shares.replicated import (
    Algebra,
    Share,
    component_sum,
    local_product,
    public_share,
    reshare,
)

CHUNK_CELLS = 1 << 17


@dataclass
class SharedCells:
    """The frozen input of a job: all candidates' cells, one after the other.

    `counts`: ring share `(n_cells,)`. `bits`: bit share `(n_cells,)`, cell by cell: bit j of a word
    is bit j of the count. `offsets`: `(n_candidates + 1,)` first cell of each candidate. `totals`:
    ring share `(n_candidates,)`, sum of each candidate's cells. `n_planes`: number of significant
    bits of a count.
    """

    counts: Share
    bits: Share
    offsets: Array
    totals: Share
    n_planes: int


def _segment_sums(values: Array, starts: Array) -> Array:
    return np.add.reduceat(values, starts, dtype=values.dtype)


async def prepare_cells(
    channel: Channel, counts: Share, sizes: Sequence[int], n_planes: int
) -> SharedCells:
    """Compute, once per job, the bits of all cells.

    `counts`: ring share `(n_cells,)` of counts below 2**n_planes. `sizes`: cells per candidate,
    every one at least 1. `n_planes`: b, at most 32 and below the ring's k.

    Reveals: nothing.
    Cost: t inputs and t ripple additions of b bits; for (3, 1) b rounds and b / 24 + (b - 1) / 8
    bytes per cell and party.
    """
    dtype = word_dtype(n_planes)
    n_cells = counts.shape[0]
    held = channel.access.held[channel.pid]
    bits = {i: np.empty(n_cells, dtype) for i in held}

    async def convert(piece: Channel, chunk: slice, number: int) -> None:
        planes = await ring_to_bits(piece, counts[chunk], n_planes, ripple_add, number)
        for i in held:
            bits[i][chunk] = from_planes(planes.components[i])[: chunk.stop - chunk.start]

    await channel.in_chunks(n_cells, CHUNK_CELLS, convert)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    everyone = frozenset(range(len(channel.access.sets)))
    return SharedCells(
        counts=counts,
        bits=Share(Algebra(0, dtype), (n_cells,), everyone, bits),
        offsets=offsets,
        totals=counts.map(lambda x: _segment_sums(x, offsets[:-1]), (len(sizes),)),
        n_planes=n_planes,
    )


def _bit_values(share: Share, components: Sequence[int], dtype: np.dtype[np.generic]) -> Array:
    """Return the XOR of some held components of one bit plane as 0 / 1 ring elements."""
    plane = share.components[components[0]]
    for i in components[1:]:
        plane = plane ^ share.components[i]
    return plane_to_values(plane, dtype)


async def _masked_products(channel: Channel, d: Share, s: Share, rotation: int) -> Array | None:
    """Return this party's summands of d * s for t = 1, entry by entry, with one message.

    Party P knows the components other than its own number's: d_A = d - d_B and u, where
    s = u xor v, and the others know d_B and v. Then
    d s = d_A u + d_B v + a v + b u, a = d_A (1 - 2 u), b = d_B (1 - 2 v).
    P splits a and u between Q and R, who both know v and b.

    Cost: 1 round, 2 ring elements per entry from P to R.
    """
    algebra, trio = d.algebra, Trio.of(channel.access, rotation)
    own: Array | None = None
    addends: list[Array] = []
    if channel.pid == trio.p:
        mine = channel.access.held[trio.p]
        d_a = component_sum(d, mine)
        u = _bit_values(s, mine, algebra.dtype)
        sign = algebra.dtype.type(0) - u
        addends, own = [(d_a ^ sign) + u, u], d_a & sign
    parts = await split_addends(channel, algebra, d.shape, trio, addends, 2)
    if not parts:
        return own
    a_part, u_part = parts
    v = _bit_values(s, [trio.known], algebra.dtype)
    sign = algebra.dtype.type(0) - v
    d_b = d.components[trio.known]
    b = (d_b ^ sign) + v
    summand: Array = (a_part & sign) + u_part * b
    return summand + (d_b & sign) if channel.pid == trio.r else summand


async def bit_products(channel: Channel, d: Share, s: Share, rotation: int) -> Array | None:
    """Return this party's summands of d * s per entry, d in the ring and s a bit plane.

    The summands add up to the products over all parties. They are not masked: add them up as far
    as possible, then `reshare`.

    Cost: t = 1: 1 round and 2 ring elements per entry in all; otherwise `bits_to_ring`.
    """
    if channel.access.threshold == 1:
        return await _masked_products(channel, d, s, rotation)
    in_ring = await bits_to_ring(channel, s[np.newaxis], d.algebra, rotation)
    return local_product(channel, d, in_ring[0])


@dataclass(frozen=True)
class _Work:
    """The cells to compare, candidate after candidate, without candidates that have none.

    `index`: `(n,)` position of each cell among all cells of the job. `counts`: `(n,)` its model
    count, above zero. `owners`: position of each candidate that has such cells. `ends`: where each
    owner's cells end.
    """

    index: Array
    counts: Array
    owners: Array
    ends: Array

    def part(self, chunk: slice) -> tuple["_Work", Array]:
        """Return a chunk of the cells and where its owners' cells begin in it."""
        first = int(np.searchsorted(self.ends, chunk.start, side="right"))
        last = int(np.searchsorted(self.ends, chunk.stop, side="left")) + 1
        ends = np.minimum(self.ends[first:last], chunk.stop) - chunk.start
        starts = np.concatenate([[0], ends[:-1]])
        part = _Work(self.index[chunk], self.counts[chunk], self.owners[first:last], ends)
        return part, starts


def _collect(cells: SharedCells, candidates: Sequence[int], model_counts: Sequence[Array]) -> _Work:
    dtype = cells.bits.algebra.dtype
    index, counts, owners = [], [], []
    for position, (candidate, model) in enumerate(zip(candidates, model_counts, strict=True)):
        if int(model.min()) < 0 or int(model.max()) >> cells.n_planes:
            raise EncodingOverflow(f"a model count is outside the range of {cells.n_planes} bits")
        narrow = model.astype(dtype)
        nonzero = np.flatnonzero(narrow)
        if nonzero.size:
            counts.append(narrow[nonzero])
            nonzero += cells.offsets[candidate]
            index.append(nonzero)
            owners.append(position)
    ends = np.cumsum([piece.shape[0] for piece in index], dtype=np.int64)
    nothing = [np.zeros(0, np.int64)]
    return _Work(
        np.concatenate(index or nothing),
        np.concatenate(counts or nothing).astype(dtype, copy=False),
        np.array(owners, np.int64),
        ends,
    )


async def _add_chunk(
    channel: Channel, cells: SharedCells, work: _Work, chunk: slice, rotation: int, sums: Array
) -> None:
    """Add this party's summands of sum d [x < y] of one chunk of cells to its candidates."""
    part, starts = work.part(chunk)
    n = part.index.shape[0]
    dtype = cells.bits.algebra.dtype
    index, y = (np.concatenate([v, np.zeros(-n % 64, v.dtype)]) for v in (part.index, part.counts))
    n_words = index.shape[0] // (8 * dtype.itemsize)
    x_planes = cells.bits.map(
        lambda words: to_planes(words[index], cells.n_planes), (cells.n_planes, n_words)
    )
    below = await less_than_public(channel, x_planes, to_planes(y, cells.n_planes))
    ring_y = y.astype(cells.counts.algebra.dtype)
    d = cells.counts[index] - public_share(channel, cells.counts.algebra, ring_y)
    products = await bit_products(channel, d, below, rotation)
    if products is not None:
        sums[part.owners] += _segment_sums(products[:n], starts)


async def l1_distances(
    channel: Channel,
    cells: SharedCells,
    candidates: Sequence[int],
    model_counts: Sequence[Array],
) -> Share:
    """Return sum |x - y| for every candidate.

    `candidates`: positions among the job's candidates. `model_counts`: per candidate its
    `(n_cells,)` public counts, 0 <= y < 2**b.

    Returns a ring share `(n_candidates,)`; exact as long as the sums of x and y stay below
    2**(k-1).

    Reveals: nothing.
    Cost: for t = 1 ceil(log2 b) + 2 rounds; per cell with y > 0 and party about 19 bits (b = 16)
    and 2 k / m bits; per candidate one ring element.

    Raises EncodingOverflow: a model count is negative or has more than b bits.
    """
    algebra = cells.counts.algebra
    work = _collect(cells, candidates, model_counts)
    sums = np.zeros(len(candidates), algebra.dtype)

    async def process(piece: Channel, chunk: slice, number: int) -> None:
        await _add_chunk(piece, cells, work, chunk, number, sums)

    await channel.in_chunks(work.index.shape[0], CHUNK_CELLS, process)
    everyone = range(channel.access.n_parties)
    below = await reshare(channel, algebra, sums.shape, sums, everyone)
    model_totals = np.array([model.sum() for model in model_counts]).astype(algebra.dtype)
    totals = cells.totals[np.asarray(candidates)]
    differences = totals - public_share(channel, algebra, model_totals)
    return differences - below.scale(np.array(2, algebra.dtype))
