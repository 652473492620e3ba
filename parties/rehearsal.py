"""A rehearsal of a job's secure steps: all parties in this process, on zeros, in memory.

It runs the very code of a compute party on shares of an empty table, so what it counts is what a
job sends: sizes and rounds depend on public values only. Where the job is too large to rehearse in
a moment the domain is shrunk, and costs that grow with the cells are scaled up.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from aim_core.schema import schema_from_dict
from aim_core.scoring import multipliers
from aim_core.workload import Workload, closure, weights
from mpc.channel import Step, StepStatistics
from mpc.in_memory import start_sessions
from mpc.job import make_noise
from mpc.noise import NoiseKind
from mpc.session import Session
from parties.engine import MpcEngine, access_structure, upload_format
from parties.manifest import Manifest, PublicInputs

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


def rehearse(
    manifest: Manifest, inputs: PublicInputs, epsilon: Fraction, variances: Sequence[Fraction]
) -> Rehearsal:
    """Load an empty table, select twice, make noise of each variance; return the unit costs."""
    small = shrunk(inputs, REHEARSED_CELLS)
    costs = asyncio.run(_rehearse(manifest, small, epsilon, variances))
    growth = sum(inputs.sizes) / sum(small.sizes)
    uploaded, small_upload = (upload_format(manifest, i).n_cells for i in (inputs, small))
    by_upload = uploaded / small_upload
    return Rehearsal(
        share=costs["share"].scaled(by_upload),
        add=costs["add"].scaled(by_upload),
        check=costs["check"].scaled(by_upload),
        prepare=costs["prepare"].scaled(growth),
        agree=costs["agree"],
        score_fixed=costs["score zeros"],
        score_cell=_per_cell(costs, sum(small.sizes)),
        select=costs["select"],
        gumbel=costs["gumbel"],
        opening=costs["opening"],
        gaussian={v: costs[f"gaussian {v}"] for v in variances},
    )


def _per_cell(costs: Mapping[str, Cost], n_cells: int) -> Cost:
    full, none = costs["score ones"], costs["score zeros"]
    return Cost(
        (full.n_bytes - none.n_bytes) / n_cells,
        full.rounds - none.rounds,
        max(0.0, full.seconds - none.seconds) / n_cells,
    )


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
    workload = Workload(schema.domain, inputs.workload.cliques)
    return PublicInputs(schema, workload, closure(workload))


async def _rehearse(
    manifest: Manifest, inputs: PublicInputs, epsilon: Fraction, variances: Sequence[Fraction]
) -> dict[str, Cost]:
    access = access_structure(manifest)
    sessions = await start_sessions(access.n_parties, access.threshold)
    stage = _Stage(manifest, inputs, sessions)
    await stage.load()
    await stage.agree()
    await stage.select("ones", epsilon, 1)
    await stage.select("zeros", epsilon, 0)
    for variance in variances:
        await stage.measure(variance)
    return stage.costs


class _Stage:
    """All parties of a rehearsal, and what each step has cost.

    Noise is made on request, not ahead, so that every step ends with nothing left running.
    """

    def __init__(
        self, manifest: Manifest, inputs: PublicInputs, sessions: Sequence[Session]
    ) -> None:
        kind = NoiseKind(manifest.noise)
        noise = make_noise(kind, access_structure(manifest), ahead=False)
        self._manifest, self._inputs, self._sessions = manifest, inputs, sessions
        self._engines = [MpcEngine(session, manifest, inputs, noise) for session in sessions]
        self._seen: dict[Step, StepStatistics] = {}
        self.costs: dict[str, Cost] = {}

    async def load(self) -> None:
        """Share an empty table, add it up, check it and prepare its cells."""
        form = upload_format(self._manifest, self._inputs)
        with TemporaryDirectory(prefix="distaim-") as name:
            paths = [Path(name) / f"{pid}.share" for pid in range(len(self._engines))]
            started = time.perf_counter()
            bodies = form.share(np.zeros(form.n_cells, np.uint32))
            for path, chunks in zip(paths, bodies, strict=True):
                path.write_bytes(b"".join(chunks))
            self.costs["share"] = Cost(seconds=time.perf_counter() - started)
            started = time.perf_counter()
            for pid, path in enumerate(paths):
                form.accumulate(pid, path, form.zeros(pid))
            self.costs["add"] = Cost(seconds=time.perf_counter() - started)
            pairs = zip(self._engines, paths, strict=True)
            self._note(
                await _timed([engine.load({"holder": path}) for engine, path in pairs]),
                {Step.CHECK: "check", Step.PREPARE: "prepare"},
            )

    async def agree(self) -> None:
        """Compare a hash."""
        seconds = await _timed(
            [engine.agree("job", {"request": b"", "ledger": b""}) for engine in self._engines]
        )
        self._note(seconds, {Step.AGREE: "agree"})

    async def select(self, name: str, epsilon: Fraction, model_count: int) -> None:
        """Select among all candidates whose models are `model_count` in every cell."""
        inputs = self._inputs
        counts = [np.full(size, model_count, np.int64) for size in inputs.sizes]
        places = range(len(counts))
        factors = multipliers(
            weights(inputs.workload, inputs.candidates), epsilon, self._engines[0].fraction_bits
        )
        biases = [0 for _ in places]
        seconds = await _timed(
            [engine.select(name, places, counts, factors, biases) for engine in self._engines]
        )
        self._note(
            seconds, {Step.SCORE: f"score {name}", Step.NOISE: "gumbel", Step.SELECT: "select"}
        )

    async def measure(self, variance: Fraction) -> None:
        """Measure candidates, enough cells for the padding to be small."""
        ends = np.cumsum(self._inputs.sizes)
        places = range(min(int(np.searchsorted(ends, _N_SAMPLES)) + 1, len(ends)))
        name = f"variance-{len(self.costs)}"
        seconds = await _timed([engine.measure(name, places, variance) for engine in self._engines])
        self._note(seconds, {Step.NOISE: f"gaussian {variance}", Step.MEASURE: "opening"})
        for step in (f"gaussian {variance}", "opening"):
            self.costs[step] = self.costs[step].scaled(1 / int(ends[places[-1]]))

    def _note(self, seconds: float, names: Mapping[Step, str]) -> None:
        """Book the counters' growth under names, and the CPU seconds in their proportion."""
        spans = {}
        for step, name in names.items():
            now = [session.statistics.get(step, StepStatistics()) for session in self._sessions]
            old = self._seen.get(step, StepStatistics())
            n_bytes = sum(cost.bytes_sent for cost in now)
            first = now[0]
            spans[name] = first.seconds - old.seconds
            self.costs[name] = Cost(n_bytes - old.bytes_sent, first.rounds - old.rounds)
            self._seen[step] = StepStatistics(
                bytes_sent=n_bytes, rounds=first.rounds, seconds=first.seconds
            )
        # noise is made within the step that waits for it
        outer = next((name for name in spans if name in ("select", "opening")), None)
        inner = next((name for name in spans if name.startswith(("gumbel", "gaussian"))), None)
        if outer is not None and inner is not None:
            spans[outer] = max(0.0, spans[outer] - spans[inner])
        whole = sum(spans.values()) or 1.0
        for name, span in spans.items():
            cost = self.costs[name]
            self.costs[name] = Cost(cost.n_bytes, cost.rounds, seconds * span / whole)


async def _timed(work: Sequence[Coroutine[Any, Any, object]]) -> float:
    """Run one step at all parties; return the seconds, in which this process computes for all."""
    started = time.perf_counter()
    await asyncio.gather(*work)
    return time.perf_counter() - started
