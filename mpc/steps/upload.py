"""Upload of a data holder's marginals: shares from seeds, one component explicit.

All components but the last are expanded from 32-byte seeds; the last is sent in full, k bits per
cell. A body for a party is the seeds of its components in ascending order, then, where it holds
the explicit one, chunks of packed elements. With m = 3 one party gets 64 bytes and two get
32 bytes and n * k / 8.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpc.arrays import Array
from mpc.errors import EncodingOverflow, ProtocolViolation
from mpc.session.access import AccessStructure
from mpc.session.keystream import Keystream, RandomBytes
from mpc.shares.packing import pack_ring, packed_size, unpack_ring
from mpc.shares.replicated import Share, ring

SEED_BYTES = 32
CHUNK_CELLS = 1 << 18


@dataclass(frozen=True)
class UploadFormat:
    """The form of every upload of a job, equal for all holders.

    `access`: who holds which component. `ring_bits`: k. `n_cells`: cells of all maximal marginals,
    one after the other.
    """

    access: AccessStructure
    ring_bits: int
    n_cells: int

    @property
    def _explicit(self) -> int:
        return len(self.access.sets) - 1

    def _chunks(self) -> Iterator[slice]:
        for start in range(0, self.n_cells, CHUNK_CELLS):
            yield slice(start, min(start + CHUNK_CELLS, self.n_cells))

    def _seeded(self, party: int) -> list[int]:
        return [i for i in self.access.held[party] if i != self._explicit]

    def body_size(self, party: int) -> int:
        """Return the exact length in bytes of the body for `party`."""
        size = SEED_BYTES * len(self._seeded(party))
        if self._explicit in self.access.held[party]:
            size += sum(packed_size(c.stop - c.start, self.ring_bits) for c in self._chunks())
        return size

    def share(
        self, values: Array, random_bytes: RandomBytes = secrets.token_bytes
    ) -> list[Iterator[bytes]]:
        """Share one holder's cells; return the body for each party, as byte chunks.

        `values`: `(n_cells,)` counts, 0 <= x < 2**(k-1). `random_bytes`: the operating system's
        CSPRNG unless a test injects another source.

        Raises EncodingOverflow: wrong number of cells, or a count outside the range.
        """
        if values.shape != (self.n_cells,):
            raise EncodingOverflow(f"{values.shape} cells where {self.n_cells} are due")
        if self.n_cells and (int(values.min()) < 0 or int(values.max()) >> (self.ring_bits - 1)):
            raise EncodingOverflow(f"a count does not fit into {self.ring_bits - 1} bits")
        seeds = {i: random_bytes(SEED_BYTES) for i in range(self._explicit)}
        return [self._body(values, seeds, party) for party in range(self.access.n_parties)]

    def _body(self, values: Array, seeds: dict[int, bytes], party: int) -> Iterator[bytes]:
        yield b"".join(seeds[i] for i in self._seeded(party))
        if self._explicit not in self.access.held[party]:
            return
        dtype = ring(self.ring_bits).dtype
        streams = [Keystream(seed, b"upload") for seed in seeds.values()]
        for chunk in self._chunks():
            rest = values[chunk].astype(dtype)
            for stream in streams:
                rest -= stream.words(rest.shape, dtype)
            yield pack_ring(rest, self.ring_bits)

    def zeros(self, party: int) -> Share:
        """Return the sharing of zeros that `accumulate` adds uploads to."""
        algebra = ring(self.ring_bits)
        support = frozenset(range(len(self.access.sets)))
        held = {i: np.zeros(self.n_cells, algebra.dtype) for i in self.access.held[party]}
        return Share(algebra, (self.n_cells,), support, held)

    def accumulate(self, party: int, body: Path, into: Share) -> None:
        """Add one stored upload to the sum of shares, in place and chunk by chunk.

        Raises ProtocolViolation: the file does not have the length of a body.
        """
        if body.stat().st_size != self.body_size(party):
            raise ProtocolViolation(f"the stored upload {body.name} has a wrong length", party)
        dtype = into.algebra.dtype
        with body.open("rb") as file:
            streams = {i: Keystream(file.read(SEED_BYTES), b"upload") for i in self._seeded(party)}
            for chunk in self._chunks():
                n = chunk.stop - chunk.start
                for i, stream in streams.items():
                    into.components[i][chunk] += stream.words((n,), dtype)
                if self._explicit in into.components:
                    packed = file.read(packed_size(n, self.ring_bits))
                    raw = np.frombuffer(packed, np.uint8)
                    values = unpack_ring(raw, n, self.ring_bits, dtype)
                    into.components[self._explicit][chunk] += values
