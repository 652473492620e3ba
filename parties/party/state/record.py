"""What a compute party must not forget: one job's phase, uploads, charges, answers, transcript.

SQLite is the one source of truth. The transcript follows it for the auditors: a line that a crash
kept from being written is made up for, or its absence explained, when the party meets its peers
again.
"""

import contextlib
from collections.abc import Mapping
from enum import StrEnum

from pydantic import TypeAdapter

from aim_core.errors import BudgetExceeded
from mpc.errors import ProtocolViolation
from parties.agreement.budget import Budget
from parties.agreement.manifest import Manifest
from parties.agreement.values import parse_fraction, program_version
from parties.canonical import canonical
from parties.errors import InputsRefused
from parties.identity.signatures import Signer
from parties.party.state.ledger import Ledger
from parties.party.state.recovery import Claim
from parties.party.state.store import Store, StoredRequest
from parties.party.state.uploads import UploadStore
from parties.setup.config import PartyConfig
from parties.wire.entries import (
    BeginLine,
    Costs,
    FinishLine,
    FreezeLine,
    LoadedLine,
    ResumedLine,
)
from parties.wire.messages import FinishAnswer, LedgerEntry, Request, RequestKind, StepCost, parse
from parties.wire.transcript import Transcript


class Phase(StrEnum):
    """How far a job is, on disk."""

    COLLECTING = "collecting"
    FROZEN = "frozen"
    RUNNING = "running"
    DONE = "done"


_FINISH = RequestKind.FINISH.value
_COSTS: TypeAdapter[dict[str, StepCost]] = TypeAdapter(dict[str, StepCost])


