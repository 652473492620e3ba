"""One job at a compute party: what it accepts, checks, pays, answers. No HTTP in here.

The estimator is not trusted. Whatever it sends is checked against the manifest, agreed on with
the peers, and charged to the ledger on disk, in this order, before anything touches a share.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from aim_core.aim import Noise
from aim_core.errors import AimError
from aim_core.scoring import multipliers
from aim_core.workload import weights
from parties.config import PartyConfig
from parties.errors import JobFailed, RequestConflict, RequestRefused, UploadRefused
from parties.ledger import Ledger
from parties.manifest import Manifest, PublicInputs, parse_fraction
from parties.mechanism import Budget
from parties.memory import peak_rss_mb
from parties.messages import (
    FinishAnswer,
    FinishRequest,
    FreezeRequest,
    MeasureRequest,
    SelectAnswer,
    SelectRequest,
    Status,
    StepCost,
    UploadReceipt,
    decode_counts,
    encode_marginals,
    parse,
    unpack,
)
from parties.transcript import Transcript, cost_between
from parties.uploads import UploadStore

EPSILON_CAP = Fraction(64)
"""Largest epsilon of one selection that a party computes with; scores stay small below it."""

Work = Callable[[str, str, bytes], Awaitable[bytes]]


class Engine(Protocol):
    """The secure engine as a job uses it; candidates are places in the closure."""

    noise: Noise
    fraction_bits: int

    async def agree(self, label: str, digest: bytes) -> None:
        """Compare a hash with all peers; ProtocolViolation if one differs."""

    async def load(self, uploads: Sequence[Path]) -> None:
        """Sum the uploads, project to all candidates, and prepare the cells' bits."""

    async def select(
        self,
        label: str,
        candidates: Sequence[int],
        model_counts: Sequence[np.ndarray],
        multipliers: Sequence[int],
        biases: Sequence[int],
    ) -> int:
        """Return the place, in `candidates`, that the exponential mechanism chose."""

    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[np.ndarray]:
        """Return the candidates' noisy marginals, int64 flat."""

    def finish(self) -> None:
        """Wipe what was made ahead."""
        ...

    def costs(self) -> dict[str, StepCost]:
        """Return what each step has cost this party so far."""


@dataclass(frozen=True)
class _Selection:
    request: SelectRequest
    epsilon: Fraction
    counts: list[np.ndarray]
    multipliers: list[int]


