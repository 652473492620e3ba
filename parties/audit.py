"""`distaim audit`: what an outsider can check of a job from its transcripts and its manifest.

Nothing here is secret, and nobody is believed: a line counts if the key that the manifest pins
for its writer has signed it, and costs are computed anew from what was asked.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from aim_core.aim import Noise
from aim_core.errors import AimError
from parties.approval import approval_states
from parties.audit_files import (
    Account,
    Line,
    Step,
    TranscriptFile,
    find_manifest,
    find_transcripts,
    read_file,
)
from parties.audit_findings import AuditFinding, Findings
from parties.audit_replay import replay
from parties.chain import canonical, first_head
from parties.engine import manifest_budget, manifest_noise
from parties.errors import PartyError
from parties.ledger import chain_start, head_of
from parties.manifest import Manifest, PublicInputs, load_manifest, parse_fraction, public_inputs
from parties.mechanism import Budget
from parties.messages import LedgerEntry
from parties.party_job import EPSILON_CAP
from parties.transcript_entries import (
    Entry,
    Failed,
    Finish,
    Freeze,
    Measure,
    Measured,
    Result,
    Resumed,
    Select,
    Selected,
)

Verdict = Literal["ok", "partial", "failed"]


@dataclass(frozen=True)
class Audit:
    """The outcome: "failed" with any error, else "partial" for a job that did not finish."""

    verdict: Verdict
    findings: tuple[AuditFinding, ...]
    manifest: str
    parties: tuple[int, ...]
    rounds: int
    rho_spent: Fraction
    rho_budget: Fraction


def audit(run_dirs: Sequence[Path], manifest_path: Path | None = None) -> Audit:
    """Check the transcripts in the folders, each a party's own or a whole run's.

    ConfigError if there is no manifest or no transcript to begin with; all else is a finding.
    """
    path = find_manifest(run_dirs) if manifest_path is None else manifest_path
    manifest = load_manifest(path)
    inputs = public_inputs(manifest)
    findings = Findings()
    files = [read_file(p, manifest, findings) for p in find_transcripts(run_dirs)]
    budget = _check_manifest(manifest, inputs, path, findings)
    accounts = _accounts(files, manifest, findings)
    costs = _Costs(manifest, inputs, budget, manifest_noise(manifest))
    for account in accounts.values():
        _Walk(account, manifest, findings).run()
        costs.check(account, findings)
    _check_agreement(accounts, findings)
    finished = bool(accounts) and all(account.finished for account in accounts.values())
    drivers = [file for file in files if file.party is None and file.lines]
    result = _check_estimator(drivers, accounts, findings)
    driver = drivers[0] if drivers else None
    replay(list(accounts.values()), driver, result, manifest, inputs, findings)
    return _outcome(manifest, accounts, finished, findings)


def _outcome(
    manifest: Manifest,
    accounts: dict[int, Account],
    finished: bool,
    findings: Findings,
) -> Audit:
    steps = max((account.steps for account in accounts.values()), key=len, default=[])
    spent = sum((Fraction(step.charge.rho) for step in steps), start=Fraction(0))
    if not finished:
        findings.warning("job", "the job did not finish; what was done was audited")
    return Audit(
        verdict="failed" if findings.errors else "ok" if finished else "partial",
        findings=tuple(findings),
        manifest=manifest.digest,
        parties=tuple(sorted(accounts)),
        rounds=max((step.request.round for step in steps if step.request is not None), default=0),
        rho_spent=spent,
        rho_budget=parse_fraction(manifest.mechanism.rho),
    )


def _check_manifest(
    manifest: Manifest, inputs: PublicInputs, path: Path, findings: Findings
) -> Budget | None:
    """Recompute the budget from epsilon and delta, and check that all parties have signed."""
    for approval in approval_states(manifest, path):
        if approval.state == "missing":
            text = f"the approval of {approval.party} is not beside it"
            findings.warning("manifest", text, field="approvals")
        elif approval.state != "signed":
            findings.error("manifest", approval.text, field="approvals")
    try:
        return manifest_budget(manifest, inputs)
    except (PartyError, AimError) as error:
        findings.error("manifest", str(error), field="mechanism")
        return None


def _accounts(
    files: Iterable[TranscriptFile], manifest: Manifest, findings: Findings
) -> dict[int, Account]:
    accounts: dict[int, Account] = {}
    for file in files:
        if file.party is None:
            continue
        if file.party in accounts:
            if file.data != accounts[file.party].file.data:
                findings.error(file.source, f"{file.path} is another transcript of the same party")
            continue
        accounts[file.party] = Account(file.source, file)
    for pid in range(manifest.n_parties):
        if pid not in accounts:
            findings.warning(f"party {pid}", "its transcript is not here, nor compared")
    return accounts


class _Walk:
    """Goes through one transcript: each event where it can be, each answer after its request."""

    def __init__(self, account: Account, manifest: Manifest, findings: Findings) -> None:
        self._account, self._manifest, self._findings = account, manifest, findings
        self._phase = "new"
        self._asked: tuple[int, Select | Measure] | None = None

    def run(self) -> None:
        """Fill the account's steps, and say whether the job finished."""
        for line in self._account.file.lines:
            entry = line.entry
            if self._phase == "finish":
                self._wrong(line, "a line after the end of the job")
            if isinstance(entry, Select | Measure):
                self._ask(line, entry)
            elif isinstance(entry, Selected | Measured):
                self._answer(line, entry)
            elif isinstance(entry, Resumed):
                self._resume(line, entry)
            elif isinstance(entry, Failed):
                text = f"the job failed here: {entry.error}: {entry.text}"
                self._findings.warning(self._account.source, text, line=line.number)
            else:
                self._move(line)
        self._leave_unanswered()
        self._account.finished = self._phase == "finish"

    def _ask(self, line: Line, entry: Select | Measure) -> None:
        self._leave_unanswered()
        self._asked = line.number, entry
        if self._phase != "loaded":
            self._wrong(line, "a request before the inputs were loaded")

    def _answer(self, line: Line, entry: Selected | Measured) -> None:
        if self._asked is None or not _answers(self._asked[1], entry):
            self._wrong(line, "an answer to no request before it")
            self._leave_unanswered()
            return
        number, request = self._asked
        self._account.steps.append(Step(number, _charge(request), request, line.number, entry))
        self._asked = None

    def _resume(self, line: Line, entry: Resumed) -> None:
        """Take the charges and losses of a crash; the job goes on."""
        self._leave_unanswered()
        if self._phase != "loaded":
            self._wrong(line, "the job cannot be taken up again here")
        for charge in entry.charges:
            self._account.steps.append(Step(line.number, charge, None, line.number, None))
        self._account.lost.update(entry.lost)
        lost = f"; lost: {', '.join(entry.lost)}" if entry.lost else ""
        text = f"the job was taken up again after a failure{lost}"
        self._findings.warning(self._account.source, text, line=line.number)

    def _leave_unanswered(self) -> None:
        if self._asked is None:
            return
        number, request = self._asked
        self._account.steps.append(Step(number, _charge(request), request, number, None))
        text = f"{request.request} was charged and not answered"
        self._findings.warning(self._account.source, text, line=number)
        self._asked = None

    def _move(self, line: Line) -> None:
        event = line.entry.event
        if (self._phase, event) not in _NEXT:
            self._wrong(line, f"{event!r} cannot come here")
        self._phase = event
        if isinstance(line.entry, Freeze):
            _check_freeze(self._account, line, line.entry, self._manifest, self._findings)

    def _wrong(self, line: Line, text: str) -> None:
        self._findings.error(self._account.source, text, line=line.number, field="event")


