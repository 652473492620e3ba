"""The secure engine of a job, with the sizes and the noise that the manifest implies."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aim_core.counts.marginals import project, smallest_superset
from aim_core.counts.workload import maximal_cliques
from aim_core.domain import Clique
from mpc.arrays import Array
from mpc.noise.sources import NoiseSource
from mpc.session.channel import Step
from mpc.session.session import Session
from mpc.shares.replicated import Share
from mpc.steps.input_check import inputs_are_valid
from mpc.steps.job import Job, RingParameters, SecureJob, make_noise
from parties.agreement.derived import (
    access_structure,
    manifest_noise,
    ring_parameters,
    upload_format,
)
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.values import EngineKind
from parties.errors import InputsRefused
from parties.wire.messages import StepCost


class MpcEngine:
    """An `engine_protocol.Engine` over an open session with the peers.

    The noise is the manifest's, unless a rehearsal hands in another source.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        inputs: PublicInputs,
        noise: NoiseSource | None = None,
    ) -> None:
        source = noise or make_noise(manifest.noise, access_structure(manifest))
        parameters = ring_parameters(manifest)
        self.noise = manifest_noise(manifest)
        self.fraction_bits = parameters.fraction_bits
        self._session, self._inputs = session, inputs
        self._format = upload_format(manifest, inputs)
        self._n_max, self._count_bits = parameters.n_max, parameters.count_bits
        self._job = _make_job(manifest.engine, session, parameters, source)
        self.select, self.measure = self._job.select, self._job.measure
        self._n_loads = 0

    async def agree(self, label: str, values: Mapping[str, bytes]) -> None:
        """Compare named public values with all peers; ProtocolViolation names who differs."""
        await self._session.agree_all(label, values)

    async def publish(self, label: str, value: bytes) -> dict[int, bytes]:
        """Tell all peers a public value and return everybody's."""
        return await self._session.publish(label, value)

    def heard(self) -> dict[int, float]:
        """Return for how many seconds each peer has been silent."""
        now = time.monotonic()
        return {pid: now - link.last_heard for pid, link in self._session.network.links.items()}

    async def load(self, uploads: Mapping[str, Path]) -> None:
        """Sum the uploads, check the sums, project to all candidates, prepare the cells' bits.

        What was loaded before is replaced. Raises InputsRefused if the sums are not counts of one
        table of at most n_max records; it names the holders whose own shares are not. Nothing else
        about them is opened.
        """
        total = await asyncio.to_thread(self._sum, list(uploads.values()))
        self._n_loads += 1
        if not await self._valid(f"all-{self._n_loads}", total):
            raise InputsRefused(await self._blame(uploads))
        shape = (sum(self._inputs.sizes),)
        cells = total.map(lambda component: candidate_cells(component, self._inputs), shape)
        await self._job.load(cells, self._inputs.sizes)

    async def _valid(self, label: str, cells: Share) -> bool:
        """Check, under MPC, shares of the maximal marginals' cells."""
        domain = self._inputs.domain
        sizes = [domain.n_cells(clique) for clique in maximal_cliques(self._inputs.workload)]
        differences = await asyncio.to_thread(_consistency, cells, self._inputs)
        with self._session.step(Step.CHECK, label) as channel:
            return await inputs_are_valid(
                channel, cells, sizes, differences, self._n_max, self._count_bits
            )

    async def _blame(self, uploads: Mapping[str, Path]) -> str:
        wrong = [
            name
            for name, path in uploads.items()
            if not await self._valid(f"of-{name}", await asyncio.to_thread(self._sum, [path]))
        ]
        if not wrong:
            return (
                f"the holders together have more than n_max = {self._n_max} records; make a new "
                "manifest with a larger n_max"
            )
        return (
            f"the shares of {', '.join(wrong)} are not counts of one table of at most "
            f"{self._n_max} records; have the table and the software there checked, and start "
            "again without or with a corrected upload"
        )

    def finish(self) -> None:
        """Wipe what was made ahead; the job is over."""
        self._job.wipe()

    def costs(self) -> dict[str, StepCost]:
        """Return what each step has cost this party so far."""
        return {
            step.value: StepCost(
                bytes_sent=cost.bytes_sent, rounds=cost.rounds, seconds=round(cost.seconds, 6)
            )
            for step, cost in self._session.statistics.items()
        }

    def _sum(self, uploads: Sequence[Path]) -> Share:
        """Add uploads, component by component."""
        pid = self._session.pid
        total = self._format.zeros(pid)
        for path in uploads:
            self._format.accumulate(pid, path, total)
        return total


def _make_job(
    engine: EngineKind, session: Session, parameters: RingParameters, noise: NoiseSource
) -> Job:
    if engine is EngineKind.REPLICATED:
        return SecureJob(session, parameters, noise)
    from mpc.mpyc_engine.job import ShamirJob  # loads MPyC, which only this engine needs

    return ShamirJob(session, parameters, noise)


def _maximal_spans(inputs: PublicInputs) -> dict[Clique, slice]:
    spans: dict[Clique, slice] = {}
    start = 0
    for clique in maximal_cliques(inputs.workload):
        spans[clique] = slice(start, start + inputs.domain.n_cells(clique))
        start = spans[clique].stop
    return spans


def _consistency(cells: Share, inputs: PublicInputs) -> Share:
    """Return what is zero where the maximal marginals agree: on totals, on shared projections."""
    spans = _maximal_spans(inputs)
    everywhere: Clique = ()

    def differences(component: Array) -> Array:
        parts = [np.zeros(1, component.dtype)]
        for clique in (everywhere, *inputs.candidates):
            sources = [source for source in spans if set(clique) <= set(source)]
            seen = [
                project(component[spans[source]], inputs.domain, source, clique)
                for source in sources
            ]
            parts += [other - seen[0] for other in seen[1:]]
        return np.concatenate(parts)

    changed = {i: differences(component) for i, component in cells.components.items()}
    shape = next(iter(changed.values())).shape
    return Share(cells.algebra, shape, cells.support, changed)


def candidate_cells(maximal: Array, inputs: PublicInputs) -> Array:
    """Project joined maximal marginals to all candidates, joined in the closure's order.

    Linear over the ring of the dtype, so a component of shares maps to one of shares.
    """
    domain = inputs.domain
    spans = _maximal_spans(inputs)
    cells = np.empty(sum(inputs.sizes), dtype=maximal.dtype)
    start = 0
    for clique, size in zip(inputs.candidates, inputs.sizes, strict=True):
        source = clique if clique in spans else smallest_superset(clique, spans, domain)
        cells[start : start + size] = project(maximal[spans[source]], domain, source, clique)
        start += size
    return cells
