"""A rehearsal of a job's secure steps: all parties in this process, on zeros, in memory.

It runs the very code of a compute party on shares of an empty table, so what it counts is what a
job sends: sizes and rounds depend on public values only. Where the job is too large to rehearse in
a moment the domain is shrunk, and costs that grow with the cells are scaled up.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from aim_core.counts.scores import multipliers
from aim_core.counts.workload import closure, weights
from aim_core.tables.schema_file import schema_from_dict
from mpc.session.channel import Step, StepStatistics
from mpc.session.in_memory import start_sessions
from mpc.session.session import Session
from mpc.steps.job import make_noise
from parties.agreement.derived import access_structure, upload_format
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.party.engine import MpcEngine

REHEARSED_CELLS = 150_000
"""A job with more cells than this is rehearsed on a smaller domain."""

_N_SAMPLES = 4096


@dataclass(frozen=True)
class Cost:
    """Bytes sent and CPU seconds, of all parties together, and communication rounds."""

    n_bytes: float = 0.0
    rounds: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.n_bytes + other.n_bytes, self.rounds + other.rounds, self.seconds + other.seconds
        )

    def scaled(self, factor: float) -> "Cost":
        """Return the cost of so many times as much at once: the rounds stay."""
        return Cost(self.n_bytes * factor, self.rounds, self.seconds * factor)

    def repeated(self, n: float) -> "Cost":
        """Return the cost of n runs, one after the other."""
        return Cost(self.n_bytes * n, self.rounds * n, self.seconds * n)

    def in_runs(self, amount: float, n_runs: float) -> "Cost":
        """Return the cost of so many times as much, spread over n runs one after the other."""
        return Cost(self.n_bytes * amount, self.rounds * n_runs, self.seconds * amount)


@dataclass(frozen=True)
class Rehearsal:
    """What the steps of the real job cost.

    Once per job: `check`, `prepare`; once per holder: `share` (at the holder), `add`. Per
    selection: `agree`, `score_fixed` plus `score_cell` for every cell with a model count above 0,
    `select`, `gumbel`. Per measured cell: `opening`, and `gaussian` by variance.
    """

    share: Cost
    add: Cost
    check: Cost
    prepare: Cost
    agree: Cost
    score_fixed: Cost
    score_cell: Cost
    select: Cost
    gumbel: Cost
    opening: Cost
    gaussian: Mapping[Fraction, Cost]


@dataclass(frozen=True)
class _Loading:
    share: Cost
    add: Cost
    check: Cost
    prepare: Cost


@dataclass(frozen=True)
class _Selection:
    score: Cost
    select: Cost
    gumbel: Cost


@dataclass(frozen=True)
class _Measuring:
    """Costs per cell; the rounds are those of one measurement."""

    opening: Cost
    gaussian: Cost


def rehearse(
    manifest: Manifest,
    inputs: PublicInputs,
    selection_epsilon: Fraction,
    variances: Sequence[Fraction],
) -> Rehearsal:
    """Load an empty table, select twice, make noise of each variance; return the unit costs."""
    small = shrunk(inputs, REHEARSED_CELLS)
    growth = sum(inputs.sizes) / sum(small.sizes)
    uploaded, small_upload = (upload_format(manifest, i).n_cells for i in (inputs, small))
    by_upload = uploaded / small_upload

    async def run() -> Rehearsal:
        parties = await _Parties.start(manifest, small)
        loading = await parties.load()
        agree = await parties.agree()
        ones = await parties.select("ones", selection_epsilon, model_count=1)
        zeros = await parties.select("zeros", selection_epsilon, model_count=0)
        measuring = {variance: await parties.measure(variance) for variance in variances}
        return Rehearsal(
            share=loading.share.scaled(by_upload),
            add=loading.add.scaled(by_upload),
            check=loading.check.scaled(by_upload),
            prepare=loading.prepare.scaled(growth),
            agree=agree,
            score_fixed=zeros.score,
            score_cell=_per_cell(ones.score, zeros.score, sum(small.sizes)),
            select=zeros.select,
            gumbel=zeros.gumbel,
            opening=measuring[variances[-1]].opening,
            gaussian={variance: cost.gaussian for variance, cost in measuring.items()},
        )

    return asyncio.run(run())


def _per_cell(full: Cost, none: Cost, n_cells: int) -> Cost:
    return Cost(
        (full.n_bytes - none.n_bytes) / n_cells,
        full.rounds - none.rounds,
        max(0.0, full.seconds - none.seconds) / n_cells,
    )


def padded(n_cells: int) -> int:
    """Round up to whole words of 64, in which the samplers work."""
    return -(-n_cells // 64) * 64


def shrunk(inputs: PublicInputs, most: int) -> PublicInputs:
    """Return the workload on the largest proportionally smaller domain within `most` cells.

    Where no domain is small enough, that of two values per attribute.
    """
    if sum(inputs.sizes) <= most:
        return inputs
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        if sum(_resized(inputs, middle).sizes) <= most:
            low = middle
        else:
            high = middle
    return _resized(inputs, low)


def _resized(inputs: PublicInputs, factor: float) -> PublicInputs:
    domain = inputs.domain
    sizes = {
        name: min(size, max(2, int(size * factor)))
        for name, size in zip(domain.attributes, domain.sizes, strict=True)
    }
    schema = schema_from_dict(sizes)
    workload = replace(inputs.workload, domain=schema.domain)
    return PublicInputs(schema, workload, closure(workload))


class _Parties:
    """All parties of a rehearsal; each stage returns what its steps have cost.

    Noise is made on request, not ahead, so that every step ends with nothing left running.
    """

    def __init__(
        self, manifest: Manifest, inputs: PublicInputs, sessions: Sequence[Session]
    ) -> None:
        noise = make_noise(manifest.noise, access_structure(manifest), ahead=False)
        self._manifest, self._inputs, self._sessions = manifest, inputs, sessions
        self._engines = [MpcEngine(session, manifest, inputs, noise) for session in sessions]
        self._seen: dict[Step, Cost] = {}

    @classmethod
    async def start(cls, manifest: Manifest, inputs: PublicInputs) -> Self:
        """Connect all parties of a job in this process."""
        access = access_structure(manifest)
        return cls(manifest, inputs, await start_sessions(access.n_parties, access.threshold))

    async def load(self) -> _Loading:
        """Share an empty table, add it up, check it and prepare its cells."""
        form = upload_format(self._manifest, self._inputs)
        with TemporaryDirectory(prefix="distaim-") as name:
            paths = [Path(name) / f"{pid}.share" for pid in range(len(self._engines))]
            started = time.perf_counter()
            bodies = form.share(np.zeros(form.n_cells, np.uint32))
            for path, chunks in zip(paths, bodies, strict=True):
                path.write_bytes(b"".join(chunks))
            shared = time.perf_counter()
            for pid, path in enumerate(paths):
                form.accumulate(pid, path, form.zeros(pid))
            added = time.perf_counter()
            pairs = zip(self._engines, paths, strict=True)
            seconds = await _timed([engine.load({"holder": path}) for engine, path in pairs])
        check, prepare = _shared_out(seconds, self._growth(Step.CHECK), self._growth(Step.PREPARE))
        return _Loading(
            Cost(seconds=shared - started), Cost(seconds=added - shared), check, prepare
        )

    async def agree(self) -> Cost:
        """Compare a hash."""
        seconds = await _timed(
            [engine.agree("job", {"request": b"", "ledger": b""}) for engine in self._engines]
        )
        return replace(self._growth(Step.AGREE), seconds=seconds)

    async def select(
        self, label: str, selection_epsilon: Fraction, *, model_count: int
    ) -> _Selection:
        """Select among all candidates whose models are `model_count` in every cell."""
        inputs = self._inputs
        counts = [np.full(size, model_count, np.int64) for size in inputs.sizes]
        candidates = range(len(counts))
        factors = multipliers(
            weights(inputs.workload, inputs.candidates),
            selection_epsilon,
            self._engines[0].fraction_bits,
        )
        biases = [0 for _ in candidates]
        seconds = await _timed(
            [engine.select(label, candidates, counts, factors, biases) for engine in self._engines]
        )
        noise = self._growth(Step.NOISE)
        select = _without(self._growth(Step.SELECT), noise)
        return _Selection(*_shared_out(seconds, self._growth(Step.SCORE), select, noise))

    async def measure(self, variance: Fraction) -> _Measuring:
        """Measure candidates, enough cells for the padding to be small."""
        ends = np.cumsum(self._inputs.sizes)
        candidates = range(min(int(np.searchsorted(ends, _N_SAMPLES)) + 1, len(ends)))
        label = f"variance-{variance.numerator}-{variance.denominator}"
        seconds = await _timed(
            [engine.measure(label, candidates, variance) for engine in self._engines]
        )
        noise = self._growth(Step.NOISE)
        costs = _shared_out(seconds, _without(self._growth(Step.MEASURE), noise), noise)
        return _Measuring(*(cost.scaled(1 / int(ends[candidates[-1]])) for cost in costs))

    def _growth(self, step: Step) -> Cost:
        """Return what a step has cost since it was last asked; seconds are a party's own."""
        counters = [session.statistics.get(step, StepStatistics()) for session in self._sessions]
        n_bytes, first = sum(counter.bytes_sent for counter in counters), counters[0]
        before = self._seen.get(step, Cost())
        self._seen[step] = Cost(n_bytes, first.rounds, first.seconds)
        return Cost(
            n_bytes - before.n_bytes, first.rounds - before.rounds, first.seconds - before.seconds
        )


def _without(step: Cost, noise: Cost) -> Cost:
    """Take the noise's seconds out of the step that waits for it."""
    return replace(step, seconds=max(0.0, step.seconds - noise.seconds))


def _shared_out(seconds: float, *steps: Cost) -> list[Cost]:
    """Share out this process's seconds over steps, in the proportion of the steps' own."""
    whole = sum(step.seconds for step in steps) or 1.0
    return [replace(step, seconds=seconds * step.seconds / whole) for step in steps]


async def _timed(work: Sequence[Coroutine[Any, Any, object]]) -> float:
    """Run one step at all parties; return the seconds, in which this process computes for all."""
    started = time.perf_counter()
    await asyncio.gather(*work)
    return time.perf_counter() - started
