"""A job of the secure engine: load shared cells once, then select and measure as asked.

This is what a compute party calls. It knows marginals only as numbered candidates with sizes.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, Self

import numpy as np

from mpc.arrays import Array, Integers
from mpc.errors import EncodingOverflow, MpcError
from mpc.noise.bank import NoiseBank
from mpc.noise.kinds import NoiseKind
from mpc.noise.sources import DealerNoise, JointNoise, NoiseCosts, NoiseSource, Sampler
from mpc.session.access import AccessStructure
from mpc.session.channel import Step
from mpc.session.session import Session
from mpc.shares.opening import open_share
from mpc.shares.replicated import Share, ring
from mpc.steps.distance import SharedCells, l1_distances, prepare_cells
from mpc.steps.selection import select

FRACTION_BITS = 24
MAX_RING_BITS = 32


@dataclass(frozen=True)
class RingParameters:
    """The sizes in bits that rule out any wrap (docs/protocol.md, "No value wraps").

    `n_max`: public bound on the number of records. `ring_bits`: k; cells and distances live in
    Z_2^k. `count_bits`: b; a summed count is below 2**b. `fraction_bits`: f; scores are in units of
    2**-f.
    """

    n_max: int
    ring_bits: int
    count_bits: int
    fraction_bits: int = FRACTION_BITS

    @classmethod
    def choose(cls, n_max: int, y_max: int, noise_bound: int) -> Self:
        """Return the smallest k with 2^(k-1) > n_max + y_max and 2^(k-1) > n_max + noise_bound.

        Raises EncodingOverflow: k would exceed 32.
        """
        count_bits = max(n_max, y_max, 1).bit_length()
        ring_bits = (n_max + max(y_max, noise_bound)).bit_length() + 1
        if ring_bits > MAX_RING_BITS:
            raise EncodingOverflow(
                f"{n_max} records with noise up to {noise_bound} need a ring of {ring_bits} bits; "
                f"at most {MAX_RING_BITS} are supported: lower n_max or raise epsilon"
            )
        return cls(n_max, ring_bits, count_bits)


def make_noise(
    kind: NoiseKind,
    access: AccessStructure,
    fraction_bits: int = FRACTION_BITS,
    sampler: Sampler | None = None,
    *,
    ahead: bool = True,
) -> NoiseSource:
    """Return the noise source of a kind that the manifest names.

    With `ahead` it may be made before it is asked for, where its kind allows that.
    """
    match kind:
        case NoiseKind.JOINT:
            return JointNoise(made_ahead=ahead)
        case NoiseKind.DEALERS:
            return DealerNoise(access, fraction_bits, sampler)


def noise_costs(
    kind: NoiseKind, access: AccessStructure, fraction_bits: int = FRACTION_BITS
) -> NoiseCosts:
    """Return the public costs of a kind of noise."""
    return make_noise(kind, access, fraction_bits).costs


def check_measurable(parameters: RingParameters, noise: NoiseSource, sigma2: Fraction) -> None:
    """Check that a noisy count cannot wrap in the job's ring.

    Raises EncodingOverflow: it could.
    """
    largest = parameters.n_max + noise.gaussian_bound(sigma2)
    if largest >> (parameters.ring_bits - 1):
        raise EncodingOverflow(f"noise of sigma {math.sqrt(sigma2):.0f} may wrap in the ring")


class MarginalAnswers(Protocol):
    """The two requests that reveal something, in public facts: of an engine, or of what runs it."""

    async def select(
        self,
        label: str,
        candidates: Sequence[int],
        model_counts: Sequence[Array],
        multipliers: Sequence[int],
        biases: Sequence[int],
    ) -> int:
        """Return the index, in `candidates`, that the exponential mechanism chose."""
        ...

    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[Integers]:
        """Return the candidates' noisy marginals, flat."""
        ...


class Job(MarginalAnswers, Protocol):
    """What an engine does at one compute party; `SecureJob` and `ShamirJob` do it."""

    async def load(self, cells: Share, sizes: Sequence[int]) -> None:
        """Take the shared cells of all candidates; they replace earlier ones."""
        ...

    def wipe(self) -> None:
        """Forget what was loaded or made ahead; the job is over."""
        ...