_NEXT = {("new", "begin"), ("begin", "freeze"), ("freeze", "loaded"), ("loaded", "finish")}


def _charge(request: Select | Measure) -> LedgerEntry:
    return LedgerEntry(
        request=request.request, sha256=request.sha256, rho=request.rho, delta=request.delta
    )


def _answers(request: Select | Measure, answer: Selected | Measured) -> bool:
    kinds = isinstance(request, Select) == isinstance(answer, Selected)
    return kinds and (request.request, request.round) == (answer.request, answer.round)


def _check_freeze(
    account: Account, line: Line, entry: Freeze, manifest: Manifest, findings: Findings
) -> None:
    known = {member.name for member in manifest.holders}
    if not known.issuperset(entry.uploads) or len(entry.uploads) < manifest.min_holders:
        findings.error(
            account.source,
            f"{len(entry.uploads)} holders take part, of whom "
            f"{len(known.intersection(entry.uploads))} are in the manifest, which asks for "
            f"{manifest.min_holders}",
            line=line.number,
            field="uploads",
        )


@dataclass
class _Costs:
    """What requests cost, computed from the manifest."""

    manifest: Manifest
    inputs: PublicInputs
    budget: Budget | None
    noise: Noise

    def check(self, account: Account, findings: Findings) -> None:
        """Recompute every charge, the ledger's heads and the sums; hold them against the budget."""
        rho_spent, delta_spent = Fraction(0), Fraction(0)
        head = first_head(chain_start(self.manifest.digest))
        for step in account.steps:

            def wrong(name: str, text: str, line: int = step.line) -> None:
                findings.error(account.source, text, line=line, field=name)

            rho_spent += Fraction(step.charge.rho)
            delta_spent += Fraction(step.charge.delta)
            head = head_of(head, step.charge)
            if rho_spent > parse_fraction(self.manifest.mechanism.rho):
                wrong("rho", "this request overspends the manifest's rho")
            if self.budget is not None and delta_spent > self.budget.distance:
                wrong("delta", "this request draws more noise than delta pays for")
            if step.request is not None:
                self._check_request(account, step, step.request, head, findings)
        for line in account.file.lines:
            if isinstance(line.entry, Finish):
                _check_finish(account, line, line.entry, rho_spent, head, findings)

    def _check_request(
        self,
        account: Account,
        step: Step,
        request: Select | Measure,
        head: str,
        findings: Findings,
    ) -> None:
        """Recompute what one request costs, and check its answer."""
        if max(request.candidates) >= len(self.inputs.candidates):
            text = "a candidate is not in the workload's closure"
            findings.error(account.source, text, line=step.line, field="candidates")
            return
        for name, due in self._due(step.line, request, findings, account.source).items():
            if getattr(request, name) != str(due):
                text = f"written is {getattr(request, name)}, the request costs {due}"
                findings.error(account.source, text, line=step.line, field=name)
        if head != request.ledger:
            text = "the ledger's head does not follow from the charges"
            findings.error(account.source, text, line=step.line, field="ledger")
        cliques = [list(self.inputs.candidates[place]) for place in request.candidates]
        self._check_answer(account, step, cliques, findings)

    def _due(
        self, line: int, request: Select | Measure, findings: Findings, source: str
    ) -> dict[str, Fraction]:
        n = len(request.candidates)
        due: dict[str, Fraction] = {}
        try:
            if isinstance(request, Select):
                epsilon = Fraction(request.epsilon)
                if not 0 < epsilon <= EPSILON_CAP or len(request.biases) != n:
                    text = "epsilon out of range, or not one bias per candidate"
                    findings.error(source, text, line=line, field="epsilon")
                due["rho"] = self.noise.select_rho(epsilon)
            else:
                sigma2 = Fraction(request.sigma2)
                if not 0 < sigma2 <= parse_fraction(self.manifest.sigma2_max):
                    text = "sigma squared is 0 or above the manifest's sigma2_max"
                    findings.error(source, text, line=line, field="sigma2")
                due["rho"] = n * self.noise.measure_rho(sigma2)
        except AimError as error:
            findings.error(source, str(error), line=line, field="sigma2")
        if self.budget is not None:
            select = isinstance(request, Select)
            due["delta"] = n * (self.budget.per_candidate if select else self.budget.per_marginal)
        return due

    def _check_answer(
        self, account: Account, step: Step, cliques: list[list[str]], findings: Findings
    ) -> None:
        """Check that an answer names the cliques that were asked for."""
        source, line = account.source, step.answer_line
        if isinstance(step.answer, Selected):
            if step.answer.index >= len(cliques):
                findings.error(source, "no such candidate was asked for", line=line, field="index")
            elif step.answer.clique != cliques[step.answer.index]:
                findings.error(source, "not the candidate at the index", line=line, field="clique")
        elif isinstance(step.answer, Measured):
            if step.answer.cliques != cliques:
                findings.error(source, "not the cliques asked for", line=line, field="cliques")
            sizes = [self.inputs.domain.n_cells(tuple(clique)) for clique in cliques]
            account.file.check_arrays(step.answer, sizes, line, findings)


