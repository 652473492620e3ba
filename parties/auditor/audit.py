"""`distaim audit`: what an outsider can check of a job from its transcripts and its manifest.

Nothing here is secret, and nobody is believed: a line counts if the key that the manifest pins
for its writer has signed it, and costs are computed anew from what was asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from aim_core.errors import AimError
from parties.agreement.approval import approval_states
from parties.agreement.budget import Budget
from parties.agreement.derived import manifest_budget, manifest_noise
from parties.agreement.manifest import Manifest, load_manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.agreement.values import parse_fraction
from parties.auditor.agreement import check_agreement, check_estimator
from parties.auditor.costs import Costs
from parties.auditor.files import (
    Account,
    TranscriptFile,
    find_manifest,
    find_transcripts,
    read_file,
)
from parties.auditor.findings import AuditFinding, Findings
from parties.auditor.replay import replay
from parties.auditor.walk import Walk
from parties.errors import PartyError

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
    costs = Costs(manifest, inputs, budget, manifest_noise(manifest))
    for account in accounts.values():
        Walk(account, manifest, findings).run()
        costs.check(account, findings)
    check_agreement(accounts, findings)
    finished = bool(accounts) and all(account.finished for account in accounts.values())
    drivers = [file for file in files if file.party is None and file.lines]
    result = check_estimator(drivers, accounts, findings)
    driver = drivers[0] if drivers else None
    replay(list(accounts.values()), driver, result, manifest, inputs, findings)
    return _outcome(manifest, accounts, finished, findings)


def _outcome(
    manifest: Manifest,
    accounts: dict[int, Account],
    finished: bool,
    findings: Findings,
) -> Audit:
    steps = max((account.charged for account in accounts.values()), key=len, default=[])
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