class JobRecord:
    """One job at one party, on disk. All is synced when a method returns."""

    def __init__(
        self, config: PartyConfig, manifest: Manifest, budget: Budget, body_size: int
    ) -> None:
        self.pid = config.pid
        signer = Signer(config.key)
        self._store = Store(config.state / "job.sqlite", manifest.digest, config.pid)
        phase = self.phase  # before anything else is made of a state that may be unreadable
        rho = parse_fraction(manifest.mechanism.rho)
        self.ledger = Ledger(self._store, manifest.digest, rho, budget.distance)
        self.uploads = UploadStore(
            config.state / "uploads", self._store, signer, manifest.digest, config.pid, body_size
        )
        self.transcript = Transcript(
            config.transcript,
            BeginLine(
                manifest=manifest.digest,
                party=config.pid,
                name=manifest.parties[config.pid].name,
                version=program_version(),
            ),
            signer,
        )
        self.inputs = self._store.inputs()
        self.costs: dict[str, StepCost] = _COSTS.validate_json(self._store.fact("costs") or "{}")
        if phase is Phase.DONE:
            self._end_transcript()

    @property
    def phase(self) -> Phase:
        """Return how far the job is; StateError for a phase that this program does not know."""
        text = self._store.fact("phase")
        if text is None:
            return Phase.COLLECTING
        try:
            return Phase(text)
        except ValueError as error:
            raise self._store.unreadable(f"the job's phase is {text!r}") from error

    @property
    def round(self) -> int:
        """Return the round of the last charge."""
        return int(self._store.fact("round") or 0)

    def refusal(self) -> InputsRefused | None:
        """Return why the inputs were refused, if they were: then the job is over for good."""
        text = self._store.fact("refused")
        return None if text is None else InputsRefused(text, party=self.pid)

    def refuse(self, error: InputsRefused) -> None:
        """Note that the inputs were refused."""
        self._store.set_facts({"refused": str(error)})

    def request(self, request_id: str) -> StoredRequest | None:
        """Return what is known of a request that was charged or answered."""
        return self._store.request(request_id)

    def freeze(self, inputs: Mapping[str, str], sha256: str) -> None:
        """Fix the uploads that make up the input; `sha256` is the request's hash."""
        self._store.freeze(inputs, {"phase": Phase.FROZEN, "freeze": sha256})
        self.inputs = dict(inputs)

    def write_freeze(self) -> None:
        """Write the frozen inputs into the transcript, unless they are there."""
        sha256 = self._store.fact("freeze")
        if self.inputs is not None and sha256 is not None and not self._has("freeze"):
            self.transcript.write(
                FreezeLine(request=RequestKind.FREEZE.value, sha256=sha256, uploads=self.inputs)
            )

    def loaded(self, cost: Costs) -> None:
        """Write that the inputs are prepared; after the first time, what happened meanwhile."""
        if not self._has("loaded"):
            self.transcript.write(LoadedLine(cost=cost))
            return
        entries = self.transcript.entries
        resumed = [entry for entry in entries if entry["event"] == "resumed"]
        n_written = sum(entry["event"] in ("select", "measure") for entry in entries)
        n_written += sum(len(entry["charges"]) for entry in resumed)
        told = {request for entry in resumed for request in entry["lost"]}
        self.transcript.write(
            ResumedLine(
                charges=self.ledger.charges[n_written:],
                lost=[request for request in self._store.unanswered() if request not in told],
                ledger=self.ledger.head,
                cost=cost,
            )
        )

    def charge(self, entry: LedgerEntry, round_number: int) -> str:
        """Pay for a request and return the ledger's head after it; BudgetExceeded books nothing."""
        self.ledger.charge(entry, {"phase": Phase.RUNNING, "round": str(round_number)})
        return self.ledger.head

    def answer(self, request: Request, answer: bytes, costs: Mapping[str, StepCost]) -> None:
        """Keep an answer, and what the job has cost so far."""
        self._store.answer(request.id, request.sha256, answer, {"costs": _costs_text(costs)})

    def finish(self, sha256: str, answer: FinishAnswer) -> None:
        """End the job: the answer and the phase in one, then the transcript's last line."""
        body = answer.to_json()
        facts = {"phase": Phase.DONE, "costs": _costs_text(answer.steps)}
        self._store.answer(_FINISH, sha256, body, facts)
        self._end_transcript()

    def claim(self) -> Claim:
        """Return what the peers are told when they meet."""
        finish = self.request(_FINISH)
        return Claim(
            inputs=self.inputs,
            freeze=self._store.fact("freeze"),
            charges=self.ledger.charges,
            finish=None if finish is None else finish.sha256,
        )

    def adopt(self, common: Claim) -> None:
        """Book what the peers have and this party has not: frozen inputs and a last charge.

        Raises ProtocolViolation, naming this party, if it lacks an upload or the budget for it.
        """
        if common.inputs is not None and common.freeze is not None and self.inputs is None:
            for holder, upload in common.inputs.items():
                receipt = self.uploads.receipts.get(holder)
                if receipt is None or receipt.upload != upload:
                    raise ProtocolViolation(
                        f"party {self.pid} does not have the upload of {holder} that its peers "
                        "have frozen: its state was rolled back or lost; restore it",
                        self.pid,
                    )
            self.freeze(common.inputs, common.freeze)
        for entry in common.charges[len(self.ledger.charges) :]:
            try:
                self.charge(entry, self.round)
            except BudgetExceeded as error:
                text = f"the peers of party {self.pid} have charged more than the budget: {error}"
                raise ProtocolViolation(text, self.pid) from error

    def close(self) -> None:
        """Close all files."""
        self._store.close()
        with contextlib.suppress(OSError):  # what a full disk did not take was never relied on
            self.transcript.close()

    def _has(self, event: str) -> bool:
        return any(entry["event"] == event for entry in self.transcript.entries)

    def _end_transcript(self) -> None:
        """Write the last line; what it says was stored before."""
        known = self.request(_FINISH)
        if known is not None and known.answer is not None and not self._has("finish"):
            answer = parse(FinishAnswer, known.answer)
            self.transcript.write(FinishLine(rho_spent=answer.rho_spent, ledger=answer.ledger_head))


def _costs_text(costs: Mapping[str, StepCost]) -> str:
    return canonical({step: cost.model_dump() for step, cost in costs.items()}).decode()