def _check_finish(
    account: Account, line: Line, entry: Finish, spent: Fraction, head: str, findings: Findings
) -> None:
    if Fraction(entry.rho_spent) != spent:
        text = f"written is {entry.rho_spent}, the charges add up to {spent}"
        findings.error(account.source, text, line=line.number, field="rho_spent")
    if entry.ledger != head:
        text = "the ledger's head does not follow from the charges"
        findings.error(account.source, text, line=line.number, field="ledger")


def _check_agreement(accounts: dict[int, Account], findings: Findings) -> None:
    """Compare the parties' lines about the same thing; where they differ, the fewer are named.

    Their order needs no comparison: it is in the ledger's heads. Lines about requests that were
    lost may be missing; all others must be there.
    """
    lost = {request for account in accounts.values() for request in account.lost}
    views = {pid: _by_topic(account) for pid, account in accounts.items()}
    topics = list(dict.fromkeys(topic for view in views.values() for topic in view))
    anyone_finished = any(account.finished for account in accounts.values())
    for topic in topics:
        here = {pid: view[topic] for pid, view in views.items() if topic in view}
        _compare(here, accounts, findings)
        missing = [] if topic[1] in lost else [pid for pid in views if pid not in here]
        for pid in missing:
            if accounts[pid].finished:
                text = f"has no line {topic[0]!r} of {topic[1] or 'the job'}, as other parties have"
                findings.error(accounts[pid].source, text)
    for account in accounts.values():
        if anyone_finished and not account.finished:
            last = account.file.lines[-1].number if account.file.lines else None
            text = "ends here, though other parties finished: lines are missing"
            findings.error(account.source, text, line=last)


