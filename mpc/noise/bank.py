"""A bank of shared noise, filled while nobody asks for anything.

Noise depends on no data, so it is made ahead: after every request the bank is topped up in the
background, while the estimator fits its model. Requests arrive at all parties in one order and
the bank schedules batches only when it is asked, so all parties run the same batches under the
same labels whatever their timing. Every sample is handed out once and then wiped.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from fractions import Fraction

from mpc.errors import MpcError
from mpc.noise.gumbel import MAX_CANDIDATES
from mpc.noise.sources import NoiseSource
from mpc.session.channel import Channel, Step
from mpc.session.session import Session
from mpc.shares.replicated import Algebra, Share, concatenate, narrow, ring

MAX_GAUSSIANS = 1 << 13
MAX_GUMBELS = 1 << 12

Sample = Callable[[Channel, int], Awaitable[Share]]


def _mark_as_seen(batch: "asyncio.Task[Share]") -> None:
    """Keep asyncio from reporting a failure that whoever takes the batch will raise."""
    if not batch.cancelled():
        batch.exception()


class _Stock:
    """Samples of one distribution: batches that are made or being made, oldest first."""

    def __init__(self, session: Session, name: str, sample: Sample) -> None:
        self._session = session
        self._name = name
        self._sample = sample
        self._batches: deque[asyncio.Task[Share]] = deque()
        self._n_scheduled = 0
        self._used = 0
        self.n_available = 0

    def top_up(self, n_wanted: int) -> None:
        """Begin to make what is missing to `n_wanted`, after the batches under way."""
        n = n_wanted - self.n_available
        if n <= 0:
            return
        previous = self._batches[-1] if self._batches else None
        label = f"{self._name}-{self._n_scheduled}"
        self._n_scheduled += 1
        batch = asyncio.create_task(self._make(label, n, previous))
        batch.add_done_callback(_mark_as_seen)
        self._batches.append(batch)
        self.n_available += n

    async def _make(self, label: str, n: int, previous: "asyncio.Task[Share] | None") -> Share:
        if previous is not None:
            await asyncio.wait({previous})
        with self._session.step(Step.NOISE, label) as channel:
            return await self._sample(channel, n)

    async def take(self, n: int) -> Share:
        """Hand out the n oldest samples; they leave the stock for good."""
        parts, missing = [], n
        while missing:
            batch = await self._batches[0]
            part = batch[self._used : self._used + missing]
            parts.append(part.map(lambda values: values.copy(), part.shape))
            for values in batch.components.values():
                values[self._used : self._used + missing] = 0
            missing -= part.shape[0]
            self._used += part.shape[0]
            if self._used == batch.shape[0]:
                self._batches.popleft()
                self._used = 0
        self.n_available -= n
        return concatenate(parts)

    async def finish(self) -> None:
        """Wait for the batches under way, which the peers run too, and wipe."""
        if self._batches:
            await asyncio.wait(self._batches)
        self.wipe()

    def wipe(self) -> None:
        """Cancel what is being made and overwrite what is left."""
        for task in self._batches:
            if task.done() and not task.cancelled() and task.exception() is None:
                for values in task.result().components.values():
                    values[:] = 0
            task.cancel()
        self._batches.clear()
        self.n_available = 0


class NoiseBank:
    """Shared noise for one job, from a source, made ahead where the source allows it.

    `session`: the party's session. `source`: where the noise comes from; one that deals noise is
    asked for exactly what a request needs, one that samples jointly is asked ahead. `cell_ring`:
    the ring of the measured cells. `fraction_bits`: f, Gumbels are in units of 2^-f.
    `n_candidates`: how many candidates a selection has at most. `n_cells`: how many cells the
    largest candidate has: what a round's measurement takes.
    """

    def __init__(
        self,
        session: Session,
        source: NoiseSource,
        cell_ring: Algebra,
        fraction_bits: int,
        n_candidates: int,
        n_cells: int,
    ) -> None:
        self._session = session
        self._source = source
        self._cell_ring = cell_ring
        self._n_gumbels = min(n_candidates, MAX_GUMBELS) if source.made_ahead else 0
        self._n_gaussians = min(n_cells, MAX_GAUSSIANS) if source.made_ahead else 0
        self._n_stocks = 0
        wide = ring(64)

        async def sample(channel: Channel, n: int) -> Share:
            return await source.gumbel(channel, wide, n, fraction_bits)

        self._gumbels = self._stock(sample)
        self._gaussians: dict[Fraction, _Stock] = {}

    def _stock(self, sample: Sample) -> _Stock:
        self._n_stocks += 1
        return _Stock(self._session, f"stock-{self._n_stocks}", sample)

    def fill_gumbels(self) -> None:
        """Top up the Gumbels in the background."""
        self._gumbels.top_up(self._n_gumbels)

    async def gumbels(self, algebra: Algebra, n: int) -> Share:
        """Return `(n,)` unused Gumbels in units of 2^-f, in a ring of at most 64 bits.

        Raises MpcError: more than `MAX_CANDIDATES`, for which the noise's error has no proof.
        """
        if n > MAX_CANDIDATES:
            raise MpcError(
                f"a selection over {n} candidates; at most {MAX_CANDIDATES} are possible"
            )
        self._gumbels.top_up(n)
        taken = await self._gumbels.take(n)
        self.fill_gumbels()
        return narrow(taken, algebra)

    async def gaussians(self, n: int, sigma2: Fraction) -> Share:
        """Return `(n,)` unused samples of N_Z(0, sigma2); the next ones are made ahead.

        A new sigma2 replaces the stock of the one before: the mechanism does not go back to it.
        """
        stock = self._gaussians.get(sigma2)
        if stock is None:
            for old in self._gaussians.values():
                await old.finish()
            self._gaussians.clear()

            async def sample(channel: Channel, n_samples: int) -> Share:
                return await self._source.gaussian(channel, self._cell_ring, n_samples, sigma2)

            stock = self._gaussians[sigma2] = self._stock(sample)
        stock.top_up(n)
        taken = await stock.take(n)
        stock.top_up(self._n_gaussians)
        return taken

    def wipe(self) -> None:
        """Overwrite all noise that is left."""
        for stock in [self._gumbels, *self._gaussians.values()]:
            stock.wipe()
