"""One job at a compute party: what it accepts, checks, pays, answers. No HTTP in here.

The estimator is not trusted. Whatever it sends is checked against the manifest, agreed on with
the peers, and charged to the ledger on disk, in this order, before anything touches a share.

Whatever happens, a charge stays: a request that was charged and broke off is lost under its id.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from fractions import Fraction

from aim_core.errors import AimError
from mpc.errors import ProtocolViolation
from parties.agreement.approval import check_in_force
from parties.agreement.budget import Budget
from parties.agreement.derived import participation
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.values import program_version
from parties.errors import InputsRefused, JobFailed, NotReady, RequestRefused, UploadRefused
from parties.party.answered import Answered
from parties.party.engine_protocol import Engine
from parties.party.releases import Release, read_release
from parties.party.state.record import JobRecord, Phase
from parties.party.state.recovery import MEETING, Claim, may_come_back, merged
from parties.party.state.store import disk_error
from parties.party.state.uploads import UploadPart
from parties.setup.config import PartyConfig
from parties.wire.entries import Costs, FailedLine
from parties.wire.messages import (
    FinishAnswer,
    FinishRequest,
    FreezeRequest,
    JobState,
    Request,
    RequestKind,
    Status,
    StepCost,
    UploadReceipt,
    UploadState,
    parse,
)
from parties.wire.peak_memory import peak_rss_mb
from parties.wire.transcript import add_costs, cost_between


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
        self.digest = manifest.digest  # every request is held against it
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
        self._answered = Answered(self.record, manifest.run)
        self._lock = asyncio.Lock()

    async def connected(self, engine: Engine) -> None:
        """Take up the job over a new session with the peers, from wherever it stands.

        All parties go on from the furthest state of any of them. Raises ProtocolViolation for a
        state that cannot be this job's, and what `Engine.load` raises.
        """
        async with self._lock:
            said = await engine.publish(MEETING, self.record.claim().to_json())
            common = merged({pid: _read_claim(pid, text) for pid, text in said.items()})
            self.record.adopt(common)
            if common.finish is not None and self.record.phase is not Phase.DONE:
                self._end(common.finish, self._costs(engine))
            if self.record.phase in (Phase.FROZEN, Phase.RUNNING):
                await self._load(engine)
            self._engine = engine

    def disconnected(self) -> None:
        """Note that the session is over; the job waits for the next one."""
        if self._engine is not None:
            self.record.costs = self._costs(self._engine)
            self._engine = None

    def fail(self, error: Exception) -> None:
        """End the job with an error; only the first one counts."""
        if self.state in (JobState.FAILED, JobState.DONE):
            return
        self.error = disk_error(error, self.pid) if isinstance(error, OSError) else error
        self.ended.set()
        if isinstance(error, InputsRefused):
            self.record.refuse(error)
        with contextlib.suppress(OSError):  # a full disk may be what has failed
            kind, text = type(self.error).__name__, str(self.error)[:2000]
            self.record.transcript.write(FailedLine(error=kind, text=text))

    @property
    def state(self) -> JobState:
        """Return the state that others see."""
        if self.error is not None:
            return JobState.FAILED
        phase = self.record.phase
        if self._engine is None and phase is not Phase.DONE:
            return JobState.CONNECTING
        return JobState(phase)

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
            manifest=self.digest,
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
        return await self._answer(RequestKind.FREEZE, RequestKind.FREEZE.value, body)

    async def select(self, request_id: str, body: bytes) -> bytes:
        """Answer a selection (JSON of a SelectAnswer)."""
        return await self._answer(RequestKind.SELECT, request_id, body)

    async def measure(self, request_id: str, body: bytes) -> bytes:
        """Answer a measurement (packed noisy marginals)."""
        return await self._answer(RequestKind.MEASURE, request_id, body)

    async def finish(self, body: bytes) -> bytes:
        """End the job, with all peers, and say what it cost (JSON of a FinishAnswer)."""
        return await self._answer(RequestKind.FINISH, RequestKind.FINISH.value, body)

    async def _answer(self, kind: RequestKind, request_id: str, body: bytes) -> bytes:
        return await self._answered.once(Request(kind, request_id, body), self._run)

    async def _run(self, request: Request) -> bytes:
        async with self._lock:
            if self.error is not None:
                raise self.error
            try:
                return await self._work(request)
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

    async def _work(self, request: Request) -> bytes:
        match request.kind:
            case RequestKind.FREEZE:
                return await self._freeze(request)
            case RequestKind.FINISH:
                return await self._finish(request)
            case RequestKind.SELECT | RequestKind.MEASURE:
                return await self._release(request)

    async def _agree(self, request: Request) -> None:
        """Compare the request and the ledger's head with the peers."""
        contents = f"{self.digest} {request.sha256}".encode()
        head = self.record.ledger.head.encode()
        await self.engine.agree(request.id, {"request": contents, "ledger": head})

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

    async def _freeze(self, request: Request) -> bytes:
        uploads = parse(FreezeRequest, request.body).uploads
        engine = self.engine
        if self.record.inputs is not None and self.record.inputs == uploads:
            return b"{}"  # frozen before a crash, loaded since
        self._require(JobState.COLLECTING)
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
        await self._agree(request)
        self.record.freeze(uploads, request.sha256)
        await self._load(engine)
        self.record.answer(request, b"{}", self._costs(engine))
        return b"{}"

    async def _release(self, request: Request) -> bytes:
        engine = self.engine
        self._require(JobState.FROZEN, JobState.RUNNING)
        release = await asyncio.to_thread(
            read_release, request, self.manifest, self.inputs, self.budget, engine
        )
        before = self._costs(engine)
        ledger = await self._pay(request, release)
        transcript = self.record.transcript
        transcript.write(release.line(ledger))
        await self._enter(engine, release.round)

        def cost() -> Costs:
            return cost_between(before, self._costs(engine))

        answer, line = await release.make(engine, transcript, cost)
        transcript.write(line)
        self.record.answer(request, answer, self._costs(engine))
        return answer

    async def _pay(self, request: Request, release: Release) -> str:
        """Agree on a request with the peers, charge it, return the ledger's head after it.

        BudgetExceeded comes before the peers are asked, since it comes at all parties alike.
        """
        self.record.ledger.check(release.charge)
        await self._agree(request)
        if release.round > 0 and self.pace is None:
            self.pace = time.monotonic(), self.record.ledger.spent
        return self.record.charge(release.charge, release.round)

    async def _finish(self, request: Request) -> bytes:
        parse(FinishRequest, request.body)
        engine = self.engine
        self._require(JobState.FROZEN, JobState.RUNNING)
        await self._agree(request)
        engine.finish()
        return self._end(request.sha256, self._costs(engine))

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
        return answer.to_json()

    def _require(self, *states: JobState) -> None:
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