class SecureJob:
    """One job at one compute party. Requests run one at a time, in the same order everywhere."""

    def __init__(self, session: Session, parameters: RingParameters, noise: NoiseSource) -> None:
        self.session = session
        self.parameters = parameters
        self.noise = noise
        self._loaded: tuple[SharedCells, NoiseBank] | None = None
        self._n_loads = 0
        self._lock = asyncio.Lock()

    async def load(self, cells: Share, sizes: Sequence[int]) -> None:
        """Take the cells of all candidates and compute their bits; they replace earlier ones.

        `cells`: ring share `(sum of sizes,)`, candidates one after the other. `sizes`: number of
        cells per candidate.
        """
        async with self._lock:
            self._n_loads += 1
            with self.session.step(Step.PREPARE, f"cells-{self._n_loads}") as channel:
                prepared = await prepare_cells(channel, cells, sizes, self.parameters.count_bits)
            # noise depends on no data: what was made ahead stays good
            bank = self._new_bank(sizes) if self._loaded is None else self._loaded[1]
            bank.fill_gumbels()
            self._loaded = prepared, bank

    def _new_bank(self, sizes: Sequence[int]) -> NoiseBank:
        return NoiseBank(
            self.session,
            self.noise,
            ring(self.parameters.ring_bits),
            self.parameters.fraction_bits,
            len(sizes),
            max(sizes),
        )

    def _input(self) -> tuple[SharedCells, NoiseBank]:
        if self._loaded is None:
            raise MpcError("the job has no cells yet: load them first")
        return self._loaded

    def wipe(self) -> None:
        """Overwrite the noise that was made ahead; the job is over."""
        if self._loaded is not None:
            self._loaded[1].wipe()
            self._loaded = None

    async def select(
        self,
        label: str,
        candidates: Sequence[int],
        model_counts: Sequence[Array],
        multipliers: Sequence[int],
        biases: Sequence[int],
    ) -> int:
        """Run the exponential mechanism on C_r (|x_r - y_r|_1 - bias_r).

        `label`: unique per request, the same at all parties. `candidates`: numbers of the
        candidates. `model_counts`: per candidate `(n_cells,)` public counts, 0 <= y, sum <= y_max.
        `multipliers`: C_r, computed by the party itself. `biases`: bias_r in counts.

        Returns the chosen position within `candidates`.

        Reveals: that position, to all compute parties. Cost: steps "score" and "select".

        Raises EncodingOverflow: a model marginal is so large that a distance could wrap.
        """
        largest = max(int(model.sum(dtype=np.int64)) for model in model_counts)
        if (self.parameters.n_max + largest) >> (self.parameters.ring_bits - 1):
            raise EncodingOverflow(f"a model marginal of {largest} records may wrap in the ring")
        async with self._lock:
            cells, bank = self._input()
            with self.session.step(Step.SCORE, label) as channel:
                distances = await l1_distances(channel, cells, candidates, model_counts)
            with self.session.step(Step.SELECT, label) as channel:
                return await select(
                    channel,
                    distances,
                    self.parameters.ring_bits - 1,
                    multipliers,
                    biases,
                    bank,
                    self.noise.gumbel_bound(self.parameters.fraction_bits),
                )

    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[Integers]:
        """Open the candidates' cells with discrete Gaussian noise of variance sigma2 per cell.

        Returns per candidate its `(n_cells,)` noisy counts.

        Reveals: those, to all compute parties. Cost: step "measure": 2 rounds with dealt noise;
        per cell and party (m - t) and more elements of k bits.

        Raises EncodingOverflow: noise of this variance could wrap in the job's ring.
        """
        check_measurable(self.parameters, self.noise, sigma2)
        async with self._lock:
            cells, bank = self._input()
            spans = [slice(cells.offsets[c], cells.offsets[c + 1]) for c in candidates]
            sizes = [span.stop - span.start for span in spans]
            index = np.concatenate([np.arange(span.start, span.stop) for span in spans])
            with self.session.step(Step.MEASURE, label) as channel:
                noise = await bank.gaussians(len(index), sigma2)
                opened = await open_share(channel, cells.counts[index] + noise)
        values = opened.astype(np.int64)
        signed = values - ((values >> (self.parameters.ring_bits - 1)) << self.parameters.ring_bits)
        return np.split(signed, np.cumsum(sizes)[:-1])
