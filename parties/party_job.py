"""One job at a compute party: what it accepts, checks, pays, answers. No HTTP in here.

The estimator is not trusted. Whatever it sends is checked against the manifest, agreed on with
the peers, and charged to the ledger on disk, in this order, before anything touches a share.

Whatever happens, a charge stays: a request that was charged and broke off is lost under its id.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from aim_core.aim import Noise
from aim_core.errors import AimError
from aim_core.scoring import multipliers
from aim_core.workload import weights
from mpc.errors import ProtocolViolation
from parties.approval import check_in_force
from parties.config import PartyConfig
from parties.errors import (
    ChargeLost,
    InputsRefused,
    JobFailed,
    NotReady,
    RequestConflict,
    RequestRefused,
    UploadRefused,
)
from parties.job_record import FINISH, FREEZE, JobRecord
from parties.manifest import (
    Manifest,
    PublicInputs,
    parse_fraction,
    participation,
    program_version,
)
from parties.mechanism import Budget
from parties.memory import peak_rss_mb
from parties.messages import (
    SELECTION_EPSILON_CAP,
    FinishAnswer,
    FinishRequest,
    FreezeRequest,
    LedgerEntry,
    MeasureRequest,
    SelectAnswer,
    SelectRequest,
    Status,
    StepCost,
    UploadReceipt,
    UploadState,
    decode_counts,
    encode_marginals,
    parse,
    unpack,
)
from parties.recovery import MEETING, Claim, may_come_back, merged
from parties.store import disk_error
from parties.transcript import add_costs, cost_between, counts_digest
from parties.transcript_entries import Failed, Measure, Measured, Select, Selected
from parties.uploads import UploadPart

State = Literal["connecting", "collecting", "frozen", "running", "done", "failed"]

Work = Callable[[str, str, bytes], Awaitable[bytes]]


class Engine(Protocol):
    """The secure engine as a job uses it; candidates are places in the closure."""

    noise: Noise
    fraction_bits: int

    async def agree(self, label: str, values: Mapping[str, bytes]) -> None:
        """Compare named public values with all peers; ProtocolViolation if one differs."""

    async def publish(self, label: str, value: bytes) -> dict[int, bytes]:
        """Tell all peers a public value and return everybody's, this party's included."""
        ...

    def heard(self) -> dict[int, float]:
        """Return for how many seconds each peer has been silent."""
        ...

    async def load(self, uploads: Mapping[str, Path]) -> None:
        """Sum the holders' uploads, check them, and prepare the cells; InputsRefused by name."""

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
        self.budget = budget
        self.record = JobRecord(config, manifest, budget, body_size)
        self.error: Exception | None = None
        self.pace: tuple[float, Fraction] | None = None
        """When this process made its first charge of a round (monotonic), and the rho before."""
        self.ended = asyncio.Event()
        self._waits_for_peers = config.reconnect_seconds > 0
        self._engine: Engine | None = None
        self._loaded: list[str] = []
        self._under_way: dict[str, tuple[str, asyncio.Task[bytes]]] = {}
        self._lock = asyncio.Lock()

    async def connected(self, engine: Engine) -> None:
        """Take up the job over a new session with the peers, from wherever it stands.

        All parties go on from the furthest state of any of them. Raises ProtocolViolation for a
        state that cannot be this job's, and what `Engine.load` raises.
        """
        async with self._lock:
            said = await engine.publish(MEETING, self.record.claim().model_dump_json().encode())
            common = merged({pid: _read_claim(pid, text) for pid, text in said.items()})
            self.record.adopt(common)
            if common.finish is not None and self.record.phase != "done":
                self._end(common.finish, self._costs(engine))
            if self.record.phase in ("frozen", "running"):
                await self._load(engine)
            self._engine = engine

    def disconnected(self) -> None:
        """Note that the session is over; the job waits for the next one."""
        if self._engine is not None:
            self.record.costs = self._costs(self._engine)
            self._engine = None

    def fail(self, error: Exception) -> None:
        """End the job with an error; only the first one counts."""
        if self.state in ("failed", "done"):
            return
        self.error = disk_error(error, self.pid) if isinstance(error, OSError) else error
        self.ended.set()
        if isinstance(error, InputsRefused):
            self.record.refuse(error)
        with contextlib.suppress(OSError):  # a full disk may be what has failed
            kind, text = type(self.error).__name__, str(self.error)[:2000]
            self.record.transcript.write(Failed(error=kind, text=text))

    @property
    def state(self) -> State:
        """Return the state that others see."""
        if self.error is not None:
            return "failed"
        phase = self.record.phase
        return "connecting" if self._engine is None and phase != "done" else phase

    @property
    def round(self) -> int:
        """Return the round of the last charge."""
        return self.record.round

    @property
    def engine(self) -> Engine:
        """Return the engine; NotReady while the peers are not connected."""
        if self._engine is None:
            raise NotReady(
                "the compute parties are not connected; ask again later",
                run=self.manifest.run,
                party=self.pid,
            )
        return self._engine

    def status(self) -> Status:
        """Return the public state."""
        receipts = self.record.uploads.receipts
        return Status(
            party=self.pid,
            version=program_version(),
            state=self.state,
            manifest=self.manifest.digest,
            uploads={name: receipt.upload for name, receipt in receipts.items()},
            inputs=self.record.inputs,
            round=self.round,
            rho_spent=str(self.record.ledger.spent),
            ledger_head=self.record.ledger.head,
        )

    def costs(self) -> dict[str, StepCost]:
        """Return what the job has cost this party so far, by step."""
        return self.record.costs if self._engine is None else self._costs(self._engine)

    def heard(self) -> dict[int, float]:
        """Return for how many seconds each peer has been silent; empty while not connected."""
        return {} if self._engine is None else self._engine.heard()

    async def received(self, holder: str, upload: str) -> UploadState:
        """Say how much of a holder's upload is here; UploadRefused once the inputs are frozen."""
        self._check_collecting()
        return UploadState(n_bytes=await self.record.uploads.received(holder, upload))

    async def upload(
        self, holder: str, part: UploadPart, chunks: AsyncIterator[bytes]
    ) -> UploadReceipt:
        """Take a holder's share, or its rest; UploadRefused once the inputs are frozen."""
        self._check_collecting()
        check_in_force(self.manifest)
        return await self.record.uploads.take(holder, part, chunks)

    def _check_collecting(self) -> None:
        if self.error is not None or self.record.inputs is not None:
            raise UploadRefused(
                f"the job takes no more uploads, it is {self.state}", party=self.pid
            )

    async def freeze(self, body: bytes) -> bytes:
        """Fix the set of inputs, with all peers, and load the sums."""
        return await self._answer(FREEZE, body, self._freeze)

    async def select(self, request_id: str, body: bytes) -> bytes:
        """Answer a selection (JSON of a SelectAnswer)."""
        return await self._answer(request_id, body, self._select)

    async def measure(self, request_id: str, body: bytes) -> bytes:
        """Answer a measurement (packed noisy marginals)."""
        return await self._answer(request_id, body, self._measure)

    async def finish(self, body: bytes) -> bytes:
        """End the job, with all peers, and say what it cost (JSON of a FinishAnswer)."""
        return await self._answer(FINISH, body, self._finish)

    async def _answer(self, request_id: str, body: bytes, work: Work) -> bytes:
        """Answer each id once: the same request gets the stored answer, another is refused."""
        sha = hashlib.sha256(work.__name__.encode() + b"\0" + body).hexdigest()
        if request_id not in self._under_way:
            stored = self._stored(request_id, sha)
            if stored is not None:
                return stored
            task = asyncio.create_task(self._run(request_id, sha, body, work))
            self._under_way[request_id] = sha, task
            task.add_done_callback(lambda _: self._under_way.pop(request_id))
        known, task = self._under_way[request_id]
        if known != sha:
            raise self._conflict(request_id)
        return await asyncio.shield(task)

    def _stored(self, request_id: str, sha: str) -> bytes | None:
        """Return the answer to a request of before, None for a new one."""
        stored = self.record.request(request_id)
        if stored is None:
            return None
        if stored.sha256 != sha:
            raise self._conflict(request_id)
        if stored.answer is None:
            raise ChargeLost(
                f"request {request_id} was charged and not finished; ask again under a new id, "
                "which is charged again",
                run=self.manifest.run,
                party=self.pid,
            )
        return stored.answer

    def _conflict(self, request_id: str) -> RequestConflict:
        return RequestConflict(
            f"request {request_id} was made before with other contents; use a new id",
            run=self.manifest.run,
            party=self.pid,
        )

    async def _run(self, request_id: str, sha: str, body: bytes, work: Work) -> bytes:
        async with self._lock:
            if self.error is not None:
                raise self.error
            try:
                return await work(request_id, sha, body)
            except RequestRefused:
                raise  # nothing has happened: the id stays free
            except AimError:
                raise  # refused by the mechanism's rules, equally at all parties
            except OSError as error:
                unusable = disk_error(error, self.pid)
                self.fail(unusable)
                raise unusable from error
            except Exception as error:
                if not (self._waits_for_peers and may_come_back(error)):
                    self.fail(error)
                raise

    async def _agree(self, request_id: str, sha: str) -> None:
        """Compare the request and the ledger's head with the peers."""
        request = f"{self.manifest.digest} {sha}".encode()
        head = self.record.ledger.head.encode()
        values = {f"request {request_id}": request, f"the ledger before {request_id}": head}
        await self.engine.agree(request_id, values)

    def _costs(self, engine: Engine) -> dict[str, StepCost]:
        """Return what the job has cost so far, in all sessions."""
        return add_costs(self.record.costs, engine.costs())

    async def _load(self, engine: Engine) -> None:
        """Prepare the frozen inputs in a session."""
        self.record.write_freeze()
        before = self._costs(engine)
        await self._load_uploads(engine, self._holders())
        self.record.loaded(cost_between(before, self._costs(engine)))

    def _holders(self) -> list[str]:
        """Return the holders whose uploads are frozen, in the manifest's order."""
        inputs = self.record.inputs or {}
        return [member.name for member in self.manifest.holders if member.name in inputs]

    async def _load_uploads(self, engine: Engine, holders: list[str]) -> None:
        uploads = self.record.uploads
        await engine.load({name: uploads.path(name) for name in holders})
        self._loaded = holders

    async def _enter(self, engine: Engine, round_number: int) -> None:
        """Load the uploads of those who have joined by a round, unless they are loaded.

        All uploads have been checked and paid releases are private for any set of them, so the
        round number may be taken from the estimator.
        """
        holders = self._holders()
        present = participation(self.manifest, len(holders)).present(round_number)
        joined = [name for number, name in enumerate(holders) if number in present]
        if joined != self._loaded:
            await self._load_uploads(engine, joined)

    async def _freeze(self, request_id: str, sha: str, body: bytes) -> bytes:
        uploads = parse(FreezeRequest, body).uploads
        engine = self.engine
        if self.record.inputs is not None and self.record.inputs == uploads:
            return b"{}"  # frozen before a crash, loaded since
        self._require("collecting")
        check_in_force(self.manifest)
        names = [member.name for member in self.manifest.holders if member.name in uploads]
        if len(names) < len(uploads) or len(names) < self.manifest.min_holders:
            raise RequestRefused(
                f"{len(names)} known holders are named, {len(uploads) - len(names)} unknown ones; "
                f"the manifest asks for at least {self.manifest.min_holders}"
            )
        for name in names:
            receipt = self.record.uploads.receipts.get(name)
            if receipt is None or receipt.upload != uploads[name]:
                raise RequestRefused(f"this party does not hold that upload of {name}")
        await self._agree(request_id, sha)
        self.record.freeze(uploads, sha)
        await self._load(engine)
        self.record.answer(request_id, sha, b"{}", self._costs(engine))
        return b"{}"

    async def _select(self, request_id: str, sha: str, body: bytes) -> bytes:
        engine = self.engine
        self._require("frozen", "running")
        selection = await asyncio.to_thread(self._check_selection, body)
        request = selection.request
        rho = engine.noise.select_rho(selection.epsilon)
        delta = len(request.candidates) * self.budget.per_candidate
        digest = await asyncio.to_thread(counts_digest, selection.counts)
        before = self._costs(engine)
        ledger = await self._pay(request_id, sha, request.round, rho, delta)
        self.record.transcript.write(
            Select(
                request=request_id,
                sha256=sha,
                round=request.round,
                candidates=request.candidates,
                rho=str(rho),
                delta=str(delta),
                ledger=ledger,
                epsilon=request.epsilon,
                biases=request.biases,
                model_counts=digest,
            )
        )
        await self._enter(engine, request.round)
        index = await engine.select(
            request_id,
            request.candidates,
            selection.counts,
            selection.multipliers,
            request.biases,
        )
        self.record.transcript.write(
            Selected(
                request=request_id,
                round=request.round,
                index=index,
                clique=list(self.inputs.candidates[request.candidates[index]]),
                cost=cost_between(before, self._costs(engine)),
            )
        )
        answer = SelectAnswer(index=index).model_dump_json().encode()
        self.record.answer(request_id, sha, answer, self._costs(engine))
        return answer

    async def _measure(self, request_id: str, sha: str, body: bytes) -> bytes:
        engine = self.engine
        self._require("frozen", "running")
        request = parse(MeasureRequest, body)
        self._check_candidates(request.candidates)
        sigma2 = parse_fraction(request.sigma2)
        if not 0 < sigma2 <= parse_fraction(self.manifest.sigma2_max):
            raise RequestRefused("sigma squared is 0 or above the manifest's sigma2_max")
        rho = len(request.candidates) * engine.noise.measure_rho(sigma2)
        delta = len(request.candidates) * self.budget.per_marginal
        before = self._costs(engine)
        ledger = await self._pay(request_id, sha, request.round, rho, delta)
        self.record.transcript.write(
            Measure(
                request=request_id,
                sha256=sha,
                round=request.round,
                candidates=request.candidates,
                rho=str(rho),
                delta=str(delta),
                ledger=ledger,
                sigma2=request.sigma2,
            )
        )
        await self._enter(engine, request.round)
        marginals = await engine.measure(request_id, request.candidates, sigma2)
        self.record.transcript.write(
            Measured(
                request=request_id,
                round=request.round,
                cliques=[list(self.inputs.candidates[place]) for place in request.candidates],
                marginals=self.record.transcript.marginals(marginals),
                cost=cost_between(before, self._costs(engine)),
            )
        )
        answer = encode_marginals(marginals)
        self.record.answer(request_id, sha, answer, self._costs(engine))
        return answer

    async def _finish(self, request_id: str, sha: str, body: bytes) -> bytes:
        parse(FinishRequest, body)
        engine = self.engine
        self._require("frozen", "running")
        await self._agree(request_id, sha)
        engine.finish()
        return self._end(sha, self._costs(engine))

    def _end(self, sha: str, costs: dict[str, StepCost]) -> bytes:
        """Note that the job is done; return the answer to the request that ended it."""
        answer = FinishAnswer(
            party=self.pid,
            steps=costs,
            peak_rss_mb=peak_rss_mb(),
            rho_spent=str(self.record.ledger.spent),
            ledger_head=self.record.ledger.head,
            transcript_head=self.record.transcript.head,
        )
        self.record.finish(sha, answer)
        self.ended.set()
        return answer.model_dump_json().encode()

    async def _pay(
        self, request_id: str, sha: str, round_number: int, rho: Fraction, delta: Fraction
    ) -> str:
        """Agree on a request with the peers, charge it, return the ledger's head after it.

        BudgetExceeded comes before the peers are asked, since it comes at all parties alike.
        """
        self.record.ledger.check(rho, delta)
        await self._agree(request_id, sha)
        if round_number > 0 and self.pace is None:
            self.pace = time.monotonic(), self.record.ledger.spent
        entry = LedgerEntry(request=request_id, sha256=sha, rho=str(rho), delta=str(delta))
        return self.record.charge(entry, round_number)

    def _check_selection(self, body: bytes) -> _Selection:
        header, payload = unpack(body)
        request = parse(SelectRequest, header)
        self._check_candidates(request.candidates)
        epsilon = parse_fraction(request.epsilon)
        if not 0 < epsilon <= SELECTION_EPSILON_CAP:
            raise RequestRefused(
                f"epsilon of a selection must be above 0, at most {SELECTION_EPSILON_CAP}"
            )
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
        """Close the job's files."""
        self.record.close()

    def failure(self) -> Exception:
        """Return why the job failed."""
        return self.error or JobFailed("the job ended without a result", party=self.pid)


def _read_claim(pid: int, text: bytes) -> Claim:
    try:
        return parse(Claim, text)
    except RequestRefused as error:
        raise ProtocolViolation(f"party {pid} told its state in no known form", pid) from error
