"""The second engine: the same steps on MPyC's own secure integers, slow and independent.

It exists so that conformance tests compare two implementations that share no circuit, and for
small jobs (`--engine shamir`). Cells, noise and scores are Shamir shares in a prime field; every
comparison is MPyC's, made safe by `runtime.ShamirRuntime`. MPyC does not count rounds, so the
statistics of these steps show bytes and seconds only.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from fractions import Fraction
from operator import itemgetter
from typing import Any

import numpy as np

from mpc.arrays import Array, Integers
from mpc.errors import MpcError
from mpc.mpyc_engine.runtime import ShamirRuntime, start_runtime
from mpc.noise.sources import NoiseSource
from mpc.session.channel import Step
from mpc.session.session import Session
from mpc.shares.replicated import Share, component_sum, reduce_ring, ring
from mpc.steps.job import RingParameters, check_measurable
from mpc.steps.selection import score_bits

SECURE_INTEGER_BITS = 66

_CHUNK_CELLS = 128
"""So many cells are worked on at once: MPyC computes on an array without a pause, some milliseconds
per cell, and the heartbeats to the peers have to get their turn."""


class ShamirJob:
    """Same requests and answers as `job.SecureJob`, see there."""

    def __init__(self, session: Session, parameters: RingParameters, noise: NoiseSource) -> None:
        self.session = session
        self.parameters = parameters
        self.noise = noise
        self._runtime: ShamirRuntime
        self._runtime, self._integer = start_runtime(session, SECURE_INTEGER_BITS)
        self._cells: Any = None
        self._n_loads = 0
        self._offsets: Array = np.zeros(1, np.int64)
        self._lock = asyncio.Lock()

    async def _finished(self, result: Awaitable[Any]) -> Any:
        """Await an opened value, or raise the network's failure: MPyC itself would hang."""
        task = asyncio.ensure_future(result)
        outcomes: set[asyncio.Future[Any]] = {task, self.session.network.failure}
        await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise self.session.network.failure.result()
        return task.result()

    def _from_ring(self, share: Share, *, signed: bool) -> Any:
        """Turn a replicated ring share into a secure integer array.

        Each of the t + 1 addends is input by a party that knows it; their sum is reduced modulo
        2^k by t comparisons with 2^k, and by one with 2^(k-1) for signed values.
        """
        modulus = 1 << share.algebra.bits
        total: Any = 0
        for party, components in self.session.access.addends(0):
            values: Array = np.zeros(share.shape, object)
            if party == self.session.pid:
                known = reduce_ring(component_sum(share, components), share.algebra.bits)
                values = known.astype(object)
            total = total + self._runtime.input(self._integer.array(values), senders=party)
        for _ in range(self.session.access.threshold):
            total = total - (total >= modulus) * modulus
        return total - (total >= modulus // 2) * modulus if signed else total

    async def load(self, cells: Share, sizes: Sequence[int]) -> None:
        """Take the cells; see `SecureJob.load`."""
        async with self._lock:
            self._n_loads += 1
            with self.session.step(Step.PREPARE, f"cells-{self._n_loads}"):
                self._cells = await self._cells_from_ring(cells)
                self._offsets = np.concatenate([[0], np.cumsum(sizes)])

    async def _cells_from_ring(self, cells: Share) -> Any:
        """Turn cells into secure integers, piece by piece."""
        pieces = []
        for piece in _pieces(*cells.shape):
            part = cells.map(itemgetter(piece), _shape(piece))
            pieces.append(self._from_ring(part, signed=False))
            await self._finished(self._runtime.gather(pieces[-1]))
        return self._runtime.np_concatenate(pieces)

    async def _distance(self, cells: Any, model: Array) -> Any:
        """Return the L1 distance of a candidate's cells from its model, piece by piece."""
        total: Any = 0
        for piece in _pieces(len(model)):
            difference = cells[piece] - model[piece].astype(object)
            total = total + self._runtime.np_sum(abs(difference))
            await self._finished(self._runtime.gather(total))
        return total

    def _candidate(self, candidate: int) -> Any:
        if self._cells is None:
            raise MpcError("the job has no cells yet: load them first")
        return self._cells[int(self._offsets[candidate]) : int(self._offsets[candidate + 1])]

    async def select(
        self,
        label: str,
        candidates: Sequence[int],
        model_counts: Sequence[Array],
        multipliers: Sequence[int],
        biases: Sequence[int],
    ) -> int:
        """Run the exponential mechanism; see `SecureJob.select`."""
        async with self._lock:
            with self.session.step(Step.SCORE, label):
                distances = [
                    await self._distance(self._candidate(candidate), model)
                    for candidate, model in zip(candidates, model_counts, strict=True)
                ]
            if len(candidates) == 1:
                return 0
            with self.session.step(Step.SELECT, label) as channel:
                f = self.parameters.fraction_bits
                bound = 1 << (self.parameters.ring_bits - 1)
                noise_bound = self.noise.gumbel_bound(f)
                algebra = ring(score_bits(multipliers, biases, bound, noise_bound))
                share = await self.noise.gumbel(channel, algebra, len(candidates), f)
                gumbel = self._from_ring(share, signed=True)
                scores = [
                    (distance - bias) * c + gumbel[i]
                    for i, (distance, bias, c) in enumerate(
                        zip(distances, biases, multipliers, strict=True)
                    )
                ]
                index, _ = self._runtime.argmax(scores)
                return int(await self._finished(self._runtime.output(index)))

    def wipe(self) -> None:
        """Forget the cells; no noise is made ahead here."""
        self._cells = None

    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[Integers]:
        """Open noisy marginals; see `SecureJob.measure`."""
        check_measurable(self.parameters, self.noise, sigma2)
        async with self._lock:
            with self.session.step(Step.MEASURE, label) as channel:
                algebra = ring(self.parameters.ring_bits)
                results: list[Integers] = []
                for candidate in candidates:
                    cells = self._candidate(candidate)
                    share = await self.noise.gaussian(channel, algebra, cells.shape[0], sigma2)
                    noisy = cells + self._from_ring(share, signed=True)
                    opened = await self._finished(self._runtime.output(noisy))
                    results.append(np.asarray(opened).astype(np.int64))
        return results


def _pieces(n_cells: int) -> list[slice]:
    starts = range(0, n_cells, _CHUNK_CELLS)
    return [slice(start, min(start + _CHUNK_CELLS, n_cells)) for start in starts]


def _shape(piece: slice) -> tuple[int]:
    return (piece.stop - piece.start,)