def _by_topic(account: Account) -> dict[tuple[str, str], Line]:
    """Return the lines that parties have in common, by event and request."""
    return {
        (line.entry.event, getattr(line.entry, "request", "")): line
        for line in account.file.lines
        if not isinstance(line.entry, Failed | Resumed)
    }


def _compare(here: dict[int, Line], accounts: dict[int, Account], findings: Findings) -> None:
    texts = {pid: canonical(line.entry.public()) for pid, line in here.items()}
    counts = Counter(texts.values())
    if len(counts) == 1:
        return
    common, n_common = counts.most_common(1)[0]
    sample = next(line.entry for pid, line in here.items() if texts[pid] == common)
    tie = 2 * n_common <= len(here)
    for pid, line in here.items():
        if texts[pid] != common or tie:
            other = next(o.entry for p, o in here.items() if texts[p] != texts[pid])
            field_ = _differing(line.entry, other if tie else sample)
            text = "differs from the other parties"
            findings.error(accounts[pid].source, text, line=line.number, field=field_)


def _differing(entry: Entry, other: Entry) -> str | None:
    mine, theirs = entry.public(), other.public()
    return next((k for k in mine if k not in theirs or mine[k] != theirs[k]), None)


def _check_estimator(
    drivers: Sequence[TranscriptFile], accounts: dict[int, Account], findings: Findings
) -> Result | None:
    """Hold the estimator's last line against the parties' transcripts; return it."""
    if not drivers:
        text = "its transcript is not here; the fits are not compared with its program's"
        findings.warning("estimator", text)
        return None
    lines = drivers[0].lines
    result = next((line for line in lines if isinstance(line.entry, Result)), None)
    if result is None or not isinstance(result.entry, Result):
        if any(account.finished for account in accounts.values()):
            findings.error("estimator", "its transcript has no result, though parties finished")
        return None
    entry = result.entry
    for pid, account in accounts.items():
        last = account.file.lines[-1] if account.file.lines else None
        if last is None or not isinstance(last.entry, Finish):
            text = f"party {pid} finished, but its transcript does not say so"
            findings.error("estimator", text, line=result.number, field="transcripts")
        elif pid >= len(entry.transcripts) or entry.transcripts[pid] != last.previous:
            text = f"party {pid} has another transcript than at the end of the job"
            findings.error("estimator", text, line=result.number, field="transcripts")
        elif (entry.ledger, entry.rho_spent) != (last.entry.ledger, last.entry.rho_spent):
            text = f"party {pid} ended with another ledger"
            findings.error("estimator", text, line=result.number, field="ledger")
    return entry
