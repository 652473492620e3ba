"""The secure engine of a job, with the sizes and the noise that the manifest implies."""

import asyncio
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aim_core.aim import Noise
from aim_core.domain import Clique
from aim_core.marginals import project, smallest_superset
from aim_core.workload import maximal_cliques, n_cells
from mpc.access import AccessStructure
from mpc.job import RingParameters, SecureJob, make_noise, noise_costs
from mpc.noise import NoiseSource
from mpc.session import Session
from mpc.sharing import Share
from mpc.upload import UploadFormat
from parties.errors import ConfigError
from parties.manifest import Manifest, PublicInputs, parse_fraction
from parties.mechanism import Budget, noise_terms, run_budget
from parties.messages import StepCost

if TYPE_CHECKING:
    from mpc.shamir import ShamirJob


def access_structure(manifest: Manifest) -> AccessStructure:
    """Return who holds which component."""
    return AccessStructure(manifest.n_parties, manifest.threshold)


def manifest_noise(manifest: Manifest) -> Noise:
    """Return what the manifest's kind of noise costs."""
    return noise_terms(noise_costs(manifest.noise, access_structure(manifest)))


def manifest_budget(manifest: Manifest, inputs: PublicInputs) -> Budget:
    """Return what the manifest's epsilon and delta pay for, computed anew.

    ConfigError if the manifest's rho is larger: whoever wrote it promised too much.
    """
    mechanism = manifest.mechanism
    budget = run_budget(
        mechanism.epsilon,
        mechanism.delta,
        noise_costs(manifest.noise, access_structure(manifest)),
        inputs.workload,
        mechanism.rounds,
        parse_fraction(mechanism.alpha),
    )
    rho = parse_fraction(mechanism.rho)
    if rho > budget.rho:
        raise ConfigError(
            f"mechanism.rho in the manifest is {float(rho):.9g}, but epsilon {mechanism.epsilon} "
            f"and delta {mechanism.delta} pay for {float(budget.rho):.9g} with this noise; have "
            "the manifest corrected, and do not approve it as it is",
            run=manifest.run,
        )
    return budget


def ring_parameters(manifest: Manifest) -> RingParameters:
    """Return the sizes that rule out any wrap; EncodingOverflow if there are none."""
    source = make_noise(manifest.noise, access_structure(manifest))
    bound = source.gaussian_bound(parse_fraction(manifest.sigma2_max))
    return RingParameters.choose(manifest.n_max, manifest.y_max, bound)


def upload_format(manifest: Manifest, inputs: PublicInputs) -> UploadFormat:
    """Return the form of every holder's upload: the cells of the maximal marginals."""
    cells = n_cells(inputs.domain, maximal_cliques(inputs.workload))
    return UploadFormat(access_structure(manifest), ring_parameters(manifest).ring_bits, cells)


class MpcEngine:
    """A `party_job.Engine` over an open session with the peers."""

    def __init__(self, session: Session, manifest: Manifest, inputs: PublicInputs) -> None:
        access = access_structure(manifest)
        parameters = ring_parameters(manifest)
        self.noise = manifest_noise(manifest)
        self.fraction_bits = parameters.fraction_bits
        self._session, self._inputs = session, inputs
        self._format = upload_format(manifest, inputs)
        self._job = _make_job(
            manifest.engine, session, parameters, make_noise(manifest.noise, access)
        )

    async def agree(self, label: str, digest: bytes) -> None:
        """Compare a hash with all peers; ProtocolViolation if one differs."""
        await self._session.agree(label, digest)

    async def load(self, uploads: Sequence[Path]) -> None:
        """Sum the uploads, project to all candidates, and prepare the cells' bits."""
        cells = await asyncio.to_thread(self._candidate_cells, uploads)
        await self._job.load(cells, self._inputs.sizes)

    async def select(
        self,
        label: str,
        candidates: Sequence[int],
        model_counts: Sequence[np.ndarray],
        multipliers: Sequence[int],
        biases: Sequence[int],
    ) -> int:
        """Return the place, in `candidates`, that the exponential mechanism chose."""
        return await self._job.select(label, candidates, model_counts, multipliers, biases)

    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[np.ndarray]:
        """Return the candidates' noisy marginals, int64 flat."""
        return list(await self._job.measure(label, candidates, sigma2))

    def finish(self) -> None:
        """Wipe what was made ahead; the job is over."""
        self._job.wipe()

    def costs(self) -> dict[str, StepCost]:
        """Return what each step has cost this party so far."""
        return {
            step: StepCost(
                bytes_sent=cost.bytes_sent, rounds=cost.rounds, seconds=round(cost.seconds, 6)
            )
            for step, cost in self._session.statistics.items()
        }

    def _candidate_cells(self, uploads: Sequence[Path]) -> Share:
        """Add the uploads and sum each candidate's cells from a maximal marginal's, locally."""
        pid = self._session.pid
        total = self._format.zeros(pid)
        for path in uploads:
            self._format.accumulate(pid, path, total)
        shape = (sum(self._inputs.sizes),)
        return total.map(lambda component: candidate_cells(component, self._inputs), shape)


def _make_job(
    engine: str, session: Session, parameters: RingParameters, noise: NoiseSource
) -> "SecureJob | ShamirJob":
    if engine == "replicated":
        return SecureJob(session, parameters, noise)
    from mpc.shamir import ShamirJob  # noqa: PLC0415 - loads MPyC, which only this engine needs

    return ShamirJob(session, parameters, noise)


def candidate_cells(maximal: np.ndarray, inputs: PublicInputs) -> np.ndarray:
    """Project joined maximal marginals to all candidates, joined in the closure's order.

    Linear over the ring of the dtype, so a component of shares maps to one of shares.
    """
    domain = inputs.domain
    spans: dict[Clique, slice] = {}
    place = 0
    for clique in maximal_cliques(inputs.workload):
        spans[clique] = slice(place, place + domain.n_cells(clique))
        place = spans[clique].stop
    cells = np.empty(sum(inputs.sizes), dtype=maximal.dtype)
    place = 0
    for clique, size in zip(inputs.candidates, inputs.sizes, strict=True):
        source = clique if clique in spans else smallest_superset(clique, spans, domain)
        cells[place : place + size] = project(maximal[spans[source]], domain, source, clique)
        place += size
    return cells