class PartyJob:
    """The state of one job at one party, and its answers to holders and estimator."""

    def __init__(
        self,
        config: PartyConfig,
        manifest: Manifest,
        inputs: PublicInputs,
        body_size: int,
        budget: Budget,
    ) -> None:
        self.pid = config.pid
        self.manifest = manifest
        self.inputs = inputs
        self.state: Literal["connecting", "collecting", "frozen", "running", "done", "failed"] = (
            "connecting"
        )
        self.error: Exception | None = None
        self.ended = asyncio.Event()
        self.round = 0
        self.uploads = UploadStore(config.state / "uploads", config.pid, body_size)
        self.budget = budget
        self.ledger = Ledger(
            config.state / "ledger.jsonl",
            manifest.digest,
            parse_fraction(manifest.mechanism.rho),
            budget.distance,
        )
        self.transcript = Transcript(config.transcript, manifest.digest, config.pid)
        self._engine: Engine | None = None
        self._answers: dict[str, tuple[str, asyncio.Task[bytes]]] = {}
        self._lock = asyncio.Lock()

    def connected(self, engine: Engine) -> None:
        """Note that the peers are there."""
        self._engine = engine
        self.state = "collecting"

    def fail(self, error: Exception) -> None:
        """End the job with an error; only the first one counts."""
        if self.state in ("failed", "done"):
            return
        self.state, self.error = "failed", error
        self.transcript.write("failed", error=type(error).__name__, text=str(error))
        self.ended.set()

    @property
    def engine(self) -> Engine:
        """Return the engine; RequestRefused while the peers are not connected."""
        if self._engine is None:
            raise RequestRefused("the compute parties are not connected yet; ask again later")
        return self._engine

    def status(self) -> Status:
        """Return the public state."""
        return Status(
            party=self.pid,
            state=self.state,
            manifest=self.manifest.digest,
            uploads={name: receipt.upload for name, receipt in self.uploads.receipts.items()},
            round=self.round,
            rho_spent=str(self.ledger.spent),
            ledger_head=self.ledger.head,
        )

    async def upload(self, holder: str, upload: str, chunks: AsyncIterator[bytes]) -> UploadReceipt:
        """Take a holder's share; UploadRefused once the inputs are frozen."""
        if self.state not in ("connecting", "collecting"):
            raise UploadRefused(
                f"the job takes no more uploads, it is {self.state}", party=self.pid
            )
        return await self.uploads.take(holder, upload, chunks)

    async def freeze(self, body: bytes) -> bytes:
        """Fix the set of inputs, with all peers, and load the sums."""
        return await self._answer("freeze", body, self._freeze)

    async def select(self, request_id: str, body: bytes) -> bytes:
        """Answer a selection (JSON of a SelectAnswer)."""
        return await self._answer(request_id, body, self._select)

    async def measure(self, request_id: str, body: bytes) -> bytes:
        """Answer a measurement (packed noisy marginals)."""
        return await self._answer(request_id, body, self._measure)

    async def finish(self, body: bytes) -> bytes:
        """End the job, with all peers, and say what it cost (JSON of a FinishAnswer)."""
        return await self._answer("finish", body, self._finish)

    async def _answer(self, request_id: str, body: bytes, work: Work) -> bytes:
        """Answer each id once: the same request gets the stored answer, another is refused."""
        sha = hashlib.sha256(work.__name__.encode() + b"\0" + body).hexdigest()
        known = self._answers.get(request_id)
        if known is None:
            known = (sha, asyncio.create_task(self._run(request_id, sha, body, work)))
            self._answers[request_id] = known
        if known[0] != sha:
            raise RequestConflict(
                f"request {request_id} was made before with other contents; use a new id",
                run=self.manifest.run,
                party=self.pid,
            )
        return await asyncio.shield(known[1])

    async def _run(self, request_id: str, sha: str, body: bytes, work: Work) -> bytes:
        async with self._lock:
            if self.state == "failed" and self.error is not None:
                raise self.error
            try:
                return await work(request_id, sha, body)
            except RequestRefused:
                del self._answers[request_id]  # nothing has happened: the id stays free
                raise
            except AimError:
                raise  # refused by the mechanism's rules, equally at all parties
            except Exception as error:
                self.fail(error)
                raise

    async def _agree(self, request_id: str, sha: str) -> None:
        """Compare the request and the ledger's head with the peers."""
        claim = f"{self.manifest.digest} {sha} {self.ledger.head}"
        await self.engine.agree(request_id, hashlib.sha256(claim.encode()).digest())

    async def _freeze(self, request_id: str, sha: str, body: bytes) -> bytes:
        self._require("collecting")
        uploads = parse(FreezeRequest, body).uploads
        names = [member.name for member in self.manifest.holders if member.name in uploads]
        if len(names) < len(uploads) or len(names) < self.manifest.min_holders:
            raise RequestRefused(
                f"{len(names)} known holders are named, {len(uploads) - len(names)} unknown ones; "
                f"the manifest asks for at least {self.manifest.min_holders}"
            )
        for name in names:
            receipt = self.uploads.receipts.get(name)
            if receipt is None or receipt.upload != uploads[name]:
                raise RequestRefused(f"this party does not hold that upload of {name}")
        self.state = "frozen"
        before = self.engine.costs()
        await self._agree(request_id, sha)
        self.transcript.write("freeze", request=request_id, sha256=sha, uploads=uploads)
        await self.engine.load([self.uploads.path(name) for name in names])
        self.transcript.write("loaded", cost=cost_between(before, self.engine.costs()))
        return b"{}"

    async def _select(self, request_id: str, sha: str, body: bytes) -> bytes:
        self._require("frozen", "running")
        selection = await asyncio.to_thread(self._check_selection, body)
        request = selection.request
        rho = self.engine.noise.select_rho(selection.epsilon)
        delta = len(request.candidates) * self.budget.per_candidate
        before = self.engine.costs()
        await self._begin(request_id, sha, request.round, rho, delta)
        index = await self.engine.select(
            request_id,
            request.candidates,
            selection.counts,
            selection.multipliers,
            request.biases,
        )
        self.transcript.write(
            "select",
            request=request_id,
            sha256=sha,
            round=request.round,
            epsilon=request.epsilon,
            rho=str(rho),
            candidates=request.candidates,
            index=index,
            clique=self.inputs.candidates[request.candidates[index]],
            cost=cost_between(before, self.engine.costs()),
        )
        return SelectAnswer(index=index).model_dump_json().encode()

    async def _measure(self, request_id: str, sha: str, body: bytes) -> bytes:
        self._require("frozen", "running")
        request = parse(MeasureRequest, body)
        self._check_candidates(request.candidates)
        sigma2 = parse_fraction(request.sigma2)
        if not 0 < sigma2 <= parse_fraction(self.manifest.sigma2_max):
            raise RequestRefused("sigma squared is 0 or above the manifest's sigma2_max")
        rho = len(request.candidates) * self.engine.noise.measure_rho(sigma2)
        delta = len(request.candidates) * self.budget.per_marginal
        before = self.engine.costs()
        await self._begin(request_id, sha, request.round, rho, delta)
        marginals = await self.engine.measure(request_id, request.candidates, sigma2)
        self.transcript.write(
            "measure",
            request=request_id,
            sha256=sha,
            round=request.round,
            sigma2=request.sigma2,
            rho=str(rho),
            cliques=[self.inputs.candidates[place] for place in request.candidates],
            marginals=self.transcript.marginals(marginals),
            cost=cost_between(before, self.engine.costs()),
        )
        return encode_marginals(marginals)

    async def _finish(self, request_id: str, sha: str, body: bytes) -> bytes:
        parse(FinishRequest, body)
        self._require("frozen", "running")
        await self._agree(request_id, sha)
        self.engine.finish()
        answer = FinishAnswer(
            party=self.pid,
            steps=self.engine.costs(),
            peak_rss_mb=peak_rss_mb(),
            rho_spent=str(self.ledger.spent),
            ledger_head=self.ledger.head,
            transcript_head=self.transcript.head,
        )
        self.transcript.write("finish", rho_spent=answer.rho_spent, ledger=self.ledger.head)
        self.state = "done"
        self.ended.set()
        return answer.model_dump_json().encode()

    async def _begin(
        self, request_id: str, sha: str, round_number: int, rho: Fraction, delta: Fraction
    ) -> None:
        await self._agree(request_id, sha)
        self.ledger.charge(request_id, sha, rho, delta)
        self.state, self.round = "running", round_number

    def _check_selection(self, body: bytes) -> _Selection:
        header, payload = unpack(body)
        request = parse(SelectRequest, header)
        self._check_candidates(request.candidates)
        epsilon = parse_fraction(request.epsilon)
        if not 0 < epsilon <= EPSILON_CAP:
            raise RequestRefused(f"epsilon of a selection must be above 0, at most {EPSILON_CAP}")
        if len(request.biases) != len(request.candidates):
            raise RequestRefused("there must be one bias per candidate")
        cliques = [self.inputs.candidates[place] for place in request.candidates]
        sizes = [self.inputs.domain.n_cells(clique) for clique in cliques]
        counts = decode_counts(payload, request.widths, sizes, self.manifest.y_max)
        factors = multipliers(
            weights(self.inputs.workload, cliques), epsilon, self.engine.fraction_bits
        )
        return _Selection(request, epsilon, counts, factors)

    def _check_candidates(self, candidates: Sequence[int]) -> None:
        n_candidates = len(self.inputs.candidates)
        if max(candidates) >= n_candidates:
            raise RequestRefused(f"a candidate is not among the closure's {n_candidates}")

    def _require(self, *states: str) -> None:
        if self.state not in states:
            raise RequestRefused(
                f"the job is {self.state}; this request needs it to be {' or '.join(states)}",
                run=self.manifest.run,
                party=self.pid,
            )

    def close(self) -> None:
        """Close the ledger and the transcript."""
        self.ledger.close()
        self.transcript.close()

    def failure(self) -> Exception:
        """Return why the job failed."""
        return self.error or JobFailed("the job ended without a result", party=self.pid)
